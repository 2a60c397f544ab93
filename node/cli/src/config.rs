//! `vat config`: schemas of the config files, and whether one is good.

use super::{Exit, Failure, Outcome, output};
use quorate_config::testnet::{TestnetConfig, check_host_file, host_schema, testnet_schema};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Print the JSON schema of a config file, for editors
    #[command(
        after_help = "Examples:\n  vat config schema testnet > testnet.schema.json\n  vat config schema host > host.schema.json\n\nAn editor that knows TOML by schemas takes it from the file's first line: #:schema ./testnet.schema.json"
    )]
    Schema {
        /// Which file
        #[arg(value_parser = ["testnet", "host"])]
        which: String,
    },
    /// Say whether a config is good, and what is wrong with it
    #[command(
        after_help = "Examples:\n  vat config check testnet.toml\n  vat config check /var/lib/quorate/host.toml\n\nA file that is called host.toml is checked as a host's, any other as a testnet's."
    )]
    Check {
        /// The file
        file: PathBuf,
    },
}

pub fn run(command: &Command, json: bool) -> Outcome {
    match command {
        Command::Schema { which } => {
            output::json(&if which == "host" { host_schema() } else { testnet_schema() });
            Ok(Exit::Success)
        }
        Command::Check { file } => {
            let is_host = file.file_name().is_some_and(|name| name == "host.toml");
            let checked = if is_host { check_host_file(file).map(drop) } else { TestnetConfig::load(file).map(drop) };
            checked.map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
            if json {
                output::json(&json!({ "file": file, "good": true }));
            } else {
                output::line(format!("{} is good", file.display()));
            }
            Ok(Exit::Success)
        }
    }
}
