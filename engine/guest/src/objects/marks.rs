//! The registered symbol `passStyle`, under which Endo's packages write as what an object passes: `'remotable'` on the prototype that `Far`
//! puts before an object's own, `'tagged'` on tagged data.

use super::sender::answers_itself;
use crate::runtime::type_error;
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsObject, JsResult, JsString, JsSymbol, js_string};
use std::cell::RefCell;

thread_local! {
    static PASS_STYLE: RefCell<Option<JsSymbol>> = const { RefCell::new(None) };
}

/// `Symbol.for(key)`.
pub fn registered(key: &str, context: &mut Context) -> JsResult<JsSymbol> {
    let constructor = context.intrinsics().constructors().symbol().constructor();
    let make = constructor.get(js_string!("for"), context)?;
    let make = make.as_callable().ok_or_else(|| type_error("Symbol.for is missing"))?;
    let symbol = make.call(&constructor.into(), &[JsString::from(key).into()], context)?;
    symbol.as_symbol().ok_or_else(|| type_error("Symbol.for gives a symbol"))
}

/// Finds the symbol. Called once, after lockdown.
pub fn install(context: &mut Context) -> JsResult<()> {
    let symbol = registered("passStyle", context)?;
    PASS_STYLE.with(|slot| *slot.borrow_mut() = Some(symbol));
    Ok(())
}

/// The symbol as a key.
pub fn pass_style() -> Option<PropertyKey> {
    PASS_STYLE.with(|slot| slot.borrow().clone()).map(PropertyKey::from)
}

/// Whether `prototype` says that what is under it passes by reference, as that of `Far` does, the runtime's or a package's.
pub fn says_remotable(prototype: &JsObject) -> bool {
    if answers_itself(prototype) {
        return false;
    }
    let Some(key) = pass_style() else { return false };
    let found = prototype.borrow().properties().get(&key);
    let style = found.and_then(|found| found.value().cloned()).and_then(|style| style.as_string());
    style.is_some_and(|style| style == js_string!("remotable"))
}
