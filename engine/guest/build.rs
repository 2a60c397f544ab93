//! Sets the size of the stack that the compiler keeps in linear memory.

/// The parser's frames are large: the stack limiter must fire before this is used up, and ordinary nesting before neither.
const STACK_BYTES: u32 = 8 << 20;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK_BYTES}");
}
