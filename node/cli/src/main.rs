//! The `vat` command. Everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A packager, or the Makefile, sets them; cargo builds this file anew when they change, and nothing else.
    quorate_cli::run_command(quorate_cli::Build {
        commit: option_env!("QUORATE_COMMIT"),
        profile: option_env!("QUORATE_PROFILE"),
    })
}
