//! `vat image`: the engine images of a home.

use super::{Exit, Failure, Outcome, output};
use quorate_config::home::Home;
use quorate_engine::{
    EngineError, Hash,
    image::{Image, Images, MAX_IMAGE_BYTES, image_hash},
};
use quorate_node::run::engine_cache;
use serde_json::json;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the images that a host can run vats with
    #[command(
        after_help = "Examples:\n  vat image list                       this version's own\n  vat image list --home HOME --json    those of a home as well\n\nA vat's genesis names its image for ever. A host keeps the images that its vats run in, and fetches one that it lacks from\nmembers of the vat when its owner has it join."
    )]
    List {
        /// The host's home
        #[arg(long, env = "QUORATE_HOME")]
        home: Option<PathBuf>,
    },
    /// Compile this version's own image for this machine ahead of time
    #[command(
        after_help = "Example:\n  sudo -u quorate QUORATE_CACHE=/var/cache/quorate vat image compile\n\nA first start does it as well, which takes seconds. What it makes is kept in the folder that QUORATE_CACHE names, and is good for\nthe user whose folder that is, on this machine."
    )]
    Compile,
    /// Keep an image in a home, for vats that run in it
    #[command(
        after_help = "Example:\n  vat image add old.wasm --home HOME\n\nThe file is tried first: compiling it takes some seconds. It may be added while the host runs. The images of a home lie in\nits folder images/, each under its hash."
    )]
    Add {
        /// The image: a WebAssembly module
        file: PathBuf,
        /// The host's home
        #[arg(long, env = "QUORATE_HOME")]
        home: PathBuf,
    },
}

pub async fn run(command: Command, json: bool) -> Outcome {
    // Compiling would hold up the runtime's thread for seconds.
    tokio::task::spawn_blocking(move || match command {
        Command::List { home } => list(home.as_deref(), json),
        Command::Compile => compile(json),
        Command::Add { file, home } => add(&file, &home, json),
    })
    .await?
}

fn images(home: &Path) -> Result<Images, Failure> {
    let home = Home::open(home).map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    let cache = engine_cache().map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    Ok(Images::open(cache, home.images()))
}

fn list(home: Option<&Path>, json: bool) -> Outcome {
    let hashes = match home {
        Some(home) => images(home)?.list()?,
        None => vec![image_hash()],
    };
    let is_own = |hash: &Hash| *hash == image_hash();
    if json {
        let images: Vec<_> =
            hashes.iter().map(|hash| json!({ "image": hash.to_string(), "own": is_own(hash) })).collect();
        output::json(&json!({ "images": images }));
    } else {
        for hash in &hashes {
            output::line(format!(
                "{hash}{}",
                if is_own(hash) { "  this version's own: new vats run in it" } else { "" }
            ));
        }
    }
    Ok(Exit::Success)
}

fn compile(json: bool) -> Outcome {
    let cache = engine_cache().map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    let progress = output::Progress::start(output::COMPILING);
    let image = Image::load(&cache);
    progress.done();
    let hash = image?.hash();
    if json {
        output::json(&json!({ "image": hash.to_string(), "cache": cache }));
    } else {
        output::line(format!("{hash}  in {}", cache.display()));
    }
    Ok(Exit::Success)
}

fn add(file: &Path, home: &Path, json: bool) -> Outcome {
    let images = images(home)?;
    let wasm = read(file)?;
    let progress = output::Progress::start(format!("trying {}", file.display()));
    let added = images.add(&wasm);
    progress.done();
    let hash = added.map_err(|error| match error {
        EngineError::Image(why) => {
            Failure::new(Exit::Usage, format!("{} is no engine image that this version can run: {why}", file.display()))
        }
        other => other.into(),
    })?;
    if json {
        output::json(&json!({ "image": hash.to_string(), "own": hash == image_hash() }));
    } else {
        output::line(hash);
    }
    Ok(Exit::Success)
}

/// Reads a file that is not larger than any image.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let fault = |error: std::io::Error| Failure::new(Exit::Usage, format!("{}: {error}", file.display()));
    let mut bytes = Vec::new();
    File::open(file).map_err(fault)?.take(MAX_IMAGE_BYTES + 1).read_to_end(&mut bytes).map_err(fault)?;
    Ok(bytes)
}
