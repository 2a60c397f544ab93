//! Small things that the rest of the runtime shares: native functions, errors, the log.

use boa_engine::object::builtins::JsFunction;
use boa_engine::{Context, JsError, JsNativeError, JsResult, JsValue, NativeFunction};

use crate::abi::log_level;
pub use log_level::{DEBUG, ERROR, INFO, WARN};

#[cfg_attr(target_arch = "wasm32", link(wasm_import_module = "quorate"))]
unsafe extern "C" {
    #[cfg_attr(target_arch = "wasm32", link_name = "log")]
    fn host_log(level: i32, pointer: *const u8, length: usize);
}

/// Longest line that goes to the host, in bytes.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// Writes a line to the vat's log.
pub fn log(level: i32, text: &str) {
    let mut end = text.len().min(MAX_LINE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // SAFETY: the host reads `end` bytes at the pointer before it returns, and keeps nothing.
    unsafe { host_log(level, text.as_ptr(), end) }
}

// For a vat it is a constant: see `seed`.
#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(pointer: *mut u8, length: usize) -> i32;
}

/// A number that is the same for each replica of a vat, and another one for each vat. On other targets: 0.
pub fn seed() -> u64 {
    let mut bytes = [0; 8];
    #[cfg(target_arch = "wasm32")]
    // SAFETY: the host writes these eight bytes and keeps nothing. If it fails they stay as they are.
    unsafe {
        random_get(bytes.as_mut_ptr(), bytes.len());
    }
    u64::from_le_bytes(bytes)
}

/// A function object over a closure that captures nothing that the collector must see.
pub fn native<F>(context: &mut Context, closure: F) -> JsFunction
where
    F: Fn(&JsValue, &[JsValue], &mut Context) -> JsResult<JsValue> + Copy + 'static,
{
    NativeFunction::from_copy_closure(closure).to_js_function(context.realm())
}

/// The thrown value that `error` stands for; what guest code cannot catch is passed on as it is.
pub fn thrown(error: JsError, context: &mut Context) -> JsResult<JsValue> {
    error.into_opaque(context)
}

/// A `TypeError`.
pub fn type_error(message: impl Into<std::borrow::Cow<'static, str>>) -> JsError {
    JsNativeError::typ().with_message(message).into()
}

/// A `RangeError` with this message.
pub fn range_error(message: impl Into<std::borrow::Cow<'static, str>>) -> JsError {
    JsNativeError::range().with_message(message).into()
}
