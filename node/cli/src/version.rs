//! What this program is: its version, its commit, how it was built, and what it runs vats with.

use super::{Exit, output};
use quorate_engine::{fuel_prices_hash, image::image_hash, wasmtime_version};
use serde_json::json;

/// What is known of the build and not in the library.
#[derive(Clone, Copy, Debug, Default)]
pub struct Build {
    /// The commit that the program was built from, if the build said so.
    pub commit: Option<&'static str>,
    /// The profile that it was built by, likewise.
    pub profile: Option<&'static str>,
}

impl Build {
    fn commit(self) -> Option<&'static str> {
        self.commit.filter(|commit| !commit.is_empty())
    }

    fn profile(self) -> Option<&'static str> {
        self.profile.filter(|profile| !profile.is_empty())
    }

    /// What `vat --version` prints after the program's name.
    pub fn long_version(self) -> String {
        let commit = self.commit().unwrap_or("not recorded");
        let profile = self.profile().unwrap_or("dev");
        let assertions = if cfg!(debug_assertions) { "with" } else { "without" };
        format!(
            "{}\ncommit: {commit}\nbuilt: profile {profile}, {assertions} debug assertions\nengine image: {}\nwasmtime: {}",
            env!("CARGO_PKG_VERSION"),
            image_hash(),
            wasmtime_version()
        )
    }
}

/// `vat version`.
pub fn run(build: Build, json: bool) -> Exit {
    if json {
        output::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": build.commit(),
            "profile": build.profile().unwrap_or("dev"),
            "debug_assertions": cfg!(debug_assertions),
            "image": image_hash().to_string(),
            "fuel_prices": fuel_prices_hash().to_string(),
            "wasmtime": wasmtime_version(),
            "home_format": quorate_config::home::HOME_FORMAT,
        }));
    } else {
        output::line(format!("vat {}", build.long_version()));
    }
    Exit::Success
}
