//! Registered symbols, which pass by their keys.

use crate::objects::marks::registered;
use crate::runtime::type_error;
use boa_engine::{Context, JsResult, JsString, JsSymbol, JsValue, js_string};

/// Longest key of a registered symbol that crosses the border, in bytes.
pub const MAX_SYMBOL_BYTES: usize = 256;

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
