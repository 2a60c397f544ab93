//! How guests are compiled and run.

use super::memory::VatMemories;
use super::prices::operator_cost;
use super::stack::MAX_WASM_STACK_BYTES;
use std::sync::Arc;
use wasmtime::{Config, OptLevel};

/// What the guest needs and no more; everything that a replica could see differently is off or fixed.
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
