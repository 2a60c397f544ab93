//! From JavaScript to [`Value`]: what crosses the border, and a clear word for what may not.
//!
//! Invariants: no guest code runs; an object that goes out twice goes out under one slot; depth, number of values and number of references are
//! bounded; nothing gets a number before the message as a whole passes. Promises are named here and followed by the caller.

use super::style::{self, Style};
use super::symbols;
use crate::abi::{CapData, MAX_BIGINT_DIGITS, MAX_SLOTS, MAX_VALUE_DEPTH, MAX_VALUES, Slot, Value};
use crate::objects::{inspect, presence, promise};
use crate::runtime::type_error;
use crate::tables::{self, ByIdentity};
use boa_engine::builtins::promise::PromiseState;
use boa_engine::object::builtins::JsPromise;
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsBigInt, JsError, JsObject, JsResult, JsString, JsSymbol, JsValue, JsVariant, js_string};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where in the message the marshaller is, for its complaints.
enum Step {
    Property(JsString),
    Index(usize),
}

/// A reference that the message names.
enum Named {
    Known(Slot),
    /// An object of this vat without a number.
    Object(JsObject),
    /// A promise without a number; with its place in the message if it may be part of a circle.
    Promise(JsPromise, Option<String>),
}

/// What a value has become.
#[must_use = "promises that are not followed never settle for others"]
pub struct Marshalled {
    pub data: CapData<Slot>,
    /// The promises that got a number with it, in the order in which they are named: the host is to be told when they settle.
    pub promises: Vec<(JsPromise, Slot)>,
}

struct Marshaller<'a> {
    root: &'static str,
    path: Vec<Step>,
    named: Vec<Named>,
    /// Where those that have a slot are in `named`.
    places: BTreeMap<Slot, u32>,
    /// Where those that have none are.
    new_places: ByIdentity<u32>,
    /// Values and fields so far.
    values: usize,
    /// The promise whose settlement this is.
    settling: Option<Slot>,
    /// Whether nothing but data passes.
    data_only: bool,
    context: &'a mut Context,
}

impl<'a> Marshaller<'a> {
    fn new(root: &'static str, settling: Option<Slot>, context: &'a mut Context) -> Self {
        Marshaller {
            root,
            path: Vec::new(),
            named: Vec::new(),
            places: BTreeMap::new(),
            new_places: ByIdentity::default(),
            values: 0,
            settling,
            data_only: false,
            context,
        }
    }

    /// Gives what is new its numbers, now that all of the message passes.
    fn finish(self, value: &Value) -> JsResult<Marshalled> {
        let mut slots = Vec::with_capacity(self.named.len());
        for named in &self.named {
            slots.push(match named {
                Named::Known(slot) => Some(*slot),
                Named::Object(_) => None,
                Named::Promise(promise, place) => Some(new_promise(promise, place.as_deref(), self.settling)?),
            });
        }
        let mut promises = Vec::new();
        let named = self.named.into_iter().zip(slots);
        let slots = named.map(|(named, slot)| match (named, slot) {
            (Named::Known(slot), _) => slot,
            (Named::Object(object), _) => tables::export(&object),
            (Named::Promise(promise, _), slot) => {
                let slot = slot.expect("the loop before gave each promise a slot");
                promises.push((promise, slot));
                slot
            }
        });
        let slots = slots.collect();
        Ok(Marshalled { data: CapData { body: value.encode(), slots }, promises })
    }
}

/// A number for a promise, if it does not close a circle of promises that have settled.
fn new_promise(promise: &JsPromise, place: Option<&str>, settling: Option<Slot>) -> JsResult<Slot> {
    let slot = tables::new_promise_slot();
    if let Some((settling, place)) = settling.zip(place)
        && !tables::descend(settling, slot, &promise.clone().into())
    {
        let text = "promises whose values hold one another in a circle cannot be passed";
        return Err(type_error(format!("at {place}: {text}")));
    }
    Ok(slot)
}

/// Marshals one value; `root` names it in complaints.
pub fn value(value: &JsValue, root: &'static str, context: &mut Context) -> JsResult<Marshalled> {
    whole(value, Marshaller::new(root, None, context))
}

/// The bytes of a value that is data as a whole.
///
/// # Errors
/// It does not pass, or holds an object that passes by reference, or a promise.
pub fn data(value: &JsValue, root: &'static str, context: &mut Context) -> JsResult<Vec<u8>> {
    let mut marshaller = Marshaller::new(root, None, context);
    marshaller.data_only = true;
    Ok(marshaller.value(value)?.encode())
}

/// The objects of this vat that a value names.
///
/// # Errors
/// It does not pass, or holds a promise.
pub fn own_objects(value: &JsValue, context: &mut Context) -> JsResult<Vec<JsObject>> {
    let mut marshaller = Marshaller::new("value", None, context);
    marshaller.value(value)?;
    let mut objects = Vec::new();
    for named in marshaller.named {
        match named {
            Named::Known(Slot::HostObject(_)) => {}
            Named::Known(Slot::VatObject(0)) => objects.extend(tables::root().and_then(|root| root.as_object())),
            Named::Known(Slot::VatObject(id)) => objects.extend(tables::exported(id)),
            Named::Object(object) => objects.push(object),
            Named::Known(Slot::VatPromise(_) | Slot::HostPromise(_)) | Named::Promise(..) => {
                return Err(type_error(
                    "a promise does not outlive an upgrade, so it cannot be kept: keep what it settles to",
                ));
            }
        }
    }
    Ok(objects)
}

/// Marshals what the promise `slot` was fulfilled with.
pub fn result(value: &JsValue, slot: Slot, context: &mut Context) -> JsResult<Marshalled> {
    whole(value, Marshaller::new("result", Some(slot), context))
}

fn whole(value: &JsValue, mut marshaller: Marshaller<'_>) -> JsResult<Marshalled> {
    let value = marshaller.value(value)?;
    marshaller.finish(&value)
}

/// Marshals the arguments of a message as an array.
pub fn args(values: &[JsValue], context: &mut Context) -> JsResult<Marshalled> {
    let mut marshaller = Marshaller::new("args", None, context);
    marshaller.count(1)?;
    let items = values.iter().enumerate().map(|(index, value)| marshaller.item(index, value));
    let items = items.collect::<JsResult<Vec<Value>>>()?;
    marshaller.finish(&Value::Array(items))
}

/// Marshals the reason for which the promise `slot` was rejected; one that cannot be passed is replaced by an error that says so.
pub fn reason(reason: &JsValue, slot: Slot, context: &mut Context) -> JsResult<Marshalled> {
    match whole(reason, Marshaller::new("reason", Some(slot), context)) {
        Ok(marshalled) => Ok(marshalled),
        Err(error) if error.as_engine().is_some() => Err(error),
        Err(error) => {
            let message = format!("rejected with something that cannot be passed: {}", message_of(&error));
            Ok(Marshalled { data: CapData::data(&Value::error("TypeError", message)), promises: Vec::new() })
        }
    }
}

fn message_of(error: &JsError) -> String {
    error.as_native().map_or_else(|| "a thrown value".to_owned(), |native| native.message().to_owned())
}

/// The complaint about a reference at `place` that may still change.
pub fn not_hardened(object: &JsObject, place: &str) -> JsError {
    let what = if object.is_callable() { "a function" } else { "an object with methods" };
    type_error(format!("at {place}: {what} must be hardened: wrap it in Far(...)"))
}

impl Marshaller<'_> {
    fn value(&mut self, value: &JsValue) -> JsResult<Value> {
        self.count(1)?;
        Ok(match value.variant() {
            JsVariant::Undefined => Value::Undefined,
            JsVariant::Null => Value::Null,
            JsVariant::Boolean(flag) => Value::Bool(flag),
            JsVariant::Integer32(number) => Value::Number(f64::from(number)),
            JsVariant::Float64(number) => Value::Number(number),
            JsVariant::String(text) => Value::String(self.text(&text, "a string")?),
            JsVariant::BigInt(number) => self.bigint(&number)?,
            JsVariant::Symbol(symbol) => self.symbol(&symbol)?,
            JsVariant::Object(object) => self.object(&object)?,
        })
    }

    fn bigint(&mut self, number: &JsBigInt) -> JsResult<Value> {
        // A decimal digit takes more than three bits. Writing down one that is far too long would cost the square of its length.
        let may_fit = number.as_inner().bits() / 4 <= MAX_BIGINT_DIGITS as u64;
        let digits = may_fit.then(|| number.to_string_radix(10)).filter(|digits| digits.len() <= MAX_BIGINT_DIGITS);
        digits.map(Value::BigInt).ok_or_else(|| {
            self.refuse(&format!(
                "a bigint in a message has at most {MAX_BIGINT_DIGITS} decimal digits: pass text or bytes"
            ))
        })
    }

    /// Notes that many more values or fields.
    fn count(&mut self, values: usize) -> JsResult<()> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            self.path.truncate(4);
            return Err(self.refuse(&format!(
                "a message has at most {MAX_VALUES} values and fields: pass fewer in each, or text or bytes"
            )));
        }
        Ok(())
    }

    fn item(&mut self, index: usize, value: &JsValue) -> JsResult<Value> {
        self.inside(Step::Index(index), value)
    }

    fn inside(&mut self, step: Step, value: &JsValue) -> JsResult<Value> {
        self.path.push(step);
        if self.path.len() > MAX_VALUE_DEPTH {
            self.path.truncate(4);
            return Err(self.refuse("is nested too deeply, or contains itself"));
        }
        let value = self.value(value)?;
        self.path.pop();
        Ok(value)
    }

    fn object(&mut self, object: &JsObject) -> JsResult<Value> {
        match style::of(object, self.context).map_err(|refusal| refusal.at(&self.place()))? {
            Style::Reference(slot) => self.reference(Named::Known(slot), object),
            Style::Promise(promise) => self.promise(promise),
            Style::Array(items) => self.array(&items),
            Style::Error => {
                let (name, message) = inspect::error_parts(object, self.context);
                let name = self.text(&name, "the name of an error")?;
                Ok(Value::Error { name, message: self.text(&message, "the message of an error")? })
            }
            Style::Bytes => Ok(Value::Bytes(style::bytes_of(object, self.context)?)),
            Style::Record(fields) => self.record(&fields),
            Style::Tagged(tag, payload) => {
                let tag = self.text(&tag, "a tag")?;
                let payload = self.inside(Step::Property(js_string!("payload")), &payload)?;
                Ok(Value::Tagged(tag, Box::new(payload)))
            }
            Style::Remotable if !object.is_hardened() => Err(not_hardened(object, &self.place())),
            Style::Remotable => self.reference(Named::Object(object.clone()), object),
        }
    }

    fn record(&mut self, fields: &[(JsString, JsValue)]) -> JsResult<Value> {
        self.count(fields.len())?;
        let mut record = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let key = self.text(name, "a key")?;
            record.push((key, self.inside(Step::Property(name.clone()), value)?));
        }
        Ok(Value::Record(record))
    }

    fn promise(&mut self, promise: JsPromise) -> JsResult<Value> {
        let object: JsObject = promise.clone().into();
        let known = tables::remote_slot(&object).or_else(|| tables::own_slot(&object));
        let settled = || !matches!(promise.state(), PromiseState::Pending);
        let named = match known {
            Some(slot) => Named::Known(slot),
            None => {
                let place = (self.settling.is_some() && settled()).then(|| self.place());
                Named::Promise(promise, place)
            }
        };
        Ok(Value::Slot(self.name(named, &object)?))
    }

    fn array(&mut self, items: &[JsValue]) -> JsResult<Value> {
        let items = items.iter().enumerate().map(|(index, item)| self.item(index, item));
        items.collect::<JsResult<Vec<_>>>().map(Value::Array)
    }

    fn symbol(&mut self, symbol: &JsSymbol) -> JsResult<Value> {
        match symbols::key(symbol, self.context)? {
            Some(key) => match self.text(&key, "a symbol's key")? {
                key if key.len() <= symbols::MAX_SYMBOL_BYTES => Ok(Value::Symbol(key)),
                _ => Err(self.refuse("a symbol with a key of more than 256 bytes cannot be passed")),
            },
            None => Err(self.refuse("a symbol can be passed only if it is registered: use Symbol.for(...)")),
        }
    }

    fn text(&mut self, text: &JsString, what: &str) -> JsResult<String> {
        text.to_std_string().map_err(|_| {
            let escaped: String = text.to_std_string_escaped().chars().take(64).collect();
            self.refuse(&format!("{what} with a lone surrogate cannot be passed: {escaped}"))
        })
    }

    /// An object, with its interface name if it has one that can travel.
    fn reference(&mut self, named: Named, object: &JsObject) -> JsResult<Value> {
        let index = self.name(named, object)?;
        Ok(match presence::interface_name(object) {
            Some(name) => Value::Named(index, name),
            None => Value::Slot(index),
        })
    }

    /// The index of a reference in this message.
    fn name(&mut self, named: Named, object: &JsObject) -> JsResult<u32> {
        if self.data_only {
            let what = if matches!(named, Named::Promise(..)) || promise::as_promise(&object.clone().into()).is_some() {
                "a promise: await it first"
            } else {
                "an object that passes by reference"
            };
            return Err(self.refuse(&format!("only data can be published, which is copied; this is {what}")));
        }
        let next = self.named.len() as u32;
        let index = match &named {
            Named::Known(slot) => *self.places.entry(*slot).or_insert(next),
            Named::Object(_) | Named::Promise(..) => *self.new_places.entry(object.clone()).or_insert(next),
        };
        if index == next {
            if self.named.len() == MAX_SLOTS {
                return Err(self.refuse(&format!("a message has at most {MAX_SLOTS} references: pass fewer in each")));
            }
            self.named.push(named);
        }
        Ok(index)
    }

    fn refuse(&self, complaint: &str) -> JsError {
        type_error(format!("at {}: {complaint}", self.place()))
    }

    fn place(&self) -> String {
        let mut place = format!(".{}", self.root);
        for step in &self.path {
            match step {
                Step::Index(index) => write!(place, "[{index}]"),
                Step::Property(name) => write!(place, ".{}", name.to_std_string_escaped()),
            }
            .expect("writing to a string does not fail");
        }
        place
    }
}
