//! Configures how guests are compiled and run.

use super::memory::VatMemories;
use super::prices::operator_cost;
use super::stack::MAX_WASM_STACK_BYTES;
use std::sync::Arc;
use wasmtime::{Config, OptLevel};

/// Returns the version of wasmtime. Replicas of a vat need the same one.
pub fn wasmtime_version() -> &'static str {
    "48.0.8"
}

/// Returns what the guest needs and no more; everything that a replica could see differently is off or fixed.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .operator_cost(operator_cost())
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .async_stack_size(2 * MAX_WASM_STACK_BYTES)
        .with_host_memory(Arc::new(VatMemories))
        .memory_init_cow(false)
        .wasm_backtrace_max_frames(None)
        .wasm_relaxed_simd(false)
        .wasm_simd(false)
        .wasm_tail_call(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false);
    config
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_of_wasmtime_is_the_one_that_is_built() {
        let lock = include_str!("../../../Cargo.lock");
        let wanted = format!("name = \"wasmtime\"\nversion = \"{}\"\n", super::wasmtime_version());
        assert!(lock.contains(&wanted), "`wasmtime_version` and Cargo.lock differ");
    }
}
