//! `vat check`: whether code can be given to a vat, and what would travel.

use super::{Exit, Outcome, create::wrong_code, output};
use quorate_config::bundle;
use quorate_protocol::authority::bundle_hash;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vat check contract.ts\n\nIt starts nothing. The hash is that of the bundle: the same files have the same one on every machine, and `vat inspect` shows it."
)]
pub struct Args {
    /// The code's entry file
    file: PathBuf,
}

pub fn run(args: &Args, json: bool) -> Outcome {
    let bundle = bundle::bundle(&args.file).map_err(wrong_code)?;
    let hash = bundle_hash(&bundle).to_string();
    let bytes: usize = bundle.modules.values().map(String::len).sum();
    if json {
        let modules: Vec<_> =
            bundle.modules.iter().map(|(path, text)| json!({ "path": path, "bytes": text.len() })).collect();
        output::json_line(&json!({ "entry": bundle.entry, "hash": hash, "bytes": bytes, "modules": modules }));
        return Ok(Exit::Success);
    }
    let count = bundle.modules.len();
    let plural = if count == 1 { "" } else { "s" };
    output::line(format!("{}: {count} module{plural}, {bytes} bytes, hash {hash}", args.file.display()));
    for (path, text) in &bundle.modules {
        output::line(format!("{:>9}  {path}", text.len()));
    }
    Ok(Exit::Success)
}
