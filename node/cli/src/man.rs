//! `vat man`: a manual page for each command, made of the same definitions as its help.

use super::{Exit, Failure, Outcome, output};
use serde_json::json;
use std::{fs, path::PathBuf};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat man ~/.local/share/man/man1\n  man vat-node-run\n\nThe folder is made if it is not there. Packages bring the pages along."
)]
pub struct Args {
    /// The folder to write them to
    dir: PathBuf,
}

pub fn run(args: &Args, command: clap::Command, json: bool) -> Outcome {
    let wrong = |error: std::io::Error| Failure::new(Exit::Usage, format!("{}: {error}", args.dir.display()));
    fs::create_dir_all(&args.dir).map_err(wrong)?;
    clap_mangen::generate_to(command, &args.dir).map_err(wrong)?;
    let pages = fs::read_dir(&args.dir).map_err(wrong)?.flatten().map(|entry| entry.file_name());
    let mut pages: Vec<String> = pages.map(|name| name.to_string_lossy().into_owned()).collect();
    pages.retain(|name| name == "vat.1" || name.starts_with("vat-") && name.ends_with(".1"));
    pages.sort();
    if json {
        output::json(&json!({ "dir": args.dir, "pages": pages }));
    } else {
        output::line(format!("{} pages in {}", pages.len(), args.dir.display()));
    }
    Ok(Exit::Success)
}
