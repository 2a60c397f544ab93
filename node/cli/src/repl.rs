//! `vat repl`: a session in a vat of its own: in memory, or, to talk with vats on hosts, in a host of its own.

mod input;
mod remote;

use super::{
    DirOption, Exit, Failure, Outcome,
    arguments::parse_value,
    create::{named_arguments, wrong_code},
    output,
    test::shown,
};
use input::Input;
use quorate_config::bundle;
use quorate_engine::{abi::Value, heap::with_engine_stack, image::Image};
use quorate_node::run::engine_cache;
use quorate_tools::{
    TrialError,
    driver::Budget,
    line::{self, Line, Whole},
    session::{Printed, Session},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Fuel that one line may burn, with all that it sets off: about a minute.
const FUEL_PER_LINE: u64 = 300_000_000_000;

const HELP: &str = "\
A line is evaluated in a vat, in hardened JavaScript; what it declares stays. A promise is printed when it has settled.
  E(root).method(…)             sends a message; root is the root of the file that the session was started with
  const a = await vat('./a.js', { start: 1 })
                                starts a further vat, with its argv
  advance(60_000)               lets a minute pass; now() is the time, and timer the endowment
  settle()                      is fulfilled when nothing is under way
  .exit                         ends the session, as does the end of the input";

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat repl\n  vat repl counter.js --arg start=5          its root is `root`: E(root).increment()\n  echo 'await E(root).increment(2)' | vat repl counter.js\n  vat repl counter                           a vat of the testnet; a sturdyref or a kept reference (ref:NAME) will do, too\n\nWith a file, or without anything, all is in this process, in memory, and gone when the session ends. With a vat that runs on hosts\nthe session is a vat on a host of its own, which is gone then. `.help` says what there is beside the language. With --json each\nline that is evaluated prints one line."
)]
pub struct Args {
    /// What shall be `root`: the entry file of a vat to start, or a vat that runs: a vat of the testnet, a sturdyref, or ref:NAME
    #[arg(value_name = "FILE|VAT")]
    target: Option<String>,
    /// An argument of the file's code: JSON or a bare string (may be repeated)
    #[arg(long = "arg", value_name = "NAME=VALUE", requires = "target")]
    arguments: Vec<String>,
    /// What decides the order in which messages of different vats arrive
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A host to ask for the vat's members: its card, or its address with its key, `/ip4/…/tcp/…/p2p/KEY` (may be repeated)
    #[arg(long, value_name = "CARD|MULTIADDR")]
    at: Vec<String>,
    #[command(flatten)]
    dir: DirOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let entry = match &args.target {
        None => None,
        Some(target) if is_file(target) => Some(PathBuf::from(target)),
        Some(target) => {
            if let Some(argument) = args.arguments.first() {
                let message = format!("--arg {argument}: {target} runs already; arguments are for code that starts");
                return Err(Failure::new(Exit::Usage, message));
            }
            return remote::run(target, &args.at, &args.dir, json).await;
        }
    };
    // What is wrong with the code is said with the lines, before anything is started.
    entry.as_deref().map(bundle::bundle).transpose().map_err(wrong_code)?;
    let mut argv = Vec::new();
    for (name, text) in named_arguments(&args.arguments, &["timer".to_owned(), "publisher".to_owned()])? {
        argv.push((name, parse_value(text)?));
    }
    let cache = engine_cache()?;
    // A terminal is told that it may take a while; what is piped needs no such word.
    let progress = Input::is_terminal().then(|| output::Progress::start(output::COMPILING));
    let image = tokio::task::spawn_blocking(move || Image::load(&cache)).await??;
    progress.into_iter().for_each(output::Progress::done);
    let seed = args.seed;
    let talk = move || with_engine_stack(|| in_memory(image, entry.as_deref(), argv, seed, json));
    tokio::task::spawn_blocking(talk).await?
}

/// Returns whether a target is code: a vat has neither an ending nor a folder in its name.
fn is_file(target: &str) -> bool {
    let is_reference = target.starts_with("vat://") || target.starts_with("ref:");
    !is_reference && (target.contains(['.', '/']) || Path::new(target).is_file())
}

fn failed(error: TrialError) -> Failure {
    let exit = if matches!(error, TrialError::Engine(_)) { Exit::Failed } else { Exit::Usage };
    Failure { exit, error: error.into() }
}

fn in_memory(image: Arc<Image>, entry: Option<&Path>, argv: Vec<(String, Value)>, seed: u64, json: bool) -> Outcome {
    let budget = Budget { fuel: FUEL_PER_LINE };
    let mut session = Session::start(image, Path::new(""), seed, budget).map_err(failed)?;
    if let Some(entry) = entry {
        let printed = session.start_root(entry, argv).map_err(failed)?;
        printed.iter().for_each(|printed| show(printed, json));
    }
    talk(|whole| session.evaluate(whole).map_err(failed), entry.is_some(), json)
}

/// Reads lines and has them evaluated, until there are no more.
fn talk(mut evaluate: impl FnMut(&Whole) -> Result<Vec<Printed>, Failure>, has_root: bool, json: bool) -> Outcome {
    let mut input = Input::open();
    if input.asks() {
        output::note(if has_root { "`root` is there; .help, .exit" } else { ".help, .exit" });
    }
    let mut text = String::new();
    while let Some(typed) = input.line(if text.is_empty() { "> " } else { ". " }) {
        if text.is_empty() {
            match typed.trim() {
                ".exit" => break,
                ".help" => {
                    output::note(HELP);
                    continue;
                }
                _ => {}
            }
        }
        text.push_str(&typed);
        text.push('\n');
        // An empty line ends what was begun, whatever is open.
        let given_up = typed.trim().is_empty();
        match line::read(&text) {
            Line::Open if !given_up => continue,
            Line::Empty => {}
            Line::Open => report(&line::whole(&text), &evaluate(&line::whole(&text))?, json),
            Line::Whole(whole) => report(&whole, &evaluate(&whole)?, json),
        }
        text.clear();
        if output::failure().is_some() || !output::has_reader() {
            break;
        }
    }
    if !text.trim().is_empty() {
        let whole = line::whole(&text);
        report(&whole, &evaluate(&whole)?, json);
    }
    Ok(Exit::Success)
}

/// Prints what a line came to.
fn report(whole: &Whole, printed: &[Printed], json: bool) {
    if !json {
        return printed.iter().for_each(|printed| show(printed, false));
    }
    let of = |kind: &dyn Fn(&Printed) -> Option<String>| -> Vec<String> { printed.iter().filter_map(kind).collect() };
    let values = of(&|printed| if let Printed::Value(text) = printed { Some(text.clone()) } else { None });
    let failures = of(&|printed| match printed {
        Printed::Failed(text) | Printed::Stopped(text) => Some(text.clone()),
        _ => None,
    });
    let console = of(&|printed| if let Printed::Console(line) = printed { Some(shown(line)) } else { None });
    output::json_line(&json!({
        "line": whole.text, "values": values, "failures": failures,
        "pending": printed.contains(&Printed::Pending), "console": console,
    }));
}

fn show(printed: &Printed, json: bool) {
    match printed {
        Printed::Console(line) if json => output::note(shown(line)),
        Printed::Console(line) => output::line(shown(line)),
        Printed::Value(text) => output::line(text),
        Printed::Failed(text) => output::line(format!("! {text}")),
        Printed::Pending => output::line("(a promise that nothing settles now; what it comes to is printed then)"),
        Printed::Stopped(why) => output::line(format!("! stopped: {why}")),
    }
}
