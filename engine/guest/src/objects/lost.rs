//! What stands for an object of this vat that others hold and that an upgrade has ended. It passes by reference, and whatever is done to
//! it fails with a `VatError`.

use super::far::interface;
use super::harden::seal;
use boa_engine::{Context, Finalize, JsData, JsObject, JsResult, JsValue, Trace};

/// Marks such an object.
#[derive(Clone, Copy, Debug, Trace, Finalize, JsData)]
#[boa_gc(empty_trace)]
pub struct Lost;

/// What is said of it.
pub const ENDED: &str = "this object has ended: the vat was upgraded, and it was not kept";

/// A new one.
pub fn new_lost(context: &mut Context) -> JsResult<JsObject> {
    let prototype = interface("Alleged: ended", context.intrinsics().constructors().object().prototype(), context)?;
    let lost = JsObject::from_proto_and_data(prototype, Lost);
    seal(&lost, context)?;
    Ok(lost)
}

/// Whether `value` is one.
pub fn is_lost(value: &JsValue) -> bool {
    value.as_object().is_some_and(|object| object.is::<Lost>())
}
