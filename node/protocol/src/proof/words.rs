//! Describes messages and values of a file of proofs for people.
//!
//! Invariant: text from a file can't steer a terminal, and is not longer than people read.

use quorate_streams::{
    abi::{Method, Value},
    wire::{Op, Side, WireRef, WireResolution},
};

/// Characters of a text from a file that are shown.
const SHOWN_CHARS: usize = 400;

/// A message, for people.
pub fn describe(message: &[u8]) -> String {
    match Op::decode(message) {
        Ok(Op::Send { target, method, args, .. }) => match args.value() {
            Ok(args) => format!("a call of {}", describe_call(&target, &method, &args)),
            Err(_) => "a call with arguments that are no value".into(),
        },
        Ok(Op::Settle { promise, resolution }) => {
            let how = if matches!(resolution, WireResolution::Fulfilled(_)) { "is" } else { "was rejected with" };
            match resolution.data().value() {
                Ok(value) => format!("the result {} {how} {}", promise.id, shown_value(&value)),
                Err(_) => format!("the result {} {how} something that is no value", promise.id),
            }
        }
        Ok(Op::Redeem { .. }) => "the use of a bearer reference".into(),
        Ok(Op::Deposit { to, .. }) => format!("the deposit of an object for vat {to}"),
        Ok(Op::Withdraw { from, .. }) => format!("the withdrawal of an object that vat {from} gave"),
        Ok(Op::Release { promise }) => format!("the release of the result {}", promise.id),
        Ok(Op::Declined { home, .. }) => format!("the refusal of an object of vat {home}"),
        Ok(Op::Undo { home, .. }) => format!("the end of a gift of an object of vat {home}"),
        Ok(Op::Cancel { to, .. }) => format!("the end of a deposit for vat {to}"),
        Ok(Op::Abandon { result }) => format!("that the result {result} is not wanted any more"),
        Ok(Op::Drop(objects)) => format!("that {} objects are held no more", objects.len()),
        Ok(Op::Keep { object, .. }) => format!("that object {object} shall be kept for a bearer"),
        Ok(Op::Discard { .. }) => "that what is kept for a bearer shall be let go".into(),
        Err(_) => format!("{} bytes that are no message", message.len()),
    }
}

pub fn describe_call(target: &WireRef, method: &Method, args: &Value) -> String {
    let object = match (target.allocator, target.id) {
        (Side::Receiver, 0) => "the root".to_owned(),
        (_, id) => format!("object {id}"),
    };
    let list = match args {
        Value::Array(list) => list.iter().map(shown_value).collect::<Vec<_>>().join(", "),
        other => shown_value(other),
    };
    match method {
        Method::Call(name) => format!("{}({list}) on {object}", shown(name)),
        Method::Apply => format!("{object} as a function, with ({list})"),
        Method::Get(name) => format!("for the property {} of {object}", shown(name)),
    }
}

pub fn shown_value(value: &Value) -> String {
    match value {
        Value::Undefined => "undefined".into(),
        Value::Error { name, message } => format!("{}: {}", shown(name), shown(message)),
        other => shown(&other.to_json().to_string()),
    }
}

/// A text from a file, with nothing in it that a terminal would obey, and not longer than people read.
pub fn shown(text: &str) -> String {
    let is_plain =
        |letter: char| !letter.is_control() && !matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::new();
    for (count, letter) in text.chars().enumerate() {
        if count == SHOWN_CHARS {
            out.push('…');
            break;
        }
        if is_plain(letter) { out.push(letter) } else { out.extend(letter.escape_default()) }
    }
    out
}
