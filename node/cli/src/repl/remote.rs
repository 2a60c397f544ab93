//! A session with a vat that runs on hosts: the session is a vat of its own, on a host of its own that is thrown away afterwards.
//!
//! So it speaks with the other vat as vats do: messages to promises leave at once, objects of third vats come as references.

use super::{Printed, Whole, talk};
use crate::{
    DirOption, Exit, Failure, Outcome,
    call::{hosts_to_ask, memory, target_reference, unanswered},
    logs::Console,
    output,
    run::{Here, Temporary},
    signals::Signals,
};
use quorate_client::{Client, Known};
use quorate_config::{init::reference, layout::TestnetDir};
use quorate_engine::{
    VatId,
    abi::{Bundle, Method, Value},
    comms::client::ClientRef,
    heap::LogLevel,
    machine::Install,
};
use quorate_node::vat::VatService;
use quorate_protocol::{provision::Contacts, sturdyref::Sturdyref};
use quorate_tools::{
    session::{arguments, hosted, printed},
    world::ConsoleLine,
};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, time::Instant};

/// How long the promise of a line is waited for before the next line may come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the session's vat may take to start.
const START_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// How often consoles are looked at for what the answer says was printed.
const LOOKS: u32 = 50;

/// Holds a session with a vat that runs.
pub async fn run(target: &str, at: &[String], dir: &DirOption, json: bool) -> Outcome {
    let dir = TestnetDir::new(dir.dir.clone());
    let (sturdyref, layout) = target_reference(target, &dir)?;
    let known = memory(&sturdyref, &dir, layout.is_some()).and_then(|file| Known::read(&file, &sturdyref.vat));
    let mut hosts = hosts_to_ask(layout.as_ref(), at, known.is_some())?;
    hosts.extend(known.iter().flat_map(Known::members));
    // Who the members are, checked before anything is started.
    let client = Client::connect(&sturdyref, &hosts).await.map_err(unanswered)?;
    let introduction = client.known().introduction;
    client.close().await;

    let mut signals = Signals::listen()?;
    let temporary = Temporary::make()?;
    let outcome = tokio::select! {
        outcome = hold(&temporary, &sturdyref, Contacts { vats: vec![(String::new(), introduction)] }, json) => outcome,
        () = signals.any() => Ok(Exit::Success),
    };
    temporary.remove().await;
    outcome
}

async fn hold(temporary: &Temporary, sturdyref: &Sturdyref, contacts: Contacts, json: bool) -> Outcome {
    let progress = output::Progress::start(output::COMPILING);
    let give = |bundle: Bundle, vat: &VatId| Install {
        bundle,
        argv: vec![("root".to_owned(), reference(sturdyref, vat))],
        endowments: vec!["timer".to_owned()],
        grants: Vec::new(),
        bearers: Vec::new(),
    };
    let here = Here::start(temporary, hosted(), give, &contacts, std::future::pending()).await?;
    let Some(here) = here else { return Ok(Exit::Success) };
    progress.done();
    let service = here.node.host.find(&here.vat)?;
    let ended = async {
        wait_started(&service).await?;
        let own = vec![here.node.host.as_member()];
        let client = Client::connect(&here.bearer, &own).await.map_err(unanswered)?;
        let console = Console::new(vec![here.console.clone()]);
        let session = Remote { client, service: service.clone(), console, lines: 0 };
        let handle = Handle::current();
        let talking = move || {
            let mut session = session;
            let ended = talk(|whole| handle.block_on(session.evaluate(whole)), true, json);
            handle.block_on(session.client.close());
            ended
        };
        tokio::task::spawn_blocking(talking).await?
    };
    let outcome = ended.await;
    here.node.stop().await;
    outcome
}

async fn wait_started(service: &VatService) -> Result<(), Failure> {
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        let status = service.status().await;
        if let Some(error) = status.install_error {
            return Err(Failure::new(Exit::Failed, format!("the session did not start: {error}")));
        }
        if status.installed && status.leader.is_some() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::new(Exit::Failed, "the session's vat did not start in time"));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The session's vat, called from outside.
struct Remote {
    client: Client,
    service: Arc<VatService>,
    console: Console,
    lines: u64,
}

impl Remote {
    async fn evaluate(&mut self, line: &Whole) -> Result<Vec<Printed>, Failure> {
        self.lines += 1;
        let args = arguments(self.lines, line);
        let begun = self.client.begin(ClientRef::Object(0), Method::Call("evaluate".to_owned()), args);
        let answer = tokio::time::timeout(PATIENCE, begun.map_err(unanswered)?).await;
        self.service.console_written().await;
        let mut printed = self.printed();
        match answer {
            Ok(Ok(answer)) if answer.fulfilled => {
                // What the line came to is on the console, which may be written a moment later.
                let mut looks = 0;
                while needs_more(&answer.value, &printed) && looks < LOOKS {
                    looks += 1;
                    tokio::time::sleep(POLL).await;
                    printed.extend(self.printed());
                }
            }
            Ok(Ok(answer)) => printed.push(Printed::Failed(quorate_tools::in_words(&answer.value))),
            Ok(Err(_)) => return Err(Failure::new(Exit::Failed, "the session's vat answers no more")),
            Err(_) => printed.push(Printed::Pending),
        }
        Ok(printed)
    }

    fn printed(&mut self) -> Vec<Printed> {
        let lines = self.console.next_lines();
        let line = |level: &str, text: String| {
            let level = match level {
                "debug" => LogLevel::Debug,
                "warn" => LogLevel::Warn,
                "error" => LogLevel::Error,
                _ => LogLevel::Info,
            };
            printed(ConsoleLine { vat: "session".to_owned(), level, text })
        };
        lines.into_iter().map(|found| line(&found.level, found.text)).collect()
    }
}

/// Returns whether a line threw or was rejected, and the console does not say yet with what.
fn needs_more(answer: &Value, printed: &[Printed]) -> bool {
    let failed = matches!(answer, Value::String(how) if how == "threw" || how == "rejected");
    failed && !printed.iter().any(|printed| matches!(printed, Printed::Failed(_)))
}
