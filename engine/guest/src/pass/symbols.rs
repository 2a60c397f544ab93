//! Registered symbols, which pass by their keys.

use crate::runtime::type_error;
use boa_engine::{Context, JsResult, JsString, JsSymbol, JsValue, js_string};

/// Longest key of a registered symbol that crosses the border, in bytes.
pub const MAX_SYMBOL_BYTES: usize = 256;

/// `Symbol.for(key)`.
pub fn registered(key: &str, context: &mut Context) -> JsResult<JsSymbol> {
    let constructor = context.intrinsics().constructors().symbol().constructor();
    let make = constructor.get(js_string!("for"), context)?;
    let make = make.as_callable().ok_or_else(|| type_error("Symbol.for is missing"))?;
    let symbol = make.call(&constructor.into(), &[JsString::from(key).into()], context)?;
    symbol.as_symbol().ok_or_else(|| type_error("Symbol.for gives a symbol"))
}

/// The symbol that a key stands for.
pub fn from_key(key: &str, context: &mut Context) -> JsResult<JsValue> {
    if key.len() > MAX_SYMBOL_BYTES {
        return Err(type_error("a symbol with a key of more than 256 bytes cannot be passed"));
    }
    Ok(registered(key, context)?.into())
}

/// The key of a registered symbol; `None` for any other.
pub fn key(symbol: &JsSymbol, context: &mut Context) -> JsResult<Option<JsString>> {
    let constructor = context.intrinsics().constructors().symbol().constructor();
    let key_for = constructor.get(js_string!("keyFor"), context)?;
    let key = match key_for.as_callable() {
        Some(function) => function.call(&JsValue::undefined(), &[symbol.clone().into()], context)?,
        None => JsValue::undefined(),
    };
    Ok(key.as_string())
}
