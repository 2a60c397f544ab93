//! From a vat's entry file to the bundle that travels in its `Install`: the work of [`quorate_bundler`], in the engine's own type.

pub use quorate_bundler::BundleError;
use quorate_engine::abi::Bundle;
use std::path::Path;

/// Reads `entry` and all that it imports. Errors: everything that is wrong with it, with files and lines.
pub fn bundle(entry: &Path) -> Result<Bundle, BundleError> {
    let code = quorate_bundler::bundle(entry)?;
    Ok(Bundle { entry: code.entry, modules: code.modules })
}
