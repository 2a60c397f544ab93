//! Deliveries and what came of them, in words.

use crate::json;
use quorate_engine::{
    abi::{CapData, Delivery, Method, Output, Resolution, Slot, Value},
    heap::CrankOutcome,
};

/// Letters of a value that are shown.
const MAX_LETTERS: usize = 200;
/// Outputs of one delivery that are shown.
const MAX_OUTPUTS: usize = 32;

fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_LETTERS) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Returns what a guest calls something.
fn slot(slot: &Slot) -> String {
    match slot {
        Slot::VatObject(0) => "root".to_owned(),
        Slot::VatObject(id) => format!("object {id}"),
        Slot::HostObject(id) => format!("presence {id}"),
        Slot::VatPromise(id) => format!("own promise {id}"),
        Slot::HostPromise(id) => format!("promise {id}"),
    }
}

fn value(data: &CapData<Slot>) -> String {
    match data.value() {
        Ok(Value::Undefined) => "undefined".to_owned(),
        Ok(found) => shortened(match found.as_slot().and_then(|index| data.slots.get(index as usize)) {
            Some(named) => slot(named),
            None => json::compact(&found.to_json()),
        }),
        Err(_) => "what can't be read".to_owned(),
    }
}

fn arguments(args: &CapData<Slot>) -> String {
    let text = value(args);
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).map(str::to_owned).unwrap_or(text)
}

fn message(target: &Slot, method: &Method, args: &CapData<Slot>) -> String {
    match method {
        Method::Call(name) => format!("{}.{name}({})", slot(target), arguments(args)),
        Method::Apply => format!("{}({})", slot(target), arguments(args)),
        Method::Get(name) => format!("{}.{name}", slot(target)),
    }
}

fn settlement(promise: &Slot, resolution: &Resolution) -> String {
    match resolution {
        Resolution::Fulfilled(data) => format!("{} is {}", slot(promise), value(data)),
        Resolution::Rejected(data) => format!("{} is rejected: {}", slot(promise), value(data)),
    }
}

/// Returns what was delivered.
pub fn delivery(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Start { bundle, argv, .. } => {
            format!("start {} ({} modules) with {}", bundle.entry, bundle.modules.len(), value(argv))
        }
        Delivery::Call { target, method, args, .. } => message(target, method, args),
        Delivery::Settle(settled) => {
            let words: Vec<String> = settled.iter().map(|(promise, how)| settlement(promise, how)).collect();
            shortened(words.join("; "))
        }
        Delivery::Hold(promise) => format!("{} comes home", slot(promise)),
        Delivery::Cancel(result) => format!("{} is not wanted any more", slot(result)),
        Delivery::Collect => "collection of garbage".to_owned(),
        Delivery::MakeRoom => "collection of garbage, to make room".to_owned(),
        Delivery::Wake { timer, failure: None } => format!("timer {timer} is due"),
        Delivery::Wake { timer, failure: Some(why) } => format!("timer {timer}: {why}"),
        Delivery::HandOver => "what an upgrade could take over".to_owned(),
        Delivery::Upgrade(upgrade) => format!(
            "start {} ({} modules) in the place of what ran before, with {} and {} things that were kept",
            upgrade.bundle.entry,
            upgrade.bundle.modules.len(),
            value(&upgrade.argv),
            upgrade.durable.holdings.len()
        ),
    }
}

/// Returns what came of it, a line for each thing that was said.
pub fn outcome(delivery: &Delivery, outcome: &CrankOutcome) -> Vec<String> {
    let outputs = match outcome {
        CrankOutcome::Done { outputs } => outputs,
        CrankOutcome::StartFailed { message } => return vec![format!("did not start: {message}")],
        CrankOutcome::RolledBack { limit } => return vec![format!("undone: it exceeded the {} limit", limit.as_str())],
    };
    let asked = if let Delivery::Call { result, .. } = delivery { *result } else { None };
    let mut lines: Vec<String> = outputs.iter().take(MAX_OUTPUTS).map(|output| said(output, asked)).collect();
    if outputs.len() > MAX_OUTPUTS {
        lines.push(format!("and {} more", outputs.len() - MAX_OUTPUTS));
    }
    lines
}

fn said(output: &Output, asked: Option<Slot>) -> String {
    match output {
        Output::Settle { promise, resolution: Resolution::Fulfilled(data) } if Some(*promise) == asked => {
            format!("answers {}", value(data))
        }
        Output::Settle { promise, resolution: Resolution::Rejected(data) } if Some(*promise) == asked => {
            format!("rejects: {}", value(data))
        }
        Output::Settle { promise, resolution } => settlement(promise, resolution),
        Output::Send { target, method, args, result } => {
            let answer = result.map(|result| format!(" as {}", slot(&result))).unwrap_or_default();
            format!("sends {}{answer}", message(target, method, args))
        }
        Output::Exit { value: data } => format!("exits with {}", value(data)),
        Output::Setup { failure: None } => "the root is there".to_owned(),
        Output::Setup { failure: Some(why) } => format!("there will be no root: {why}"),
        Output::Cancel { result } => format!("does not want {} any more", slot(result)),
        Output::Drop { slots } => format!("drops {} references", slots.len()),
        Output::SetTimer { timer, at_ms } => {
            format!("sets timer {timer} for {}", quorate_protocol::moment::shown(*at_ms))
        }
        Output::CancelTimer { timer } => format!("cancels timer {timer}"),
        Output::Publish { name, value: None } => format!("publishes nothing under {name:?} any more"),
        Output::Publish { name, value: Some(value) } => {
            let value =
                Value::decode(value).map_or_else(|_| "no value".to_owned(), |value| value.to_json().to_string());
            format!("publishes under {name:?} {value}")
        }
        Output::HandOver(durable) => format!("hands over {} things", durable.holdings.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_as_they_were_sent() {
        let args = CapData::new(&Value::Array(vec![Value::Number(5.0), Value::Slot(0)]), vec![Slot::HostObject(3)]);
        let call = Delivery::Call {
            target: Slot::VatObject(0),
            method: Method::Call("pay".into()),
            args: args.clone(),
            result: Some(Slot::HostPromise(1)),
        };
        assert_eq!(delivery(&call), "root.pay(5,{\"@slot\":0})");
        let answer = |value: Value| Output::Settle {
            promise: Slot::HostPromise(1),
            resolution: Resolution::Fulfilled(CapData::data(&value)),
        };
        let send = Output::Send { target: Slot::HostObject(3), method: Method::Apply, args, result: None };
        let done = CrankOutcome::Done { outputs: vec![send, answer(Value::Null)] };
        assert_eq!(outcome(&call, &done), ["sends presence 3(5,{\"@slot\":0})", "answers null"]);
        let long = Value::String("é".repeat(500));
        let shown = outcome(&call, &CrankOutcome::Done { outputs: vec![answer(long)] });
        assert_eq!(shown[0].chars().count(), "answers ".len() + MAX_LETTERS + 1);
    }
}
