//! Builds the guest image and checks that it is the recorded one.
//!
//! The guest (`guest/`) is a package of its own with its own lock file and one profile, compiled for `wasm32-wasip1` into a
//! target directory of its own: the outer one is locked while this runs, and `OUT_DIR` moves. The interpreter is patched first
//! (`build/patches.rs`), and the stack limiter is built into what comes out (`build/limiter.rs`). What was made before from the
//! same inputs by the same compiler is taken from a cache beside it. The image's SHA-256 must be the one in `image.sha256`: it
//! is part of every vat's genesis, so a change must be deliberate (`make image`, which sets `QUORATE_ACCEPT_IMAGE=1`).

#[path = "build/limiter.rs"]
mod limiter;
#[path = "build/patches.rs"]
mod patches;

use sha2::{Digest, Sha256};
use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// The JavaScript package that is embedded.
const SES: &str = "ses";
const TARGET: &str = "wasm32-wasip1";

fn main() {
    if let Err(message) = run() {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
        exit(1);
    }
}

fn run() -> Result<(), String> {
    let engine = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let guest = engine.join("guest");
    let inputs = inputs(&engine)?;
    for input in &inputs {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    for folder in ["src", "patches"] {
        println!("cargo::rerun-if-changed={}", guest.join(folder).display());
    }
    println!("cargo::rerun-if-changed={}", engine.join("image.sha256").display());
    for variable in ["QUORATE_ACCEPT_IMAGE", "QUORATE_GUEST_TARGET_DIR"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }

    let target_dir = target_dir()?;
    fs::create_dir_all(&target_dir).map_err(|error| at(&target_dir, &error))?;
    let lock_path = target_dir.join("quorate-build.lock");
    let lock = File::create(&lock_path).map_err(|error| at(&lock_path, &error))?;
    lock.lock().map_err(|error| at(&lock_path, &error))?;

    let key = inputs_hash(&engine, &inputs)?;
    let cached = target_dir.join("images").join(format!("{key}.wasm"));
    let record = engine.join("image.sha256");
    let image = match cached_image(&cached, &record)? {
        Some(image) => image,
        None => {
            install_ses(&guest.join("js"))?;
            let image = limiter::limit_stack(&build(&engine, &guest, &target_dir)?)?;
            store(&cached, &image)?;
            image
        }
    };
    check(&record, &image, &cached)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("image.wasm");
    fs::write(&out, image).map_err(|error| at(&out, &error))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// What an earlier build made, if it is the recorded image. Anything else may be a file that a crash left half written, and is
/// made anew; so is an image that is about to be recorded.
fn cached_image(cached: &Path, record: &Path) -> Result<Option<Vec<u8>>, String> {
    let image = match fs::read(cached) {
        Ok(image) => image,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(cached, &error)),
    };
    if is_recorded(record, &image) && !accepts_new() {
        return Ok(Some(image));
    }
    fs::remove_file(cached).map_err(|error| at(cached, &error))?;
    Ok(None)
}

fn is_recorded(record: &Path, image: &[u8]) -> bool {
    fs::read_to_string(record).is_ok_and(|recorded| recorded.trim() == hex::encode(Sha256::digest(image)))
}

fn accepts_new() -> bool {
    env::var_os("QUORATE_ACCEPT_IMAGE").is_some_and(|value| value == "1")
}

/// Everything that the image is made from, besides the compiler and what the lock files pin.
fn inputs(engine: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let files = [
        "build.rs",
        "build/limiter.rs",
        "build/patches.rs",
        "guest/Cargo.toml",
        "guest/Cargo.lock",
        "guest/build.rs",
        "guest/js/package.json",
        "guest/js/package-lock.json",
        "src/abi.rs",
        "src/abi/value.rs",
    ];
    found.extend(files.map(|file| engine.join(file)));
    let mut directories = vec![engine.join("guest/src"), engine.join("guest/patches")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).map_err(|error| at(&directory, &error))? {
            let path = entry.map_err(|error| at(&directory, &error))?.path();
            if path.is_dir() { directories.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

fn inputs_hash(engine: &Path, inputs: &[PathBuf]) -> Result<String, String> {
    let mut hash = Sha256::new();
    hash.update(output(rustc().arg("-vV"))?);
    for path in inputs {
        let name = path.strip_prefix(engine).map_err(|error| error.to_string())?;
        let content = fs::read(path).map_err(|error| at(path, &error))?;
        hash.update(format!("\n{}\n{}\n", name.display(), content.len()));
        hash.update(content);
    }
    Ok(hex::encode(hash.finalize()))
}

/// A directory that stays where it is: a full build of the guest takes minutes.
fn target_dir() -> Result<PathBuf, String> {
    if let Some(chosen) = env::var_os("QUORATE_GUEST_TARGET_DIR") {
        return Ok(chosen.into());
    }
    if let Some(outer) = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from)
        && outer.is_absolute()
        && let Some(parent) = outer.parent()
    {
        return Ok(parent.join("guest-target"));
    }
    let home = env::var_os("HOME").ok_or("neither HOME nor QUORATE_GUEST_TARGET_DIR is set")?;
    Ok(PathBuf::from(home).join(".cache/quorate/guest-target"))
}

/// Sees to it that the pinned version of `ses` is in `node_modules`.
fn install_ses(js: &Path) -> Result<(), String> {
    let lock = fs::read_to_string(js.join("package-lock.json")).map_err(|error| at(js, &error))?;
    let pinned = version_after(&lock, &format!("\"node_modules/{SES}\""))
        .ok_or_else(|| format!("{}/package-lock.json does not pin {SES}", js.display()))?;
    let installed = || {
        let manifest = fs::read_to_string(js.join("node_modules").join(SES).join("package.json")).ok()?;
        version_after(&manifest, "{")
    };
    if installed().as_ref() == Some(&pinned) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(js);
    let advice = format!("run `npm ci --ignore-scripts` in {} (npm comes with Node.js)", js.display());
    let done = npm.output().map_err(|error| format!("cannot run npm to install {SES} {pinned}: {error}; {advice}"))?;
    if !done.status.success() {
        return Err(format!("npm ci failed; {advice}\n{}", String::from_utf8_lossy(&done.stderr)));
    }
    if installed().as_ref() == Some(&pinned) {
        Ok(())
    } else {
        Err(format!("npm ci did not install {SES} {pinned}; {advice}"))
    }
}

/// The first `"version": "…"` after `mark`.
fn version_after(json: &str, mark: &str) -> Option<String> {
    let (_, rest) = json.split_once(mark)?;
    let (_, rest) = rest.split_once("\"version\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn output(command: &mut Command) -> Result<String, String> {
    let done = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    } else {
        Err(format!("{command:?} failed\n{}", String::from_utf8_lossy(&done.stderr)))
    }
}

fn build(engine: &Path, guest: &Path, target_dir: &Path) -> Result<Vec<u8>, String> {
    let sysroot = PathBuf::from(output(rustc().args(["--print", "sysroot"]))?);
    if !sysroot.join("lib/rustlib").join(TARGET).exists() {
        return Err(format!("the compiler cannot build for {TARGET}: run `rustup target add {TARGET}`"));
    }
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let cargo_home = cargo_home.ok_or("neither CARGO_HOME nor HOME is set")?;
    let sources = patches::sources(guest, target_dir, inner_cargo())?;
    // Nothing of where it was built may be in the image. The last that fits counts.
    let remaps = [
        (engine, "/quorate/engine"),
        (cargo_home.as_path(), "/cargo"),
        (target_dir, "/target"),
        (sysroot.as_path(), "/rust"),
        (sources.as_path(), "/sources"),
    ];
    let flags: Vec<String> =
        remaps.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();

    let mut cargo = inner_cargo();
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .args(["--config", "source.crates-io.replace-with=\"patched\"", "--config"])
        .arg(format!("source.patched.directory={:?}", sources.display().to_string()))
        .args(["build", "--release", "--locked", "--target", TARGET, "--manifest-path"])
        .arg(guest.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(guest);
    let done = cargo.output().map_err(|error| format!("cannot run cargo for the guest: {error}"))?;
    if !done.status.success() {
        return Err(format!("the guest does not build\n{}", String::from_utf8_lossy(&done.stderr)));
    }
    let path = target_dir.join(TARGET).join("release/quorate_guest.wasm");
    fs::read(&path).map_err(|error| at(&path, &error))
}

/// A command for cargo that the outer build does not reach into.
fn inner_cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if is_foreign(&name.to_string_lossy()) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Variables of the outer build that would change the inner one. Where cargo lives and how it reaches registries stay.
fn is_foreign(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR"];
    if kept.iter().any(|prefix| name.starts_with(prefix)) {
        return false;
    }
    let outer = ["TARGET", "HOST", "OUT_DIR", "PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS", "RUSTFLAGS", "RUSTDOCFLAGS"];
    name.starts_with("CARGO") || name.starts_with("RUSTC") || name.starts_with("DEP_") || outer.contains(&name)
}

fn store(path: &Path, image: &[u8]) -> Result<(), String> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| at(parent, &error))?;
    }
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial).map_err(|error| at(&partial, &error))?;
    file.write_all(image).and_then(|()| file.sync_all()).map_err(|error| at(&partial, &error))?;
    fs::rename(&partial, path).map_err(|error| at(path, &error))
}

/// Compares with the recorded hash, or records the new one if that was asked for.
fn check(record: &Path, image: &[u8], cached: &Path) -> Result<(), String> {
    if is_recorded(record, image) {
        return Ok(());
    }
    let built = hex::encode(Sha256::digest(image));
    let recorded = fs::read_to_string(record).unwrap_or_default();
    if accepts_new() {
        return fs::write(record, format!("{built}\n")).map_err(|error| at(record, &error));
    }
    let recorded = if recorded.trim().is_empty() { "none" } else { recorded.trim() };
    Err(format!(
        "the guest image that was built is not the recorded one\n\
         built:    {built} ({})\n\
         recorded: {recorded} ({})\n\
         The image is part of every vat's genesis. If the change is meant, run `make image` \
         (QUORATE_ACCEPT_IMAGE=1 cargo build -p quorate-engine) and commit the file; if not, compare the toolchain with \
         rust-toolchain.toml and look for changes under engine/guest and engine/src/abi*.",
        cached.display(),
        record.display()
    ))
}
