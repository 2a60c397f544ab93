//! The language's own objects: what hangs below every object and is nobody's offer.
//!
//! Collected once, after lockdown: from then on they are frozen, and there are no further ones.

use super::harden;
use crate::runtime::type_error;
use crate::tables::ByIdentity;
use boa_engine::{Context, JsObject, JsResult, JsValue};
use std::cell::RefCell;

thread_local! {
    static BASE: RefCell<ByIdentity<()>> = RefCell::default();
}

/// Keeps all objects that are reachable from those in `roots`, an array.
pub fn install(roots: &JsValue, context: &mut Context) -> JsResult<()> {
    let roots = roots.as_object().ok_or_else(|| type_error("intrinsics.js gives an array"))?;
    let mut known: ByIdentity<()> = ByIdentity::default();
    let mut queue = Vec::new();
    let length = roots.get(boa_engine::js_string!("length"), context)?.to_length(context)?;
    for index in 0..length {
        queue.extend(roots.get(index, context)?.as_object());
    }
    while let Some(object) = queue.pop() {
        if known.insert(object.clone(), ()).is_none() {
            harden::collect(&object, &mut queue, context)?;
        }
    }
    let global = context.global_object();
    known.remove(&global);
    BASE.with(|base| *base.borrow_mut() = known);
    Ok(())
}

/// Whether `object` is one of the language's own.
pub fn has(object: &JsObject) -> bool {
    BASE.with(|base| base.borrow().contains_key(object))
}
