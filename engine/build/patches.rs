//! Applies the patch series to the sources of the interpreter.
//!
//! `guest/patches/NNN-name.patch` are unified diffs against the crates as they were published; paths begin with the crate's folder
//! (`boa_engine-0.22.0/src/…`). The text before the first `diff` line says what the patch ends, and names the upstream issue or says
//! that none is known. `docs/architecture.md` says how to change the series.
//!
//! `cargo vendor` puts all crates of the guest into a folder, the patches are applied there in the order of their names, and the guest
//! is built from that folder. The lock file holds as it is; for crates that are patched cargo no longer compares single files.
//!
//! Invariant: a patch that does not apply exactly, or changes nothing, fails the build with its name, and so does a series that
//! has a gap or a number twice. Another version of a crate therefore fails to build until each of its patches was looked at.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns a folder with the sources of all crates of the guest, patched; `cargo` is a command that begins as the guest's build does.
pub fn sources(guest: &Path, target_dir: &Path, mut cargo: Command) -> Result<PathBuf, String> {
    let lock = guest.join("Cargo.lock");
    let patches = series(&guest.join("patches"))?;
    let mut key = Sha256::new();
    key.update(fs::read(&lock).map_err(|error| at(&lock, &error))?);
    for patch in &patches {
        key.update(format!("\n{}\n{}\n{}", patch.name, patch.text.len(), patch.text));
    }
    // Cargo never looks again at a folder of sources that it has built from, so other sources need another folder.
    let folder = target_dir.join(format!("sources-{:.16}", hex::encode(key.finalize())));
    if folder.exists() {
        return Ok(folder);
    }
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|error| at(&partial, &error))?;
    }
    cargo.args(["vendor", "--locked", "--quiet", "--versioned-dirs", "--respect-source-config", "--manifest-path"]);
    cargo.arg(guest.join("Cargo.toml")).arg(&partial);
    let done = cargo.output().map_err(|error| format!("cannot run cargo to gather the guest's crates: {error}"))?;
    if !done.status.success() {
        return Err(format!("the guest's crates cannot be gathered\n{}", String::from_utf8_lossy(&done.stderr)));
    }
    let mut packages = BTreeSet::new();
    for patch in &patches {
        packages.extend(patch.apply(&partial)?);
    }
    for package in packages {
        forget_file_hashes(&partial.join(package))?;
    }
    fs::rename(&partial, &folder).map_err(|error| at(&folder, &error))?;
    Ok(folder)
}

struct Patch {
    path: PathBuf,
    name: String,
    text: String,
}

/// Reads the patches of a folder, in their order: 001, 002 and so on. Anything else that lies there is an error: it would silently
/// not be applied.
fn series(folder: &Path) -> Result<Vec<Patch>, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|error| at(folder, &error))? {
        let path = entry.map_err(|error| at(folder, &error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let numbered = name.bytes().take(3).filter(u8::is_ascii_digit).count() == 3;
        if !numbered || !name.ends_with(".patch") {
            return Err(format!("{} is not named NNN-name.patch: rename or remove it", path.display()));
        }
        let text = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
        found.insert(name.clone(), Patch { path, name, text });
    }
    if found.is_empty() {
        return Err(format!("{} has no patches: the interpreter is never built as published", folder.display()));
    }
    for (number, patch) in (1..).zip(found.values()) {
        let wanted = format!("{number:03}-");
        if !patch.name.starts_with(&wanted) {
            return Err(format!(
                "{} should be patch {number:03}: one is missing, or two have the same number; \
                 look with `git status` what was lost, and let `engine/build/patch-series save` number the patches",
                patch.path.display()
            ));
        }
    }
    Ok(found.into_values().collect())
}

impl Patch {
    /// Applies the patch below `sources` and returns the folders of the crates that it changed.
    fn apply(&self, sources: &Path) -> Result<BTreeSet<String>, String> {
        let files: Vec<&str> = self.text.lines().filter_map(|line| line.strip_prefix("+++ b/")).collect();
        if files.is_empty() {
            return Err(format!("{} changes no file", self.path.display()));
        }
        // A file that the patch adds is not there yet.
        let read = |file: &&str| fs::read(sources.join(file)).ok();
        let before: Vec<_> = files.iter().map(read).collect();
        let mut git = Command::new("git");
        // Inside a repository git would take the paths for that repository's and skip them; and no one's settings may matter.
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
            git.env_remove(variable);
        }
        if let Some(parent) = sources.parent() {
            git.env("GIT_CEILING_DIRECTORIES", parent);
        }
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.args(["apply", "--whitespace=nowarn"]).arg(&self.path).current_dir(sources);
        let advice = "adapt it, or remove it if it is no longer needed (docs/architecture.md says how)";
        let done = git.output().map_err(|error| format!("cannot run git to apply {}: {error}", self.path.display()))?;
        if !done.status.success() {
            return Err(format!(
                "{} does not apply: {advice}\n{}",
                self.path.display(),
                String::from_utf8_lossy(&done.stderr)
            ));
        }
        for (file, before) in files.iter().zip(before) {
            if read(file) == before {
                return Err(format!("{} left {file} as it was: {advice}", self.path.display()));
            }
        }
        Ok(files.iter().filter_map(|file| file.split('/').next()).map(str::to_owned).collect())
    }
}

/// Empties the list of a crate's files, so that cargo accepts them changed; the hash of the package stays.
fn forget_file_hashes(package: &Path) -> Result<(), String> {
    let path = package.join(".cargo-checksum.json");
    let text = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
    let (_, whole) = text.rsplit_once("\"package\":").ok_or_else(|| format!("{} names no hash", path.display()))?;
    fs::write(&path, format!("{{\"files\":{{}},\"package\":{whole}")).map_err(|error| at(&path, &error))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
