//! The `vat` command for tests: the same command line, but a host that is named in `QUORATE_TEST_LIAR` signs outputs that it
//! did not compute, one that is named in `QUORATE_TEST_EQUIVOCATOR` signs one thing for one member and another for the rest, and one
//! that is named in `QUORATE_TEST_PANIC` has a thread that panics. The real command has no such switches.

use ed25519_dalek::SigningKey;
use futures::future::BoxFuture;
use quorate_consensus::{Channel, Hash, Member, MemberSignature, Membership, Statement, Transport, TransportError};
use quorate_node::{
    cli, codec,
    home::Home,
    logging::{log_panics, log_to_stderr},
    run::{RunOptions, run_until_signalled},
};
use serde::{Deserialize, Serialize};
use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, node, run, option, home] = args.as_slice()
        && (node.as_str(), run.as_str(), option.as_str()) == ("node", "run", "--home")
        && let Ok(home) = Home::open(Path::new(home))
    {
        let is_meant = |switch: &str| std::env::var(switch).is_ok_and(|name| name == home.config.name);
        if is_meant("QUORATE_TEST_LIAR") {
            return run_host(&home, RunOptions { tamper: Some(Arc::new(lie)), ..RunOptions::default() });
        }
        if is_meant("QUORATE_TEST_EQUIVOCATOR") {
            let key = home.key.clone();
            let wrap = Arc::new(move |inner| Arc::new(Equivocator { inner, key: key.clone() }) as Arc<dyn Transport>);
            return run_host(&home, RunOptions { wrap: Some(wrap), ..RunOptions::default() });
        }
        if is_meant("QUORATE_TEST_PANIC") {
            return run_host(&home, RunOptions::default());
        }
    }
    cli::main()
}

/// Gives a statement another outbox root than its replica computed.
fn lie(statement: &mut Statement) {
    statement.outbox_root = Hash([0x66; 32]);
}

/// Carries the frames of a member that signs two stories: its replica is the product's and knows nothing of it.
struct Equivocator {
    inner: Arc<dyn Transport>,
    key: SigningKey,
}

/// The one frame that is of interest, as `docs/protocol.md` and the golden files have it; others do not decode as this one.
#[derive(Serialize, Deserialize)]
enum Frame {
    Push(Vec<Share>),
}

#[derive(Serialize, Deserialize)]
enum Share {
    Statement(Statement, MemberSignature),
    Membership(Membership, MemberSignature),
}

impl Equivocator {
    fn otherwise(&self, share: Share) -> Share {
        let Share::Statement(mut statement, _) = share else { return share };
        lie(&mut statement);
        let signature = MemberSignature::sign(&self.key, &statement.payload());
        Share::Statement(statement, signature)
    }
}

impl Transport for Equivocator {
    fn request(
        &self,
        to: &Member,
        channel: Channel,
        frame: Vec<u8>,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, TransportError>> {
        let frame = match codec::decode(&frame) {
            // One member hears another story than the rest.
            Ok(Frame::Push(shares)) if channel == Channel::Share && to.name == "alpha" => {
                codec::encode(&Frame::Push(shares.into_iter().map(|share| self.otherwise(share)).collect()))
            }
            _ => frame,
        };
        let (inner, to) = (Arc::clone(&self.inner), to.clone());
        Box::pin(async move { inner.request(&to, channel, frame, deadline).await })
    }
}

/// Runs a host as the real command does. In one that does not lie, a thread panics.
fn run_host(home: &Home, options: RunOptions) -> ExitCode {
    if let Err(error) = log_to_stderr(true) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    log_panics();
    if options.tamper.is_none() && options.wrap.is_none() {
        // Its end is in the log, which is what the test looks at.
        let _ = std::thread::Builder::new()
            .name("unlucky".into())
            .spawn(|| panic!("{} bad luck", 13))
            .map(|thread| thread.join());
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run_until_signalled(home, options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
