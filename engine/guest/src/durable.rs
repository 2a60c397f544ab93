//! What outlives an upgrade: the native half of `boot/js/durable.js`.
//!
//! Durable state lies in the heap like everything else. Only when the vat is upgraded is it written down ([`hand_over`]), by a delivery that the
//! host undoes, and given to the code that follows with its start ([`begin`]). Invariants: what is handed over is a function of what can be reached
//! from the baggage, from exported instances and from answers that are kept, never of when garbage was collected; an object that others hold
//! keeps its number; of what does not outlive the upgrade there is a stand-in that says so ([`crate::objects::lost`]).

use crate::abi::{Durable, Holding, Output, Resolution, Slot, Value};
use crate::objects::lost;
use crate::pass::{marshal, unmarshal};
use crate::runtime::type_error;
use crate::tables::{self, Settled};
use crate::{abi, outputs};
use boa_engine::native_function::NativeFunctionPointer;
use boa_engine::object::builtins::JsArray;
use boa_engine::{Context, JsArgs, JsObject, JsResult, JsString, JsValue, NativeFunction, js_string};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

thread_local! {
    static MADE: RefCell<Option<Made>> = const { RefCell::new(None) };
    /// What this heap takes over, until its start is over.
    static INHERITED: RefCell<Inherited> = RefCell::default();
}

/// What `boot/js/durable.js` made.
#[derive(Clone)]
struct Made {
    baggage: JsObject,
    hand_over: JsObject,
    heir: JsObject,
    inherit: JsObject,
    settle: JsObject,
}

#[derive(Default)]
struct Inherited {
    holdings: Vec<Holding>,
    /// Number of an object → its holding and its facet.
    origins: BTreeMap<u64, (usize, String)>,
    /// Numbers by which others hold objects of this vat, but for the root.
    held: BTreeSet<u64>,
    answers: Vec<(Slot, Resolution)>,
}

const POWERS: [(&str, NativeFunctionPointer); 6] = [
    ("named", named),
    ("holdingOf", holding_of),
    ("keysOf", keys_of),
    ("valueAt", value_at),
    ("origin", origin),
    ("adopt", adopt),
];

/// Adds the native functions that `boot/js/durable.js` is built on.
pub fn powers(object: &JsObject, context: &mut Context) -> JsResult<()> {
    for (name, function) in POWERS {
        let function = NativeFunction::from_fn_ptr(function).to_js_function(context.realm());
        object.create_data_property(JsString::from(name), function, context)?;
    }
    Ok(())
}

/// Keeps what `boot/js/durable.js` made, and returns the exports of its module.
pub fn install(made: &JsObject, context: &mut Context) -> JsResult<JsObject> {
    let mut part = |name: &str| -> JsResult<JsObject> {
        let part = made.get(JsString::from(name), context)?.as_object();
        part.ok_or_else(|| type_error(format!("durable.js makes {name}")))
    };
    let exports = part("exports")?;
    let made = Made {
        baggage: part("baggage")?,
        hand_over: part("handOver")?,
        heir: part("heir")?,
        inherit: part("inherit")?,
        settle: part("settle")?,
    };
    MADE.with(|slot| *slot.borrow_mut() = Some(made));
    Ok(exports)
}

fn made() -> JsResult<Made> {
    MADE.with(|slot| slot.borrow().clone()).ok_or_else(|| type_error("durable.js is not ready yet"))
}

/// The baggage of this vat.
pub fn baggage() -> JsResult<JsValue> {
    Ok(made()?.baggage.into())
}

/// Says what outlives an upgrade. It gives numbers to objects that had none, so what it does is undone.
pub fn hand_over(context: &mut Context) -> JsResult<()> {
    let (kept, values): (Vec<_>, Vec<_>) = tables::answers().into_iter().unzip();
    let answers = values.iter().map(|how| match how {
        Settled::Fulfilled(value) | Settled::Rejected(value) => value.clone(),
    });
    let answers = JsArray::from_iter(answers.collect::<Vec<_>>(), context);
    let held = tables::all_exported().into_iter().map(JsValue::from).collect::<Vec<_>>();
    let held = JsArray::from_iter(held, context);
    let root = tables::root().unwrap_or_default();
    let found = made()?.hand_over.call(&JsValue::undefined(), &[held.into(), answers.into(), root], context)?;
    let [holdings, lasts] = parts(&found, context)?;
    let holdings = items(&holdings, context)?;
    let holdings = holdings.iter().map(|item| holding(item, context)).collect::<JsResult<Vec<_>>>()?;
    let lasts = items(&lasts, context)?;
    let mut answers = Vec::with_capacity(kept.len());
    for ((slot, how), lasts) in kept.into_iter().zip(values).zip(lasts) {
        if lasts.to_boolean() {
            answers.push((
                slot,
                match how {
                    Settled::Fulfilled(value) => Resolution::Fulfilled(marshal::value(&value, "answer", context)?.data),
                    Settled::Rejected(reason) => Resolution::Rejected(marshal::value(&reason, "answer", context)?.data),
                },
            ));
        }
    }
    outputs::say(Output::HandOver(Durable { holdings, answers }))
}

fn holding(item: &JsValue, context: &mut Context) -> JsResult<Holding> {
    let [kind, facets, entries] = parts(item, context)?;
    let kind = text(&kind)?;
    let mut numbers = Vec::new();
    for facet in items(&facets, context)? {
        let [name, object] = parts(&facet, context)?;
        let object = object.as_object().ok_or_else(|| type_error("a facet is an object"))?;
        let Slot::VatObject(number) = tables::export(&object) else { continue };
        numbers.push((text(&name)?, number));
    }
    let mut pairs = Vec::new();
    for entry in items(&entries, context)? {
        let [key, value] = parts(&entry, context)?;
        let key = marshal::value(&key, "key", context)?.data;
        pairs.push((key, marshal::value(&value, "value", context)?.data));
    }
    Ok(Holding { kind, facets: numbers, entries: pairs })
}

fn items(list: &JsValue, context: &mut Context) -> JsResult<Vec<JsValue>> {
    let list = JsArray::from_object(list.as_object().ok_or_else(|| type_error("durable.js gives arrays"))?)?;
    let length = list.length(context)?;
    (0..length as i64).map(|index| list.at(index, context)).collect()
}

fn parts<const N: usize>(list: &JsValue, context: &mut Context) -> JsResult<[JsValue; N]> {
    items(list, context)?.try_into().map_err(|_| type_error("durable.js gives arrays of known lengths"))
}

fn text(value: &JsValue) -> JsResult<String> {
    let text = value.as_string().and_then(|text| text.to_std_string().ok());
    text.ok_or_else(|| type_error("a name of a kind or a facet must be well-formed text"))
}

/// This heap takes the place of another one: it is about to start. Its numbers begin at `first`.
pub fn begin(durable: Durable, held: &[u64], first: u64, context: &mut Context) -> JsResult<()> {
    let made = made()?;
    tables::begin_at(first);
    tables::set_heir(Some(made.heir));
    let held = held.iter().copied().filter(|number| *number != 0).collect();
    let mut inherited = Inherited { held, answers: durable.answers, ..Inherited::default() };
    for (index, holding) in durable.holdings.iter().enumerate() {
        inherited.origins.extend(holding.facets.iter().map(|(facet, number)| (*number, (index, facet.clone()))));
    }
    let is_empty = durable.holdings.is_empty();
    inherited.holdings = durable.holdings;
    INHERITED.with(|slot| *slot.borrow_mut() = inherited);
    if is_empty {
        // The image before this one could not hand anything over.
        return Ok(());
    }
    made.inherit.call(&JsValue::undefined(), &[], context).map(drop)
}

/// The start is over: everything that was taken over is made, and so are the answers that others may still ask for.
pub fn settle(context: &mut Context) -> JsResult<()> {
    let count = with(|inherited| inherited.holdings.len());
    made()?.settle.call(&JsValue::undefined(), &[(count as f64).into()], context)?;
    for (slot, resolution) in with(|inherited| std::mem::take(&mut inherited.answers)) {
        let how = match resolution {
            Resolution::Fulfilled(data) => Settled::Fulfilled(unmarshal::value(&data, context)?),
            Resolution::Rejected(data) => Settled::Rejected(unmarshal::value(&data, context)?),
        };
        tables::remember(slot, how);
    }
    tables::set_heir(None);
    INHERITED.with(|slot| *slot.borrow_mut() = Inherited::default());
    Ok(())
}

fn with<T>(action: impl FnOnce(&mut Inherited) -> T) -> T {
    INHERITED.with(|inherited| action(&mut inherited.borrow_mut()))
}

fn index(args: &[JsValue], place: usize, context: &mut Context) -> JsResult<usize> {
    Ok(args.get_or_undefined(place).to_length(context)? as usize)
}

fn unknown() -> boa_engine::JsError {
    type_error("nothing of this number was handed over")
}

/// `named(value)`: the objects of this vat that it names. Throws if it does not pass, or names a promise.
fn named(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let value = args.get_or_undefined(0);
    let objects = match value.as_object() {
        None if !value.is_string() && !value.is_symbol() && !value.is_bigint() => Vec::new(),
        _ => marshal::own_objects(value, context)?,
    };
    Ok(JsArray::from_iter(objects.into_iter().map(JsValue::from), context).into())
}

/// `holdingOf(index)`: its kind and its facets.
fn holding_of(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let index = index(args, 0, context)?;
    let found = with(|inherited| {
        let holding = inherited.holdings.get(index)?;
        let facets = holding.facets.iter().map(|(facet, _)| JsString::from(facet.as_str())).collect::<Vec<_>>();
        Some((JsString::from(holding.kind.as_str()), facets))
    });
    let (kind, facets) = found.ok_or_else(unknown)?;
    let facets = JsArray::from_iter(facets.into_iter().map(JsValue::from), context);
    Ok(JsArray::from_iter([kind.into(), facets.into()], context).into())
}

/// `keysOf(index)`: the names of its values.
fn keys_of(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let index = index(args, 0, context)?;
    let keys = with(|inherited| {
        let holding = inherited.holdings.get(index)?;
        Some(holding.entries.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>())
    });
    let keys = keys.ok_or_else(unknown)?;
    let keys = keys.iter().map(|key| unmarshal::value(key, context)).collect::<JsResult<Vec<_>>>()?;
    Ok(JsArray::from_iter(keys, context).into())
}

/// `valueAt(index, place)`: the value of its key at that place. Each is asked for once.
fn value_at(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let (index, place) = (index(args, 0, context)?, index(args, 1, context)?);
    // It stays until it could be made: the kind of something in it may be prepared later.
    let data = with(|inherited| Some(inherited.holdings.get(index)?.entries.get(place)?.1.clone()));
    let value = unmarshal::value(&data.ok_or_else(unknown)?, context)?;
    with(|inherited| {
        if let Some((_, data)) = inherited.holdings.get_mut(index).and_then(|holding| holding.entries.get_mut(place)) {
            *data = abi::CapData::data(&Value::Undefined);
        }
    });
    Ok(value)
}

/// `origin(number)`: the holding of the object that had this number, and its facet; nothing if it was not handed over.
fn origin(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let number = args.get_or_undefined(0).to_length(context)?;
    let found = with(|inherited| inherited.origins.get(&number).cloned());
    let Some((holding, facet)) = found else { return Ok(JsValue::undefined()) };
    let facet = JsString::from(facet.as_str());
    Ok(JsArray::from_iter([(holding as f64).into(), JsValue::from(facet)], context).into())
}

/// `adopt(index, facet, object)`: this object takes the place of that facet. Those who hold that find it under its number.
fn adopt(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let (index, facet) = (index(args, 0, context)?, text(args.get_or_undefined(1))?);
    let object = args.get_or_undefined(2).as_object().ok_or_else(|| type_error("a facet is an object"))?;
    let number = with(|inherited| {
        let facets = &inherited.holdings.get(index)?.facets;
        let (_, number) = facets.iter().find(|(name, _)| *name == facet)?;
        inherited.held.contains(number).then_some(*number)
    });
    if let Some(number) = number {
        tables::export_as(number, &object);
    }
    Ok(JsValue::undefined())
}
