//! The `vat` command line.
//!
//! What was asked for goes to standard output, everything else to standard error. `--json` prints JSON on standard output, also
//! where a command fails: see [`report`]. Exit codes: [`Exit`].

mod access;
mod approvals;
mod arguments;
mod call;
mod check;
mod config;
mod console;
mod create;
mod delete;
mod disk;
mod doctor;
mod evidence;
mod explain;
mod hosts;
mod image;
mod inspect;
mod join;
mod json;
mod list;
pub mod logging;
mod logs;
mod man;
mod member;
mod new;
mod node;
mod objects;
mod operator;
mod output;
mod peer;
mod prove;
mod read;
mod recover;
mod reference;
#[cfg(test)]
mod reference_page;
mod repl;
mod replay;
mod report;
mod run;
mod signals;
mod standing;
mod status;
mod test;
mod testnet;
mod top;
mod upgrade;
mod verify;
mod version;
mod watch;

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::{PathBufValueParser, TypedValueParser},
};
use quorate_config::{cluster::Cluster, layout::TestnetDir};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

pub use version::Build;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// The vat rejected the call, or what was asked about is not healthy.
    Rejected = 1,
    /// The command line, a config or code is wrong; nothing was changed.
    Usage = 2,
    /// A host or vat can't be reached, or did not answer in time.
    Unreachable = 3,
    /// Anything else.
    Failed = 4,
    /// A host ended since its disk is full or failed: it goes on when it is started again and there is room.
    Disk = 5,
    /// A host's home must not run as it is: it is repaired, or a host with a new home takes its place.
    NeverAgain = 6,
    /// A call that was certainly not sent: it can be made again without harm.
    NotSent = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error with the exit code that it ends with.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
}

impl Failure {
    pub fn new(exit: Exit, message: impl std::fmt::Display) -> Failure {
        Failure { exit, error: anyhow::anyhow!("{message}") }
    }
}

/// Errors that simply end a command. Not a blanket implementation: it would overlap with those of dependencies.
macro_rules! fails_with {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure { exit: Exit::Failed, error: error.into() }
            }
        })*
    };
}

fails_with!(
    anyhow::Error,
    std::io::Error,
    tokio::task::JoinError,
    hex::FromHexError,
    quorate_protocol::codec::CodecError,
    quorate_config::home::HomeError,
    quorate_node::host::HostError,
    quorate_node::run::RunError,
    quorate_consensus::IdError,
    quorate_engine::EngineError,
);

impl From<quorate_admin::client::ApiClientError> for Failure {
    fn from(error: quorate_admin::client::ApiClientError) -> Failure {
        use quorate_admin::client::ApiClientError;
        let exit = match error {
            ApiClientError::NotRunning(_) | ApiClientError::Deadline => Exit::Unreachable,
            // The host can't just now; what was asked for may even take effect later.
            ApiClientError::Refused { status: 503 | 504, .. } => Exit::Unreachable,
            ApiClientError::Refused { status: 500.., .. } => Exit::Failed,
            // The owners of members have rejected a change.
            ApiClientError::Refused { status: 410, .. } => Exit::Rejected,
            ApiClientError::Refused { .. } => Exit::Usage,
            ApiClientError::Answer(_) => Exit::Failed,
        };
        Failure { exit, error: error.into() }
    }
}

/// What a command's function returns.
pub type Outcome = Result<Exit, Failure>;

const EXAMPLES: &str = "\
Examples:
  vat testnet up testnet/examples/counter/testnet.toml --detach   start a testnet on this machine
  vat call counter increment 5                                    call a vat of it
  vat status                                                      look at its vats
  vat member replace --vat counter --out gamma --in delta         swap a member
  vat testnet down                                                stop it
  vat run contract.js                                             try code in a vat of its own

Exit codes: 0 done; 1 the vat rejected the call, or something is not healthy;
2 wrong arguments, config or code; 3 a host or vat can't be reached, and what was asked for may still
take effect; 4 anything else; 5 (vat node run) the disk is full or failed; 6 (vat node run) this home
must not run as it is; 7 a call that was not sent, since no host could be reached.";

#[derive(Parser)]
#[command(name = "vat", version, about = "Replicated object-capability vats", after_help = EXAMPLES)]
struct Cli {
    /// Print JSON on standard output, also of a failure
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// Which testnet a command is about.
#[derive(clap::Args, Clone)]
pub struct DirOption {
    /// The testnet's directory
    #[arg(long, env = "QUORATE_DIR", default_value = "quorate-testnet", value_name = "DIR", value_parser = directory())]
    dir: PathBuf,
}

/// Reads the path of a testnet's directory, which need not be there.
fn directory() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.ancestors().find(|part| part.is_file()) {
        Some(file) => Err(format!("{} is a file; name the directory that holds the testnet", file.display())),
        None => Ok(path),
    })
}

impl DirOption {
    /// The testnet, which must be there.
    fn cluster(&self) -> Result<Cluster, Failure> {
        open_cluster(&self.dir)
    }
}

/// The testnet in `dir`, which the command line names.
fn open_cluster(dir: &Path) -> Result<Cluster, Failure> {
    Cluster::open(TestnetDir::new(dir)).map_err(|error| Failure { exit: Exit::Usage, error })
}

#[derive(Subcommand)]
enum Command {
    /// Stand up a testnet on this machine, look at it, break it, stop it
    #[command(
        subcommand,
        after_help = "Examples:\n  vat testnet up testnet.toml --detach\n  vat testnet status\n  vat testnet kill h2\n  vat testnet restart h2\n  vat testnet down"
    )]
    Testnet(testnet::Command),
    /// Call a method of a vat's object, from outside
    Call(call::Args),
    /// Read what a vat publishes, from outside, by what its members have signed
    Read(read::Args),
    /// Let another vat use a vat's root
    Grant(access::GrantArgs),
    /// Let another vat use a vat's root no longer
    Revoke(access::RevokeArgs),
    /// End with peers of a vat that are gone
    #[command(subcommand, after_help = "Example:\n  vat peer drop bank shop")]
    Peer(peer::Command),
    /// Make, show and revoke references to a vat's objects, and those that calls have kept
    #[command(
        subcommand,
        after_help = "Examples:\n  vat ref new bank --note \"for Alice\" --expires 30d\n  vat ref list bank\n  vat ref revoke bank 3f9c02d14a7b\n  vat ref kept\n  vat ref forget purse-1"
    )]
    Ref(reference::Command),
    /// Show who holds which objects of a vat, and what it holds of others
    Objects(objects::Args),
    /// Make and run single hosts
    #[command(
        subcommand,
        after_help = "Examples:\n  vat node init --home HOME --name alpha\n  vat node run --home HOME"
    )]
    Node(node::Command),
    /// Administrate hosts on other machines
    #[command(subcommand, after_help = "Example:\n  vat operator init remote/alpha --card alpha.card")]
    Operator(operator::Command),
    /// Make a new vat on running hosts
    Create(create::CreateArgs),
    /// Give a vat its code
    Install(create::InstallArgs),
    /// Give a vat that runs other code, or move it to another engine image
    Upgrade(upgrade::Args),
    /// Say who a host is: a card for partners who make or change a vat
    Card(join::CardArgs),
    /// Show what is in a card or a vat file
    Inspect(inspect::Args),
    /// Say what a vat is: a file for a partner's host that shall join it
    Introduce(join::IntroduceArgs),
    /// Let a running host carry the vat of a file
    Join(join::JoinArgs),
    /// How vats and their members stand
    Status(status::Args),
    /// Serve a page that shows how hosts and vats stand
    Console(console::Args),
    /// The vats that hosts carry, with who they are and what they take
    List(list::Args),
    /// Have a host delete what it has of a vat
    Delete(delete::Args),
    /// Hosts and vats as they change, on a terminal
    Top(top::Args),
    /// Look for what is wrong with a host, and say what to do
    Doctor(doctor::Args),
    /// The schemas of the config files
    #[command(
        subcommand,
        after_help = "Examples:\n  vat config schema testnet > testnet.schema.json\n  vat config check testnet.toml"
    )]
    Config(config::Command),
    /// What takes the disks of hosts, and what is damaged there
    Disk(disk::Args),
    /// What hosts keep of members that contradict one another
    Evidence(evidence::Args),
    /// Write what a vat has certified to a file for others
    Prove(prove::Args),
    /// Check a file of proofs, offline
    Verify(verify::Args),
    /// The engine images that a host can run vats with
    #[command(subcommand, after_help = "Examples:\n  vat image list --home HOME\n  vat image add old.wasm --home HOME")]
    Image(image::Command),
    /// Change a vat's members
    #[command(
        subcommand,
        after_help = "Examples:\n  vat member replace --vat two --out c --in e\n  vat member add --vat two --in f\n  vat member remove --vat two --out f\n  vat member cancel --vat two"
    )]
    Member(member::Command),
    /// Go on with a vat that has lost too many members for good, with those that are left
    Recover(recover::Args),
    /// Show the changes of members, and of who may use a vat, that wait for the approval of owners
    Approvals(approvals::ListArgs),
    /// Approve such a change, for one host
    #[command(
        after_help = "Example:\n  vat approvals two\n  vat approve two --home /srv/quorate\n\nWhere several hosts here were asked and --host names none, the first that has not answered approves: one approval a command."
    )]
    Approve(approvals::AnswerArgs),
    /// Reject such a change, for the hosts here
    #[command(
        after_help = "Example:\n  vat reject two --home /srv/quorate\n\nA change ends when so many members have rejected it that too few are left to approve, or when its proposer's owner does."
    )]
    Reject(approvals::AnswerArgs),
    /// What a vat's console printed, or what a host logged
    Logs(logs::Args),
    /// Run a file in a vat of its own, in a temporary home, to try code
    Run(run::Args),
    /// Execute the log of a stored vat again, and show what each block did
    Replay(replay::Args),
    /// Make a folder with a contract and a testnet, ready to run
    New(new::Args),
    /// Say whether code can be given to a vat, and what would travel
    Check(check::Args),
    /// Run tests that start vats in memory
    Test(test::Args),
    /// Evaluate lines in a vat, in memory
    Repl(repl::Args),
    /// What an error code means, and what to do
    Explain(explain::Args),
    /// Print what a shell needs to complete these commands
    #[command(
        after_help = "Examples:\n  vat completions bash > ~/.local/share/bash-completion/completions/vat\n  vat completions zsh > ~/.zfunc/_vat"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each command
    Man(man::Args),
    /// Say which version this is, with its commit and its engine image
    #[command(
        after_help = "Examples:\n  vat version --json\n  vat --version            the same for people; `vat -V` says only the version"
    )]
    Version,
}

/// The whole command, of a build of which nothing more is known.
pub fn main() -> ExitCode {
    run_command(Build::default())
}

/// The whole command.
pub fn run_command(build: Build) -> ExitCode {
    let Cli { json, command } = match parse(build) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    // Homes, sturdyrefs, vat files: all that commands write is this user's alone.
    quorate_node::system::keep_files_private();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::failure(error.into(), json).into(),
    };
    let outcome = runtime.block_on(perform(command, build, json));
    // Nothing that still runs in the background is worth waiting for.
    runtime.shutdown_background();
    let exit = outcome.unwrap_or_else(|failure| report::failure(failure, json));
    match output::failure() {
        None => exit.into(),
        Some(error) if exit == Exit::Success => {
            output::note(format!("error: done, but standard output could not be written: {error}"));
            Exit::Failed.into()
        }
        Some(_) => exit.into(),
    }
}

/// Reads the command line. Where it asks for help or is wrong, all is said, and the exit code is returned.
fn parse(build: Build) -> Result<Cli, Exit> {
    // The program ends before this could be freed.
    let version: &'static str = build.long_version().leak();
    let matches = Cli::command().long_version(version).try_get_matches();
    matches.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        if error.use_stderr() {
            // What is wrong may well be before `--json`.
            let json = std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json");
            return report::wrong_words(&error, json);
        }
        match error.print() {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Failed,
            _ => Exit::Success,
        }
    })
}

async fn perform(command: Command, build: Build, json: bool) -> Outcome {
    match command {
        Command::Testnet(command) => testnet::run(command, json).await,
        Command::Call(args) => call::run(args, json).await,
        Command::Read(args) => read::run(args, json).await,
        Command::Grant(args) => access::grant(args, json).await,
        Command::Revoke(args) => access::revoke(args, json).await,
        Command::Peer(command) => peer::run(command, json).await,
        Command::Ref(command) => reference::run(command, json).await,
        Command::Objects(args) => objects::run(args, json).await,
        Command::Node(command) => node::run(command, json, build).await,
        Command::Operator(command) => operator::run(&command, json),
        Command::Create(args) => create::create(args, json).await,
        Command::Install(args) => create::install(args, json).await,
        Command::Upgrade(args) => upgrade::run(args, json).await,
        Command::Card(args) => join::card(args).await,
        Command::Inspect(args) => inspect::run(&args, json),
        Command::Introduce(args) => join::introduce(args).await,
        Command::Join(args) => join::join(args, json).await,
        Command::Status(args) => status::run(args, json).await,
        Command::Console(args) => console::run(args, json).await,
        Command::List(args) => list::run(args, json).await,
        Command::Delete(args) => delete::run(args, json).await,
        Command::Top(args) => top::run(args, json).await,
        Command::Doctor(args) => doctor::run(args, json).await,
        Command::Config(command) => config::run(&command, json),
        Command::Disk(args) => disk::run(args, json).await,
        Command::Evidence(args) => evidence::run(args, json).await,
        Command::Prove(args) => prove::run(args, json).await,
        Command::Verify(args) => verify::run(&args, json),
        Command::Image(command) => image::run(command, json).await,
        Command::Member(command) => member::run(command, json).await,
        Command::Recover(args) => recover::run(args, json).await,
        Command::Approvals(args) => approvals::list(args, json).await,
        Command::Approve(args) => approvals::approve(args, json).await,
        Command::Reject(args) => approvals::reject(args, json).await,
        Command::Logs(args) => logs::run(args, json).await,
        Command::Run(args) => run::run(args, json).await,
        Command::Replay(args) => replay::run(args, json).await,
        Command::New(args) => new::run(&args, json),
        Command::Check(args) => check::run(&args, json),
        Command::Test(args) => test::run(args, json).await,
        Command::Repl(args) => repl::run(args, json).await,
        Command::Explain(args) => explain::run(&args, json),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "vat", &mut text);
            output::line(String::from_utf8_lossy(&text).trim_end());
            Ok(Exit::Success)
        }
        Command::Man(args) => man::run(&args, Cli::command(), json),
        Command::Version => Ok(version::run(build, json)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_admin::client::ApiClientError;

    #[test]
    fn a_refusal_ends_as_its_status_says() {
        let refused = |status| ApiClientError::Refused { status, code: "Q-A003".into(), message: "no".into() };
        for (error, exit) in [
            (refused(400), Exit::Usage),
            (refused(409), Exit::Usage),
            (refused(410), Exit::Rejected),
            // It may still take effect: a script that repeats at once would be wrong.
            (refused(503), Exit::Unreachable),
            (refused(500), Exit::Failed),
            (ApiClientError::Deadline, Exit::Unreachable),
            (ApiClientError::NotRunning("here".into()), Exit::Unreachable),
            (ApiClientError::Answer("nonsense".into()), Exit::Failed),
        ] {
            let shown = format!("{error:?}");
            assert_eq!(Failure::from(error).exit, exit, "{shown}");
        }
    }
}
