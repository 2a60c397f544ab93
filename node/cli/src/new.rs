//! `vat new`: a folder with a contract and a testnet, ready to run.

use super::{Exit, Failure, Outcome, output};
use anyhow::Context as _;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat new shop\n  vat new shop --typescript\n\nThe folder's README.md says what to type next."
)]
pub struct Args {
    /// The folder to make; its name is the project's
    folder: PathBuf,
    /// Write the contract in TypeScript
    #[arg(long)]
    typescript: bool,
}

const JAVASCRIPT: &str = include_str!("new/contract.js");
const TYPESCRIPT: &str = include_str!("new/contract.ts");
const TESTS: &str = include_str!("new/contract.test.js");
const TESTNET: &str = include_str!("new/testnet.toml");
const README: &str = include_str!("new/README.md");
const MANIFEST: &str = include_str!("new/package.json");
/// Types of the globals and the built-in modules, for editors and `tsc`, and the file by which these find them.
const DECLARATIONS: &str = include_str!("new/vat.d.ts");
const TSCONFIG: &str = include_str!("new/tsconfig.json");

pub fn run(args: &Args, json: bool) -> Outcome {
    let (contract, text) = if args.typescript { ("contract.ts", TYPESCRIPT) } else { ("contract.js", JAVASCRIPT) };
    let name = args.folder.file_name().and_then(|name| name.to_str()).unwrap_or("project").to_lowercase();
    let named = |text: &str| text.replace("CONTRACT", contract).replace("PROJECT", &name);
    let files = [
        (contract, text.to_string()),
        ("contract.test.js", named(TESTS)),
        ("testnet.toml", named(TESTNET)),
        ("README.md", named(README)),
        ("package.json", named(MANIFEST)),
        ("vat.d.ts", DECLARATIONS.to_string()),
        ("tsconfig.json", TSCONFIG.to_string()),
    ];
    make_empty(&args.folder)?;
    for (file, text) in &files {
        let path = args.folder.join(file);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    if json {
        let names: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
        output::json_line(&json!({ "folder": args.folder, "files": names }));
    } else {
        let folder = args.folder.display();
        output::line(format!("{folder} is ready: cd {folder} && vat testnet up testnet.toml --detach"));
    }
    Ok(Exit::Success)
}

/// Makes the folder, unless it is there and empty.
fn make_empty(folder: &Path) -> Result<(), Failure> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let message = format!("{} is not empty; name a folder that is not there yet", folder.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(())
}
