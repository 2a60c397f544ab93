//! `vat run`: a solo vat at once, in a temporary home.

use super::{
    Exit, Failure, Outcome,
    arguments::parse_value,
    create::{named_arguments, wrong_code},
    logs::Console,
    node::not_started,
    output,
    signals::Signals,
    watch::Seen,
};
use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use quorate_config::{
    home::{Home, HostConfig},
    init::random_bytes,
    provision::default_parameters,
};
use quorate_consensus::{Approve, Genesis, Member};
use quorate_engine::{
    VatId,
    abi::Bundle,
    image::image_hash,
    machine::{ArgValue, Install},
};
use quorate_node::run::{RunOptions, Running};
use quorate_protocol::{
    authority::{SignedInstall, bundle_hash},
    provision::{Contacts, Provision},
    sturdyref::{ROOT_OBJECT, Sturdyref},
};
use quorate_tools::source::Source;
use std::{fs, path::PathBuf, time::Duration};

const POLL: Duration = Duration::from_millis(50);
/// How often it is tried to remove the folder.
const REMOVALS: usize = 40;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat run hello.js\n  vat run contract.js --arg price=10 --seconds 5\n  vat run contract.ts --watch          starts anew when one of its files changes\n\nOnce the code runs, the command that calls the vat from another terminal is printed on standard error.\nThe vat gets three endowments: argv.exit(value) ends the run and prints the value as JSON, argv.timer is the time, and argv.publisher publishes. Ctrl-C ends the run as well. With --json, the console goes to standard error."
)]
pub struct Args {
    /// The code's entry file
    file: PathBuf,
    /// An argument: JSON or a bare string (may be repeated)
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    arguments: Vec<String>,
    /// End the run after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// Start anew, with nothing of what was, whenever a file changes that the code is made of
    #[arg(long, conflicts_with = "seconds")]
    watch: bool,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    if args.watch {
        return watch(&args, json).await;
    }
    let source = Source::read(&args.file).map_err(wrong_code)?;
    let install = install(source.bundle.clone(), &args)?;
    // From here on a signal ends the run and not the process, or the folder would stay.
    let mut signals = Signals::listen()?;
    run_once(&source, install, &args, json, signals.any()).await
}

/// Returns what the vat is given.
fn install(bundle: Bundle, args: &Args) -> Result<Install, Failure> {
    let endowments = vec!["exit".to_owned(), "timer".to_owned(), "publisher".to_owned()];
    let mut argv = Vec::new();
    for (name, text) in named_arguments(&args.arguments, &endowments)? {
        argv.push((name, ArgValue::Data(parse_value(text)?)));
    }
    Ok(Install { bundle, argv, endowments, grants: Vec::new(), bearers: Vec::new() })
}

/// One run in a home of its own, until the vat exits or `ended` comes.
async fn run_once(
    source: &Source,
    install: Install,
    args: &Args,
    json: bool,
    ended: impl Future<Output = ()>,
) -> Outcome {
    let folder = Temporary::make()?;
    let outcome = run_in(&folder, source, install, args, json, ended).await;
    folder.remove().await;
    outcome
}

/// Why a run is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The vat has exited, or did not start.
    Itself,
    /// A signal came.
    Signal,
    /// A file has changed.
    Changed,
}

/// Runs again and again, with the code as it is then, until a signal comes. Code that is wrong is said, and waited for.
async fn watch(args: &Args, json: bool) -> Outcome {
    let mut signals = Signals::listen()?;
    let mut files = vec![args.file.clone()];
    loop {
        if let Ok(source) = Source::read(&args.file) {
            files = source.files().chain([args.file.clone()]).collect();
        }
        // Before the files are read that count: what changes meanwhile is a change.
        let seen = Seen::now(files.clone());
        let mut ended = Ended::Itself;
        let outcome = match Source::read(&args.file) {
            Err(mistakes) => Err(wrong_code(mistakes)),
            Ok(source) => {
                let over = async {
                    ended = tokio::select! {
                        () = signals.any() => Ended::Signal,
                        () = seen.changed() => Ended::Changed,
                    }
                };
                run_once(&source, install(source.bundle.clone(), args)?, args, json, over).await
            }
        };
        match (ended, outcome) {
            (Ended::Signal, outcome) => return outcome,
            (Ended::Changed, _) => {
                output::note("a file has changed; the vat starts anew");
                continue;
            }
            (Ended::Itself, Ok(_)) => output::note("the vat has ended; it starts anew when a file changes"),
            (Ended::Itself, Err(failure)) => {
                super::report::failure(failure, json);
                output::note("it starts anew when a file changes");
            }
        }
        tokio::select! {
            () = signals.any() => return Ok(Exit::Success),
            () = seen.changed() => {}
        }
    }
}

/// A folder for a home that is thrown away.
pub struct Temporary(PathBuf);

impl Temporary {
    /// Makes the folder.
    ///
    /// # Errors
    /// It can't be made.
    pub fn make() -> Result<Temporary, Failure> {
        let folder = std::env::temp_dir().join(format!("vat-run-{}", hex::encode(&random_bytes()?[..8])));
        fs::create_dir(&folder).with_context(|| format!("making the temporary folder {}", folder.display()))?;
        Ok(Temporary(folder))
    }

    /// Removes the folder. The database of a start that was interrupted may still be closing, and put files in between.
    pub async fn remove(self) {
        for _ in 0..REMOVALS {
            let _ = fs::remove_dir_all(&self.0);
            if !self.0.exists() {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
        output::note(format!("! {} could not be removed; remove it", self.0.display()));
    }
}

/// A host of this process, with a vat that it is the only member of.
pub struct Here {
    pub node: Running,
    /// The vat's id.
    pub vat: String,
    /// Opens its root.
    pub bearer: Sturdyref,
    /// The file of its console.
    pub console: PathBuf,
}

impl Here {
    /// Starts a host in a folder, and has it carry a vat with this code. `give` makes of the code and the vat's id what the vat is given; `contacts` are
    /// vats that the host shall know. Nothing if `ended` comes before the host has started.
    ///
    /// # Errors
    /// The host can't be started.
    pub async fn start(
        folder: &Temporary,
        bundle: Bundle,
        give: impl FnOnce(Bundle, &VatId) -> Install,
        contacts: &Contacts,
        ended: impl Future<Output = ()>,
    ) -> Result<Option<Here>, Failure> {
        let config = HostConfig {
            name: "here".into(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            http: ([127, 0, 0, 1], 0).into(),
            approve: Approve::Auto,
            disk: Default::default(),
            archive: None,
            gateway: None,
            reach: Default::default(),
            traces: None,
        };
        let home = Home::init(&folder.0.join("home"), config)?;
        let node = tokio::select! {
            // With the exit code that a host ends with for the same reason.
            node = Running::start(&home, RunOptions::default()) => node.map_err(not_started)?,
            () = ended => return Ok(None),
        };
        node.host.learn(contacts);
        // Nobody needs it again: it goes with this function.
        let creator = SigningKey::from_bytes(&random_bytes()?);
        let genesis = Genesis {
            members: vec![node.host.as_member()],
            threshold: 1,
            image: image_hash(),
            creator: creator.verifying_key().to_bytes(),
            bundle: Some(bundle_hash(&bundle)),
            nonce: random_bytes()?,
            expires: 0,
            parameters: default_parameters(),
        };
        let vat = genesis.vat_id();
        let bearer = Sturdyref::bearer(vat, ROOT_OBJECT, random_bytes()?);
        let mut install = give(bundle, &vat);
        install.bearers.extend(bearer.bearer_key());
        let install = Some(SignedInstall::sign(&vat, install, &creator));
        node.host.carry(Provision { name: "vat".into(), genesis, install, joining: false }).await?;
        Ok(Some(Here { node, vat: vat.to_string(), bearer, console: home.console("vat") }))
    }
}

async fn run_in(
    folder: &Temporary,
    source: &Source,
    install: Install,
    args: &Args,
    json: bool,
    ended: impl Future<Output = ()>,
) -> Outcome {
    let mut ended = std::pin::pin!(ended);
    let progress = output::Progress::start(output::COMPILING);
    let bundle = install.bundle.clone();
    let here = Here::start(folder, bundle, |_, _| install, &Contacts::default(), &mut ended).await?;
    let Some(Here { node, vat, bearer, console }) = here else { return Ok(Exit::Success) };
    progress.done();
    let runs = format!("the vat runs; Ctrl-C ends it\n{}", how_to_call(&bearer, &node.host.as_member()));
    let outcome = tokio::select! {
        outcome = follow(&node, &vat, source, console, &runs, json) => outcome,
        () = &mut ended => Ok(Exit::Success),
        () = pause(args.seconds) => Ok(Exit::Success),
    };
    node.stop().await;
    outcome
}

async fn pause(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

/// The command that calls the vat's root from another terminal, ready to be pasted there.
fn how_to_call(bearer: &Sturdyref, member: &Member) -> String {
    let at = member.addresses.first().map(|address| format!(" --at {address}/p2p/{}", member.key)).unwrap_or_default();
    format!("call it from another terminal: vat call '{bearer}' METHOD{at}")
}

/// Prints the console until the vat exits. `runs` is said once it has its code.
async fn follow(node: &Running, vat: &str, source: &Source, console: PathBuf, runs: &str, json: bool) -> Outcome {
    let mut console = Printed { console: Console::new(vec![console]), source, json };
    let mut said = false;
    loop {
        let service = node.host.find(vat)?;
        let status = service.status().await;
        console.print_new();
        if let Some(error) = status.install_error {
            return Err(Failure::new(Exit::Usage, format!("the code did not start: {error}")));
        }
        if let Some(fault) = status.fault {
            return Err(Failure::new(Exit::Failed, fault));
        }
        if let Some(value) = status.exited {
            // It says nothing more, but its state is ahead of its console's file.
            service.console_written().await;
            console.print_new();
            if !value.is_null() {
                output::json_line(&value);
            }
            return Ok(Exit::Success);
        }
        if let Some(error) = status.setup_error {
            service.console_written().await;
            console.print_new();
            return Err(Failure::new(Exit::Rejected, format!("the vat's setup failed: {error}")));
        }
        if status.installed && !said {
            said = true;
            output::note(runs);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The vat's console, as it is printed. With `--json`, standard output is for the value of `exit` alone.
struct Printed<'s> {
    console: Console,
    source: &'s Source,
    json: bool,
}

impl Printed<'_> {
    /// Prints what has come.
    fn print_new(&mut self) {
        let lines = self.console.next_lines();
        for line in &lines {
            let text = self.source.as_written(&line.text);
            match line.level.as_str() {
                "warn" | "error" => output::note(text),
                _ if self.json => output::note(text),
                _ => output::line(text),
            }
        }
    }
}
