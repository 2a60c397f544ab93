//! `vat testnet up --fresh` and `--watch`: a testnet that takes the place of the one that was there.
//!
//! Invariant: nothing of a testnet is removed before the config that is to replace it, and all its code, were found good; and nothing but a
//! testnet is ever removed.

use super::super::{Exit, Failure, output, watch::Seen};
use super::wrong;
use anyhow::Context as _;
use quorate_config::{
    cluster::{Cluster, Started},
    home::export::Exported,
    init::Plan,
    layout::TestnetDir,
    testnet::TestnetConfig,
};
use quorate_tools::source::Source;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Stops the testnet in `dir`, if there is one, and removes it.
///
/// # Errors
/// The config is wrong; something else than a testnet is there, or one whose hosts run elsewhere; or a host can't be stopped.
pub fn clear(file: &Path, dir: &TestnetDir) -> Result<(), Failure> {
    plan(file)?;
    let shown = dir.path().display();
    if dir.read()?.is_none() {
        if dir.path().exists() && dir.is_unfinished() {
            fs::remove_dir_all(dir.path()).with_context(|| format!("removing {shown}"))?;
        }
        // Anything else that is there is found, and left alone, when the testnet is made.
        return Ok(());
    }
    let cluster = Cluster::open(TestnetDir::new(dir.path()))?;
    for place in &cluster.layout.hosts {
        if let Some(Exported { to, .. }) = Exported::read(&cluster.dir.home(&place.name))? {
            let message = format!(
                "{shown} has the place of {}, which was exported to {}: choose another directory with --dir, or remove {shown} yourself",
                place.name,
                to.display()
            );
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    let stopped = cluster.down(&mut Started::default())?;
    fs::remove_dir_all(dir.path()).with_context(|| format!("removing {shown}"))?;
    let stopped = if stopped.is_empty() { String::new() } else { format!("stopped {} hosts, and ", stopped.len()) };
    output::note(format!("{stopped}removed the testnet in {shown}"));
    Ok(())
}

fn plan(file: &Path) -> Result<Plan, Failure> {
    let config = TestnetConfig::load(file).map_err(|error| wrong(error.into()))?;
    Plan::new(config).map_err(wrong)
}

/// Returns when the config, or code that it names, is another one, and good. `files` are those that it was made of so far.
pub async fn changed(file: &Path, digest: &str, files: &[PathBuf]) {
    let mut said = String::new();
    loop {
        // Before the files are read: what changes meanwhile is a change.
        let seen = Seen::now(files.to_vec());
        match plan(file) {
            Ok(plan) if plan.digest != digest => return,
            // Only what does not matter has changed, or it is as it was again.
            Ok(_) => said.clear(),
            Err(failure) => {
                let text = failure.error.to_string();
                if text != said {
                    output::note(format!("! {text}\nthe testnet stays as it is until that is corrected"));
                    said = text;
                }
            }
        }
        seen.changed().await;
    }
}

/// The files that a testnet is made of: its config, what lies beside that, and the code of its vats.
pub fn files(file: &Path) -> Vec<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = fs::read_dir(folder).into_iter().flatten().flatten();
    let beside = beside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())).map(|entry| entry.path());
    let mut files: Vec<PathBuf> = beside.chain([file.to_owned()]).collect();
    if let Ok(config) = TestnetConfig::load(file) {
        for vat in &config.vats {
            if let Ok(source) = Source::read(&vat.source) {
                files.extend(source.files());
            }
        }
    }
    files
}
