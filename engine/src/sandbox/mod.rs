//! WebAssembly instances that can do nothing but compute: their imports, their memory and stack, and
//! who is at fault when one of them stops.
//!
//! Invariants: a guest sees no clock, no randomness and nothing of its machine. Whether a call traps, and after how much fuel, is
//! the same on every host. Nothing here depends on vats, images or deliveries: see [`crate::image`] and [`crate::heap`].

mod config;
mod globals;
mod imports;
mod instance;
mod logs;
mod memory;
mod prices;
mod stack;

pub(crate) use config::config;
pub use config::wasmtime_version;
pub use globals::GlobalValue;
pub(crate) use imports::{HostState, link};
#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) use instance::STACK_GLOBAL;
pub(crate) use instance::{Call, Instance, WASM_PAGE_BYTES};
pub use logs::{LogLevel, LogLine, MAX_LOG_BYTES, MAX_LOG_LINES};
pub(crate) use memory::{BaseFile, Reservation};
pub use memory::{PAGE_BYTES, ZERO_PAGE};
pub use prices::fuel_prices_hash;
pub(crate) use prices::has_price;
pub(crate) use stack::check as check_stack;
pub use stack::{ENGINE_STACK_BYTES, MAX_WASM_STACK_BYTES, with_engine_stack};

use serde::{Deserialize, Serialize};

/// Which limit a delivery ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LimitKind {
    /// It used its whole budget.
    Fuel,
    /// It wanted more memory than the vat may have.
    Memory,
    /// It nested calls inside the interpreter too deeply, or had too many values on the interpreter's own stack.
    Stack,
    /// It nested JavaScript calls too deeply.
    Recursion,
    /// It said more than [`MAX_OUTPUTS`](crate::abi::MAX_OUTPUTS) things.
    Outputs,
    /// The interpreter gave up for another reason.
    Abort,
}

impl LimitKind {
    /// The one that the interpreter names in [`Outcome::Limit`](crate::abi::Outcome::Limit).
    pub(crate) fn of_interpreter(name: &str) -> LimitKind {
        match name {
            "stack" => LimitKind::Stack,
            "recursion" => LimitKind::Recursion,
            "outputs" => LimitKind::Outputs,
            _ => LimitKind::Abort,
        }
    }

    /// The name that contract code, logs and metrics see.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::Fuel => "fuel",
            LimitKind::Memory => "memory",
            LimitKind::Stack => "stack",
            LimitKind::Recursion => "recursion",
            LimitKind::Outputs => "outputs",
            LimitKind::Abort => "abort",
        }
    }
}
