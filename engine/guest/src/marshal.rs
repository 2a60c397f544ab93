//! From JavaScript to [`Value`]: what may cross the border, as what, and a clear word for what may not.
//!
//! Invariants: own data properties are read without running guest code (accessors and proxies are refused); an object that
//! goes out twice goes out under one slot; the depth is bounded by [`MAX_VALUE_DEPTH`].

use crate::abi::{CapData, MAX_VALUE_DEPTH, Slot, Value};
use crate::harden::{self, Interface, Presence};
use crate::runtime::type_error;
use crate::{inspect, promises, tables};
use boa_engine::builtins::error::Error as JsErrorData;
use boa_engine::builtins::promise::PromiseState;
use boa_engine::builtins::proxy::Proxy;
use boa_engine::object::builtins::{JsPromise, JsUint8Array};
use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsArgs, JsError, JsObject, JsResult, JsString, JsSymbol, JsValue, JsVariant, js_string};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where in the message the marshaller is, for its complaints.
enum Step {
    Property(JsString),
    Index(usize),
}

/// As what an object passes.
enum Style {
    /// It has a slot already.
    Reference(Slot),
    Promise(JsPromise),
    Array,
    Error,
    Bytes(JsUint8Array),
    /// With its fields.
    Record(Vec<(JsString, JsValue)>),
    Remotable,
}

struct Marshaller<'a> {
    root: &'static str,
    path: Vec<Step>,
    slots: Vec<Slot>,
    /// Where each of them is in `slots`.
    places: BTreeMap<Slot, u32>,
    /// The promise whose settlement this is.
    settling: Option<Slot>,
    context: &'a mut Context,
}

impl<'a> Marshaller<'a> {
    fn new(root: &'static str, settling: Option<Slot>, context: &'a mut Context) -> Self {
        Marshaller { root, path: Vec::new(), slots: Vec::new(), places: BTreeMap::new(), settling, context }
    }
}

/// Marshals one value; `root` names it in complaints.
pub fn value(value: &JsValue, root: &'static str, context: &mut Context) -> JsResult<CapData<Slot>> {
    whole(value, Marshaller::new(root, None, context))
}

/// Marshals what the promise `slot` was fulfilled with.
pub fn result(value: &JsValue, slot: Slot, context: &mut Context) -> JsResult<CapData<Slot>> {
    whole(value, Marshaller::new("result", Some(slot), context))
}

fn whole(value: &JsValue, mut marshaller: Marshaller<'_>) -> JsResult<CapData<Slot>> {
    let value = marshaller.value(value)?;
    Ok(CapData { body: value.encode(), slots: marshaller.slots })
}

/// The native half of the JavaScript function `passStyleOf`, for objects.
pub fn pass_style_function(_: &JsValue, args: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let object = args.get_or_undefined(0).as_object().ok_or_else(|| type_error("an object is needed"))?;
    Ok(JsString::from(pass_style(&object, context)?).into())
}

/// The name of the way in which `object` passes; what does not pass is an error.
fn pass_style(object: &JsObject, context: &mut Context) -> JsResult<&'static str> {
    let mut marshaller = Marshaller::new("value", None, context);
    Ok(match marshaller.style(object)? {
        Style::Reference(_) | Style::Remotable => "remotable",
        Style::Promise(_) => "promise",
        Style::Array => "copyArray",
        Style::Error => "error",
        Style::Bytes(_) => "byteArray",
        Style::Record(_) => "copyRecord",
    })
}

/// Marshals the arguments of a message as an array.
pub fn args(values: &[JsValue], context: &mut Context) -> JsResult<CapData<Slot>> {
    let mut marshaller = Marshaller::new("args", None, context);
    let items = values.iter().enumerate().map(|(index, value)| marshaller.item(index, value));
    let items = items.collect::<JsResult<Vec<Value>>>()?;
    Ok(CapData { body: Value::Array(items).encode(), slots: marshaller.slots })
}

/// Marshals the reason for which the promise `slot` was rejected; one that cannot be passed is replaced by an error that says so.
pub fn reason(reason: &JsValue, slot: Slot, context: &mut Context) -> JsResult<CapData<Slot>> {
    match whole(reason, Marshaller::new("reason", Some(slot), context)) {
        Ok(data) => Ok(data),
        Err(error) if error.as_engine().is_some() => Err(error),
        Err(error) => {
            let message = format!("rejected with something that cannot be passed: {}", message_of(&error));
            Ok(CapData::data(&Value::error("TypeError", message)))
        }
    }
}

fn message_of(error: &JsError) -> String {
    error.as_native().map_or_else(|| "a thrown value".to_owned(), |native| native.message().to_owned())
}

impl Marshaller<'_> {
    fn value(&mut self, value: &JsValue) -> JsResult<Value> {
        Ok(match value.variant() {
            JsVariant::Undefined => Value::Undefined,
            JsVariant::Null => Value::Null,
            JsVariant::Boolean(flag) => Value::Bool(flag),
            JsVariant::Integer32(number) => Value::Number(f64::from(number)),
            JsVariant::Float64(number) => Value::Number(number),
            JsVariant::String(text) => Value::String(self.text(&text, "a string")?),
            JsVariant::BigInt(number) => Value::BigInt(number.to_string_radix(10)),
            JsVariant::Symbol(symbol) => self.symbol(&symbol)?,
            JsVariant::Object(object) => self.object(&object)?,
        })
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
        match self.style(object)? {
            Style::Reference(slot) => Ok(self.reference(slot, object)),
            Style::Promise(promise) => self.promise(&promise),
            Style::Array => self.array(object),
            Style::Error => {
                let (name, message) = inspect::error_parts(object, self.context);
                Ok(Value::Error { name, message })
            }
            Style::Bytes(bytes) => Ok(Value::Bytes(bytes.iter(self.context).collect())),
            Style::Record(fields) => self.record(&fields),
            Style::Remotable => self.remotable(object),
        }
    }

    /// As what `object` passes, or why it does not. Whether what is in it passes is not looked at.
    fn style(&mut self, object: &JsObject) -> JsResult<Style> {
        if let Some(slot) = tables::export_slot(object) {
            return Ok(Style::Reference(slot));
        }
        if let Some(presence) = object.downcast_ref::<Presence>() {
            return Ok(Style::Reference(Slot::HostObject(presence.id)));
        }
        if let Some(promise) = promises::as_promise(&object.clone().into()) {
            return Ok(Style::Promise(promise));
        }
        if object.is::<Proxy>() {
            return Err(self.refuse("a Proxy cannot be passed: pass an object made with Far(...) that uses it"));
        }
        if object.is_array() {
            return Ok(Style::Array);
        }
        if object.is::<JsErrorData>() {
            return Ok(Style::Error);
        }
        if let Ok(bytes) = JsUint8Array::from_object(object.clone()) {
            return Ok(Style::Bytes(bytes));
        }
        if object.is_callable() || object.prototype().is_some_and(|prototype| prototype.is::<Interface>()) {
            return Ok(Style::Remotable);
        }
        self.remotable_or_record(object)
    }

    fn remotable_or_record(&mut self, object: &JsObject) -> JsResult<Style> {
        let prototype = object.prototype();
        let plain = match &prototype {
            None => true,
            Some(prototype) => {
                JsObject::equals(prototype, &self.context.intrinsics().constructors().object().prototype())
            }
        };
        if !plain {
            return self.instance(object);
        }
        if !object.is_ordinary() {
            return Err(self.refuse("an object of this kind cannot be passed: copy what is in it into a record"));
        }
        let mut fields = Vec::new();
        let mut methods = 0usize;
        let mut hidden = None;
        for key in object.own_property_keys(self.context)? {
            let Some(descriptor) = object.borrow().properties().get(&key) else { continue };
            let name = match &key {
                PropertyKey::Symbol(symbol) => {
                    let name = symbol.descriptive_string().to_std_string_lossy();
                    return Err(self.refuse(&format!("a record cannot have the symbol {name} as a key")));
                }
                PropertyKey::String(name) => name.clone(),
                PropertyKey::Index(index) => index.get().to_string().into(),
            };
            let Some(value) = descriptor.value() else {
                self.path.push(Step::Property(name));
                return Err(self.refuse("a getter or setter cannot be passed: pass its value, or a method"));
            };
            if value.is_callable() && !harden::is_far(value) {
                methods += 1;
            }
            if descriptor.enumerable() != Some(true) && hidden.is_none() {
                hidden = Some(name.clone());
            }
            fields.push((name, value.clone()));
        }
        if methods == 0 {
            let Some(name) = hidden else { return Ok(Style::Record(fields)) };
            self.path.push(Step::Property(name));
            return Err(self.refuse("a property that is not enumerable cannot be passed: define it as an ordinary one"));
        }
        if methods == fields.len() {
            return Ok(Style::Remotable);
        }
        Err(self.refuse(
            "an object with both methods and data cannot be passed: keep the data in the closure or pass it apart",
        ))
    }

    fn record(&mut self, fields: &[(JsString, JsValue)]) -> JsResult<Value> {
        let mut record = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            let key = self.text(name, "a key")?;
            record.push((key, self.inside(Step::Property(name.clone()), value)?));
        }
        Ok(Value::Record(record))
    }

    /// An instance of a class: passes as a reference if it is frozen and shows nothing but methods.
    fn instance(&mut self, object: &JsObject) -> JsResult<Style> {
        if !object.is_ordinary() {
            return Err(
                self.refuse("an object of this kind cannot be passed: copy what is in it into a record or an array")
            );
        }
        for key in object.own_property_keys(self.context)? {
            let descriptor = object.borrow().properties().get(&key);
            let method = descriptor.as_ref().and_then(|found| found.value()).is_some_and(JsValue::is_callable);
            if !method {
                let advice = "an instance of a class with data properties cannot be passed: use #private fields";
                return Err(self.refuse(advice));
            }
        }
        Ok(Style::Remotable)
    }

    fn remotable(&mut self, object: &JsObject) -> JsResult<Value> {
        if !harden::is_frozen(object, self.context)? {
            let what = if object.is_callable() { "a function" } else { "an object with methods" };
            return Err(self.refuse(&format!("{what} must be hardened: wrap it in Far(...)")));
        }
        let slot = tables::export(object);
        Ok(self.reference(slot, object))
    }

    fn promise(&mut self, promise: &JsPromise) -> JsResult<Value> {
        let object: JsObject = promise.clone().into();
        if let Some(slot) = tables::remote_slot(&object).or_else(|| tables::own_slot(&object)) {
            return Ok(self.slot(slot));
        }
        let slot = tables::new_promise_slot();
        if let Some(settling) = self.settling
            && !matches!(promise.state(), PromiseState::Pending)
            && !tables::descend(settling, slot, &object)
        {
            return Err(self.refuse("promises whose values hold one another in a circle cannot be passed"));
        }
        promises::observe(promise, slot, self.context)?;
        Ok(self.slot(slot))
    }

    fn array(&mut self, array: &JsObject) -> JsResult<Value> {
        let length = array.borrow().properties().get(&js_string!("length").into());
        let length = length.and_then(|found| found.value().and_then(JsValue::as_number)).unwrap_or(0.0) as u32;
        let length_key = PropertyKey::from(js_string!("length"));
        let further = array.borrow().shape().keys().into_iter().find(|key| *key != length_key);
        if let Some(key) = further {
            return Err(self.refuse(&format!(
                "an array with the further property {key} cannot be passed: pass a record with the array in it"
            )));
        }
        let mut items = Vec::new();
        for index in 0..length {
            let descriptor = array.borrow().properties().get(&PropertyKey::from(index));
            let item = match &descriptor {
                None => return Err(self.refuse("an array with holes cannot be passed: fill it first")),
                Some(found) => found.value().cloned(),
            };
            let Some(item) = item else {
                return Err(self.refuse("an array with getters cannot be passed"));
            };
            items.push(self.item(index as usize, &item)?);
        }
        Ok(Value::Array(items))
    }

    fn symbol(&mut self, symbol: &JsSymbol) -> JsResult<Value> {
        let key_for = self.context.intrinsics().constructors().symbol().constructor();
        let key_for = key_for.get(js_string!("keyFor"), self.context)?;
        let key = match key_for.as_callable() {
            Some(function) => function.call(&JsValue::undefined(), &[symbol.clone().into()], self.context)?,
            None => JsValue::undefined(),
        };
        match key.as_string() {
            Some(key) => match self.text(&key, "a symbol's key")? {
                key if key.len() <= tables::MAX_SYMBOL_BYTES => Ok(Value::Symbol(key)),
                _ => Err(self.refuse("a symbol with a key of more than 256 bytes cannot be passed")),
            },
            None => Err(self.refuse("a symbol can be passed only if it is registered: use Symbol.for(...)")),
        }
    }

    fn text(&mut self, text: &JsString, what: &str) -> JsResult<String> {
        text.to_std_string().map_err(|_| self.refuse(&format!("{what} with a lone surrogate cannot be passed")))
    }

    /// A capability without a name.
    fn slot(&mut self, slot: Slot) -> Value {
        Value::Slot(self.place(slot))
    }

    /// An object, with its interface name if it has one that can travel.
    fn reference(&mut self, slot: Slot, object: &JsObject) -> Value {
        let index = self.place(slot);
        match harden::interface_name(object) {
            Some(name) => Value::Named(index, name),
            None => Value::Slot(index),
        }
    }

    fn place(&mut self, slot: Slot) -> u32 {
        let index = *self.places.entry(slot).or_insert(self.slots.len() as u32);
        if index as usize == self.slots.len() {
            self.slots.push(slot);
        }
        index
    }

    fn refuse(&self, complaint: &str) -> JsError {
        let mut place = format!(".{}", self.root);
        for step in &self.path {
            match step {
                Step::Index(index) => write!(place, "[{index}]"),
                Step::Property(name) => write!(place, ".{}", name.to_std_string_lossy()),
            }
            .expect("writing to a string does not fail");
        }
        type_error(format!("at {place}: {complaint}"))
    }
}
