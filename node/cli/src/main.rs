//! The `vat` command. Everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A packager, or the Makefile, sets it; cargo builds this file anew when it changes, and nothing else.
    quorate_cli::run_command(quorate_cli::Build { commit: option_env!("QUORATE_COMMIT") })
}
