//! Forgetting a vat: nothing of it is left, and whoever waited for it hears of that.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;

use comms_support::*;
use quorate_engine::VatId;
use quorate_engine::abi::{Delivery, Method, Resolution, Slot, Value};
use quorate_engine::comms::client::{ClientRef, ClientSession};
use quorate_engine::machine::{Command, CommandResult, Deliver, Machine};

const OWN: u8 = 1;
const AWAITED: u8 = 2;
const CALLER: u8 = 3;
const OTHER: u8 = 4;

/// A vat that asks the vat in its argv and never answers `wait`; `answer` answers what was ever asked of it, and sends once more
/// to the one in its argv.
fn waiter() -> Scripted {
    let (mut presence, mut owed) = (None, Vec::new());
    Scripted::new(move |delivery| {
        done(match (delivery, called(delivery)) {
            (Delivery::Start { argv, .. }, _) => {
                presence = Some(argv.slots[0]);
                vec![send(argv.slots[0], "ask", array(vec![], vec![]), Some(1))]
            }
            (_, Some(("wait", .., Some(result)))) => {
                owed.push(result);
                vec![]
            }
            (_, Some(("answer", ..))) => {
                let answers = owed.drain(..).map(|result| fulfil(result, &text("late"), vec![]));
                answers.chain([send(presence.unwrap(), "more", array(vec![], vec![]), Some(2))]).collect()
            }
            _ => vec![],
        })
    })
}

fn say(machine: &mut Machine<Scripted>, session: &mut ClientSession, method: &str) {
    let call = Method::Call(method.to_owned());
    session.call(ClientRef::Object(0), call, &Value::Array(vec![]), &[]).unwrap();
    let (number, message) = session.unacked().last().map(|(number, message)| (number, message.to_vec())).unwrap();
    let deliver = Deliver { from: session.vat(), begin: number, messages: vec![message], end: number, ack: 0 };
    assert_eq!(machine.apply(Command::Deliver(deliver)).unwrap(), CommandResult::Delivered { next: number + 1 });
}

fn rejections(delivery: &Delivery) -> Vec<(Slot, String)> {
    let Delivery::Settle(settlements) = delivery else { panic!("{delivery:?}") };
    let reason = |resolution: &Resolution| match resolution {
        Resolution::Rejected(data) => format!("{:?}", data.value().unwrap()),
        Resolution::Fulfilled(_) => panic!("{resolution:?}"),
    };
    settlements.iter().map(|(slot, resolution)| (*slot, reason(resolution))).collect()
}

fn peers(machine: &Machine<Scripted>) -> Vec<VatId> {
    machine.summary().peers.iter().map(|peer| peer.vat).collect()
}

#[test]
fn nothing_is_left_of_a_vat_that_is_forgotten() {
    let guest = waiter();
    let seen = guest.seen();
    let mut machine = Machine::new(vat(OWN), guest);
    machine.apply(install(vec![("awaited", root_of(vat(AWAITED)))], vec![vat(CALLER), vat(OTHER)])).unwrap();
    let mut caller = ClientSession::new(vat(CALLER), vat(OWN));
    say(&mut machine, &mut caller, "wait");
    machine.end_block(false);
    machine.forget(&vat(AWAITED));
    machine.forget(&vat(CALLER));
    assert_eq!(peers(&machine), [vat(OTHER)]);
    // Who waited hears of it; who is gone is told nothing, although it is answered now.
    let mut other = ClientSession::new(vat(OTHER), vat(OWN));
    say(&mut machine, &mut other, "answer");
    let deliveries = seen.lock().unwrap().clone();
    let [.., told, _, refused] = &deliveries[..] else { panic!("{deliveries:?}") };
    assert_eq!(rejections(told)[0].0, Slot::VatPromise(1));
    assert!(rejections(told)[0].1.contains("has gone"), "{told:?}");
    assert_eq!(rejections(refused)[0].0, Slot::VatPromise(2));
    assert!(rejections(refused)[0].1.contains("unknown"), "{refused:?}");
    let output = machine.end_block(false);
    assert!(output.queued.iter().all(|(to, ..)| *to == vat(OTHER)), "{:?}", output.queued);
    assert_eq!(output.heads.iter().map(|head| head.peer).collect::<Vec<_>>(), [vat(OTHER)]);
    assert_eq!(peers(&machine), [vat(OTHER)]);
    // Only the call that was not answered is left.
    assert_eq!(machine.summary().promises, 1);
}

#[test]
fn what_a_block_said_to_a_vat_that_it_forgets_is_not_sent() {
    let mut machine = Machine::new(vat(OWN), waiter());
    machine.apply(install(vec![("awaited", root_of(vat(AWAITED)))], vec![])).unwrap();
    machine.forget(&vat(AWAITED));
    let output = machine.end_block(true);
    assert!(output.heads.is_empty() && output.queued.is_empty(), "{output:?}");
    machine.forget(&vat(AWAITED));
    assert_eq!(peers(&machine), []);
}
