//! Builds the page (`web/`) by the machine's Node.js, and lists its files for the program to embed.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, exit},
    time::SystemTime,
};

/// What the page is made of, besides the packages that the lock file pins.
const INPUTS: [&str; 5] = ["build.mjs", "index.html", "package.json", "package-lock.json", "src"];

fn main() {
    if let Err(message) = run() {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
        exit(1);
    }
}

fn run() -> Result<(), String> {
    let crate_folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let web = crate_folder.join("web");
    for input in INPUTS {
        println!("cargo::rerun-if-changed={}", web.join(input).display());
    }
    install(&web)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let page = out.join("page");
    let done = Command::new("node")
        .arg("build.mjs")
        .arg(&page)
        .current_dir(&web)
        .output()
        .map_err(|error| format!("cannot run Node.js to build the console's page: {error}; install Node.js"))?;
    if !done.status.success() {
        let (said, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        return Err(format!("the console's page does not build\n{said}\n{errors}"));
    }
    let list = list(&page)?;
    fs::write(out.join("files.rs"), list).map_err(|error| at(&out, &error))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Sees to it that what the lock file pins is installed: npm writes its hidden lock file last, so it is the newer one exactly then.
fn install(web: &Path) -> Result<(), String> {
    let modified = |path: PathBuf| fs::metadata(path).and_then(|found| found.modified()).ok();
    let wanted = modified(web.join("package-lock.json"));
    let installed = || modified(web.join("node_modules/.package-lock.json"));
    if installed().is_some() && installed() >= wanted {
        return Ok(());
    }
    let advice = format!("run `npm ci --ignore-scripts` in {} (npm comes with Node.js)", web.display());
    let done = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(web)
        .output()
        .map_err(|error| format!("cannot run npm for the console's page: {error}; {advice}"))?;
    if done.status.success() {
        // npm gives it an earlier time.
        let hidden = web.join("node_modules/.package-lock.json");
        let touched = fs::File::options().append(true).open(&hidden);
        return touched.and_then(|file| file.set_modified(SystemTime::now())).map_err(|error| at(&hidden, &error));
    }
    Err(format!("npm ci failed; {advice}\n{}", String::from_utf8_lossy(&done.stderr)))
}

/// Rust source for an array of paths and contents of the files in `page`, in order.
fn list(page: &Path) -> Result<String, String> {
    let (mut folders, mut files) = (vec![page.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| at(&folder, &error))? {
            let path = entry.map_err(|error| at(&folder, &error))?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(page).map_err(|error| error.to_string())?;
        let name = format!("/{}", name.display());
        writeln!(list, "    ({name:?}, include_bytes!({:?})),", file.display().to_string())
            .map_err(|error| error.to_string())?;
    }
    list.push_str("]\n");
    Ok(list)
}
