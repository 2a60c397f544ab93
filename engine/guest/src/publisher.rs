//! What the vat publishes: the native half of `boot/js/publisher.js`.
//!
//! The host keeps names and values; the sizes are kept here, so that contracts hear at once of what is too much. Both sides have the same
//! bounds: an upgrade begins with nothing on either.

use crate::abi::{MAX_PUBLISHED, MAX_PUBLISHED_BYTES, MAX_PUBLISHED_NAME_BYTES, MAX_PUBLISHED_VALUE_BYTES, Output};
use crate::outputs;
use crate::pass::marshal;
use crate::runtime::{range_error, type_error};
use boa_engine::native_function::NativeFunctionPointer;
use boa_engine::{Context, JsArgs, JsObject, JsResult, JsString, JsValue, NativeFunction};
use std::cell::RefCell;
use std::collections::BTreeMap;

#[derive(Default)]
struct Sizes {
    /// Bytes of each name with its value.
    by_name: BTreeMap<String, usize>,
    bytes: usize,
}

thread_local! {
    static SIZES: RefCell<Sizes> = RefCell::default();
    /// The object that contracts get as `publisher`.
    static PUBLISHER: RefCell<Option<JsObject>> = const { RefCell::new(None) };
}

const POWERS: [(&str, NativeFunctionPointer); 2] = [("publish", publish), ("unpublish", unpublish)];

/// Adds the native functions that `boot/js/publisher.js` is built on.
pub fn powers(object: &JsObject, context: &mut Context) -> JsResult<()> {
    for (name, function) in POWERS {
        let function = NativeFunction::from_fn_ptr(function).to_js_function(context.realm());
        object.create_data_property(JsString::from(name), function, context)?;
    }
    Ok(())
}

/// Keeps what `boot/js/publisher.js` made.
pub fn install(made: &JsObject) {
    PUBLISHER.with(|slot| *slot.borrow_mut() = Some(made.clone()));
}

/// The endowment `publisher`.
pub fn endowment() -> JsResult<JsObject> {
    let publisher = PUBLISHER.with(|slot| slot.borrow().clone());
    publisher.ok_or_else(|| type_error("the publisher is not ready yet"))
}

/// `publish(name, value)`
fn publish(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let name = name(args)?;
    let value = marshal::data(args.get_or_undefined(1), "value", context)?;
    if value.len() > MAX_PUBLISHED_VALUE_BYTES {
        return Err(range_error(format!(
            "the value under {name:?} takes {} bytes, and at most {MAX_PUBLISHED_VALUE_BYTES} can be published under one name",
            value.len()
        )));
    }
    SIZES.with(|sizes| {
        let mut sizes = sizes.borrow_mut();
        let before = sizes.by_name.get(&name).copied();
        if before.is_none() && sizes.by_name.len() >= MAX_PUBLISHED {
            return Err(range_error(format!("{MAX_PUBLISHED} names are published, and no more can be; unpublish one first")));
        }
        let size = name.len() + value.len();
        let bytes = sizes.bytes - before.unwrap_or(0) + size;
        if bytes > MAX_PUBLISHED_BYTES {
            return Err(range_error(format!(
                "with the value under {name:?}, {bytes} bytes would be published, and at most {MAX_PUBLISHED_BYTES} can be"
            )));
        }
        sizes.by_name.insert(name.clone(), size);
        sizes.bytes = bytes;
        Ok(())
    })?;
    outputs::say(Output::Publish { name, value: Some(value) })?;
    Ok(JsValue::undefined())
}

/// `unpublish(name)`: whether something was published there.
fn unpublish(_: &JsValue, args: &[JsValue], _: &mut Context) -> JsResult<JsValue> {
    let name = name(args)?;
    let before = SIZES.with(|sizes| {
        let mut sizes = sizes.borrow_mut();
        let before = sizes.by_name.remove(&name);
        sizes.bytes -= before.unwrap_or(0);
        before
    });
    if before.is_some() {
        outputs::say(Output::Publish { name, value: None })?;
    }
    Ok(before.is_some().into())
}

fn name(args: &[JsValue]) -> JsResult<String> {
    let name = args.get_or_undefined(0).as_string();
    let name = name.ok_or_else(|| type_error("a name to publish under must be a string"))?;
    let name =
        name.to_std_string().map_err(|_| type_error("a name with a lone surrogate cannot be published under"))?;
    if !(1..=MAX_PUBLISHED_NAME_BYTES).contains(&name.len()) {
        return Err(range_error(format!(
            "a name to publish under has 1 to {MAX_PUBLISHED_NAME_BYTES} bytes, this one has {}",
            name.len()
        )));
    }
    Ok(name)
}
