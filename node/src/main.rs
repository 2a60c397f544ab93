//! The `vat` command. Everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate_node::cli::main()
}
