//! Who comes in by a bearer, what that is worth, and when it ends. A [`ClientSession`] stands for each holder.

use super::*;
use crate::abi::{Delivery, Method};
use crate::comms::Deliver;
use crate::comms::Held;
use crate::comms::client::{ClientError, ClientRef, ClientSession, Completion};
use crate::wire::{Op, RefKind, Side, WireRef, WireSlot};
use ed25519_dalek::{Signer, SigningKey};

const HOME: VatId = VatId([1; 32]);
const OTHER: VatId = VatId([3; 32]);
const PURSE: Slot = Slot::VatObject(5);

fn secret(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn key(seed: u8) -> [u8; 32] {
    secret(seed).verifying_key().to_bytes()
}

fn signed(seed: u8, by: &VatId, object: u64) -> [u8; 64] {
    secret(seed).sign(&redeem_payload(&HOME, by, object)).to_bytes()
}

fn bearer(object: u64) -> Bearer {
    Bearer { object, ..Bearer::to_root() }
}

/// The vat, and what came of what it was told.
struct Home {
    comms: Comms,
    calls: Vec<Delivery>,
}

impl Home {
    /// With bearer 9 to the root.
    fn new() -> Home {
        let mut comms = Comms::new(HOME);
        comms.add_bearer(key(9), Bearer::to_root()).expect("room");
        Home { comms, calls: Vec::new() }
    }

    /// Takes in what a client says, and gives it what the vat says to it.
    fn exchange(&mut self, client: &mut ClientSession) -> Vec<Completion> {
        let (head, vat) = (client.head(), client.vat());
        let new = self.comms.peer(&vat).map_or(0, |peer| peer.incoming().received());
        let said: Vec<Vec<u8>> =
            client.unacked().filter(|(number, _)| *number > new).map(|(_, bytes)| bytes.to_vec()).collect();
        for message in said {
            if let Inbound::Call { delivery, .. } = self.comms.receive(&vat, &message).expect("a good message") {
                self.calls.push(delivery);
            }
        }
        self.comms.acknowledge(&vat, head.end, head.ack).expect("a good acknowledgement");
        self.hear(client)
    }

    fn hear(&mut self, client: &mut ClientSession) -> Vec<Completion> {
        let Some(peer) = self.comms.peer(&client.vat()) else { return Vec::new() };
        let messages = peer.outgoing().messages().map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>();
        let begin = peer.outgoing().messages().next().map_or(peer.outgoing().end() + 1, |(number, _)| number);
        let head = self.comms.head(&client.vat()).expect("a peer");
        let deliver = Deliver { from: HOME, begin, messages, end: head.end, ack: head.ack };
        client.receive(&deliver).expect("good messages")
    }

    /// Answers the last call with an own object.
    fn answer_with(&mut self, slot: Slot) {
        let Some(Delivery::Call { result: Some(result), .. }) = self.calls.last() else { panic!("a call") };
        let value = Value::Named(0, "Purse".into());
        self.comms.settle_by_guest(*result, &Resolution::Fulfilled(CapData::new(&value, vec![slot])));
    }

    fn last_call(&self) -> (Slot, Vec<Slot>) {
        let Some(Delivery::Call { target, args, .. }) = self.calls.last() else { panic!("a call") };
        (*target, args.slots.clone())
    }
}

/// A new client that comes in by bearer 9.
fn client(seed: u8) -> ClientSession {
    let mut client = ClientSession::new(VatId([seed; 32]), HOME);
    let root = client.redeem(0, key(9), signed(9, &client.vat(), 0)).expect("room");
    assert_eq!(root, ClientRef::Object(0));
    client
}

/// A client that comes in by a bearer to an own object.
fn holder(seed: u8, bearer: u8, object: u64) -> (ClientSession, ClientRef) {
    let mut client = ClientSession::new(VatId([seed; 32]), HOME);
    let target = client.redeem(object, key(bearer), signed(bearer, &client.vat(), object)).expect("room");
    (client, target)
}

fn call(client: &mut ClientSession, target: ClientRef, slots: &[ClientRef]) -> u64 {
    let places = (0..slots.len() as u32).map(Value::Slot).collect();
    client.call(target, Method::Call("hold".into()), &Value::Array(places), slots).expect("room")
}

fn error(completion: &Completion) -> String {
    match &completion.value {
        Value::Error { message, .. } if !completion.fulfilled => message.clone(),
        other => panic!("{other:?}"),
    }
}

/// A client gets a purse from the root and has it kept for bearer `kept`.
fn keep(home: &mut Home, seed: u8, kept: u8) -> Completion {
    let mut client = client(seed);
    call(&mut client, ClientRef::Object(0), &[]);
    home.exchange(&mut client);
    home.answer_with(PURSE);
    let answer = home.hear(&mut client).pop().expect("an answer");
    let [ClientRef::Object(purse)] = answer.slots[..] else { panic!("{answer:?}") };
    client.keep(purse, key(kept), key(9)).expect("room");
    home.exchange(&mut client).pop().expect("an answer")
}

#[test]
fn an_object_that_was_kept_is_there_for_the_next_client_as_target_and_as_argument() {
    let mut home = Home::new();
    let kept = keep(&mut home, 2, 20);
    assert!(kept.fulfilled);
    assert_eq!(kept.value, Value::Number(5.0));
    home.comms.forget(&VatId([2; 32]));
    assert!(home.comms.freed().is_empty(), "it is kept although its client has gone");
    assert_eq!(home.comms.interface(5).as_deref(), Some("Purse"));

    // All at once, before anything is answered; and once more, when the promise has settled.
    let (mut second, target) = holder(4, 20, 5);
    assert!(home.comms.admits(&second.vat(), second.unacked().next().map(|(_, bytes)| &bytes[..])));
    call(&mut second, target, &[target]);
    let settled = home.exchange(&mut second);
    assert_eq!(home.last_call(), (PURSE, vec![PURSE]));
    let [ClientRef::Object(purse)] = settled[0].slots[..] else { panic!("{settled:?}") };
    call(&mut second, ClientRef::Object(purse), &[]);
    home.exchange(&mut second);
    assert_eq!(home.last_call().0, PURSE);

    second.discard(key(20)).expect("room");
    assert!(home.exchange(&mut second).pop().expect("an answer").fulfilled);
    home.comms.forget(&second.vat());
    assert_eq!(home.comms.freed(), [5], "nobody holds it any more");
}

#[test]
fn what_a_client_lends_is_for_the_vat_that_it_calls_and_outlives_the_reference() {
    let mut home = Home::new();
    keep(&mut home, 2, 20);
    let mut borrower = ClientSession::new(VatId([7; 32]), OTHER);
    let (mut lender, _) = holder(4, 20, 5);
    let (name, number) = borrower.lend(HOME, lender.vat());
    let opened = home.exchange(&mut lender);
    let [ClientRef::Object(object)] = opened[0].slots[..] else { panic!("{opened:?}") };
    lender.deposit(OTHER, number, object).expect("room");
    home.exchange(&mut lender);
    assert_eq!(lender.unacked().count(), 0);

    // What is lent is passed once, in order, and is no target.
    let method = Method::Call("take".into());
    let args = Value::Array(vec![Value::Slot(0), Value::Slot(1)]);
    let (second, _) = borrower.lend(HOME, lender.vat());
    assert_eq!(
        borrower.send_only(ClientRef::Object(0), method.clone(), &args, &[second, name]),
        Err(ClientError::LentOrder)
    );
    assert_eq!(borrower.send_only(name, method.clone(), &Value::Array(vec![]), &[]), Err(ClientError::IsLent));
    borrower.send_only(ClientRef::Object(0), method.clone(), &args, &[name, second]).expect("room");
    assert_eq!(borrower.send_only(ClientRef::Object(0), method, &args, &[name, second]), Err(ClientError::LentOrder));
    let said: Vec<Op> = borrower.unacked().map(|(_, bytes)| Op::decode(bytes).expect("an operation")).collect();
    let [Op::Send { args, .. }] = &said[..] else { panic!("{said:?}") };
    assert_eq!(args.slots[0], WireSlot::Lent { home: HOME, lender: lender.vat(), number: 1 });

    // The lender and the bearer are gone when the called vat comes.
    home.comms.forget(&lender.vat());
    home.comms.revoke_bearer(&key(20));
    let thief = Op::Withdraw { from: lender.vat(), number: 1, result: 1 };
    home.comms.receive(&OTHER, &thief.encode()).expect("a good message");
    let good = Op::Withdraw { from: lender.vat(), number, result: 2 };
    home.comms.receive(&OTHER, &good.encode()).expect("a good message");
    let call = Op::Send {
        target: WireRef::promise(Side::Sender, 2),
        method: Method::Call("balance".into()),
        args: CapData::data(&Value::Array(vec![])),
        result: None,
    };
    let Ok(Inbound::Call { delivery, .. }) = home.comms.receive(&OTHER, &call.encode()) else { panic!("it may") };
    assert!(matches!(delivery, Delivery::Call { target: PURSE, .. }));
}

#[test]
fn whoever_reads_the_state_or_the_line_cannot_act_as_the_holder() {
    let mut home = Home::new();
    keep(&mut home, 2, 20);
    // All that a member sees: the key, and what the holder said. It has no secret half.
    let public = *home.comms.bearers().iter().find(|(_, bearer)| bearer.object == 5).expect("kept").0;
    let thief = VatId([6; 32]);
    let stolen = signed(20, &VatId([4; 32]), 5);
    for (what, object, signature) in [
        ("another vat's signature", 5, stolen),
        ("none", 5, [0; 64]),
        ("that of another key", 5, signed(21, &thief, 5)),
        ("one for another object", 0, signed(20, &thief, 0)),
        ("one for an object that it does not open", 5, signed(20, &thief, 0)),
    ] {
        let mut client = ClientSession::new(thief, HOME);
        let target = client.redeem(object, public, signature).expect("room");
        let first = client.unacked().next().map(|(_, bytes)| bytes.to_vec());
        assert!(!home.comms.clone().admits(&thief, first.as_deref()), "{what}");
        // Nor where the thief is known already.
        let mut known = Home { comms: home.comms.clone(), calls: Vec::new() };
        known.comms.reference(&thief, 0).expect("room");
        call(&mut client, target, &[]);
        let answers = known.exchange(&mut client);
        assert!(known.calls.is_empty(), "{what}");
        assert!(answers.iter().all(|answer| !answer.fulfilled), "{what}: {answers:?}");
    }
}

#[test]
fn a_revoked_bearer_takes_the_object_from_those_who_used_it_and_what_was_kept_through_it() {
    let mut home = Home::new();
    keep(&mut home, 2, 20);
    let (mut holder, target) = holder(4, 20, 5);
    call(&mut holder, target, &[]);
    let settled = home.exchange(&mut holder);
    let [ClientRef::Object(purse)] = settled[0].slots[..] else { panic!("{settled:?}") };
    let mut first = client(7);
    call(&mut first, ClientRef::Object(0), &[]);
    home.exchange(&mut first);
    let calls = home.calls.len();

    assert_eq!(home.comms.revoke_bearer(&key(9)), 2);
    assert_eq!(home.comms.revoke_bearer(&key(9)), 0);
    assert!(home.comms.bearers().is_empty());
    call(&mut holder, ClientRef::Object(purse), &[]);
    assert!(error(&home.exchange(&mut holder)[0]).contains("revoked"));
    call(&mut first, ClientRef::Object(0), &[]);
    let refused = home.exchange(&mut first);
    assert!(error(&refused[0]).contains("revoked"));
    assert_eq!(home.calls.len(), calls, "nothing was done for either");
    // As an argument to what it may still use, it is refused as well.
    home.comms.grant(&holder.vat(), None).expect("room");
    call(&mut holder, ClientRef::Object(0), &[ClientRef::Object(purse)]);
    assert!(!home.exchange(&mut holder)[0].fulfilled);
    // A newcomer with it is a stranger.
    let late = client(8);
    assert!(!home.comms.admits(&late.vat(), late.unacked().next().map(|(_, bytes)| &bytes[..])));
}

/// The holder never acknowledges, so that its promise for the object stays in the tables.
#[test]
fn a_promise_that_is_not_acknowledged_is_no_way_around_a_revocation() {
    let mut home = Home::new();
    keep(&mut home, 2, 20);
    let (mut holder, target) = holder(4, 20, 5);
    let vat = holder.vat();
    let Some(first) = holder.unacked().next().map(|(_, bytes)| bytes.to_vec()) else { panic!("it says something") };
    home.comms.receive(&vat, &first).expect("a good message");
    home.comms.revoke_bearer(&key(20));
    call(&mut holder, target, &[]);
    call(&mut holder, ClientRef::Object(0), &[target]);
    home.comms.grant(&vat, None).expect("room");
    let answers = home.exchange(&mut holder);
    assert_eq!(home.calls.len(), 1, "only that of the one who had it kept: {:?}", home.calls);
    assert_eq!(answers.iter().filter(|answer| !answer.fulfilled).count(), 2, "{answers:?}");
}

#[test]
fn what_was_also_given_survives_a_revocation() {
    let mut home = Home::new();
    keep(&mut home, 2, 20);
    let (mut holder, target) = holder(4, 20, 5);
    call(&mut holder, target, &[]);
    let settled = home.exchange(&mut holder);
    let [ClientRef::Object(purse)] = settled[0].slots[..] else { panic!("{settled:?}") };
    home.answer_with(PURSE);
    home.hear(&mut holder);
    home.comms.revoke_bearer(&key(20));
    call(&mut holder, ClientRef::Object(purse), &[]);
    home.exchange(&mut holder);
    assert_eq!((home.calls.len(), home.last_call().0), (3, PURSE), "the program gave it the purse");
}

#[test]
fn grants_and_bearers_end_when_log_time_reaches_their_end_and_not_before() {
    let mut home = Home::new();
    home.comms.pass_time(1_000);
    assert!(home.comms.grant(&OTHER, Some(1_000)).is_err(), "that has passed");
    home.comms.grant(&OTHER, Some(2_000)).expect("room");
    let soon = Bearer { expires_ms: Some(3_000), ..Bearer::to_root() };
    home.comms.add_bearer(key(30), soon.clone()).expect("room");
    assert!(home.comms.add_bearer(key(31), Bearer { expires_ms: Some(999), ..soon }).is_err(), "that has passed");
    let mut client = ClientSession::new(VatId([4; 32]), HOME);
    client.redeem(0, key(30), signed(30, &client.vat(), 0)).expect("room");
    home.exchange(&mut client);
    let may = |home: &Home, vat: &VatId| home.comms.peer(vat).is_some_and(crate::comms::peer::Peer::is_granted);
    for (now, granted, opens, next) in
        [(1_999, true, true, Some(2_000)), (2_000, false, true, Some(3_000)), (3_000, false, false, None)]
    {
        home.comms.pass_time(now);
        assert_eq!((may(&home, &OTHER), may(&home, &client.vat())), (granted, opens), "at {now}");
        assert_eq!(home.comms.next_expiry_ms(), next);
    }
    // The last word counts: a grant without end, and one that was taken back.
    home.comms.grant(&OTHER, Some(4_000)).expect("room");
    home.comms.grant(&OTHER, None).expect("room");
    home.comms.pass_time(5_000);
    assert!(may(&home, &OTHER));
    home.comms.grant(&OTHER, Some(6_000)).expect("room");
    home.comms.revoke(&OTHER);
    home.comms.grant(&OTHER, None).expect("room");
    home.comms.pass_time(7_000);
    assert!(may(&home, &OTHER), "what was to end was revoked before");
}

#[test]
fn what_is_kept_through_a_bearer_ends_with_it() {
    let mut home = Home::new();
    let soon = Bearer { expires_ms: Some(3_000), ..Bearer::to_root() };
    home.comms.add_bearer(key(30), soon).expect("room");
    let mut client = ClientSession::new(VatId([4; 32]), HOME);
    client.redeem(0, key(30), signed(30, &client.vat(), 0)).expect("room");
    client.keep(0, key(40), key(30)).expect("room");
    assert!(home.exchange(&mut client).pop().expect("an answer").fulfilled, "the root itself");
    // Through what was kept, and so on.
    let (mut next, _) = holder(5, 40, 0);
    next.keep(0, key(41), key(40)).expect("room");
    home.exchange(&mut next);
    // Letting go of the one in the middle changes nothing for the last.
    next.discard(key(40)).expect("room");
    assert!(home.exchange(&mut next).pop().expect("an answer").fulfilled);
    let last = home.comms.bearers()[&key(41)].clone();
    assert_eq!(last.kept, Some(Kept { through: key(30), account: key(30) }));
    assert_eq!(last.expires_ms, Some(3_000), "nothing outlives what it was kept through");
    home.comms.pass_time(3_000);
    assert_eq!(home.comms.bearers().keys().collect::<Vec<_>>(), [&key(9)]);
}

#[test]
fn only_what_is_held_is_kept_and_only_through_what_was_used() {
    let mut home = Home::new();
    home.comms.add_bearer(key(30), Bearer::to_root()).expect("room");
    let mut client = client(4);
    client.keep(0, key(40), key(30)).expect("room");
    client.keep(7, key(41), key(9)).expect("room");
    client.keep(0, key(30), key(9)).expect("room");
    client.keep(0, key(42), [0; 32]).expect("room");
    client.discard(key(9)).expect("room");
    client.discard(key(30)).expect("room");
    client.discard(key(43)).expect("room");
    let answers = home.exchange(&mut client);
    assert_eq!(answers.len(), 7);
    assert!(answers.iter().all(|answer| !answer.fulfilled), "{answers:?}");
    assert_eq!(home.comms.bearers().len(), 2);
}

#[test]
fn what_holders_keep_is_bounded_by_the_bearer_that_they_came_in_by() {
    let mut home = Home::new();
    home.comms.add_bearer(key(30), Bearer::to_root()).expect("room");
    let mut client = client(4);
    let wide = |number: u64| {
        let mut key = [0xee; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    };
    let mut answers = Vec::new();
    for number in 0..MAX_KEPT + 2 {
        client.keep(0, wide(number), key(9)).expect("room");
        answers.extend(home.exchange(&mut client));
    }
    let kept = answers.iter().filter(|answer| answer.fulfilled).count() as u64;
    assert_eq!(kept, MAX_KEPT);
    assert!(error(answers.last().expect("an answer")).contains("vat ref forget"));
    // Another one's account is another one's.
    let mut other = ClientSession::new(VatId([5; 32]), HOME);
    other.redeem(0, key(30), signed(30, &other.vat(), 0)).expect("room");
    other.keep(0, wide(u64::MAX), key(30)).expect("room");
    assert!(home.exchange(&mut other).pop().expect("an answer").fulfilled);
    // What is let go makes room.
    home.comms.revoke_bearer(&wide(3));
    client.keep(0, wide(u64::MAX - 1), key(9)).expect("room");
    assert!(home.exchange(&mut client).pop().expect("an answer").fulfilled);
}

#[test]
fn a_vat_has_a_bounded_number_of_bearers_and_short_notes() {
    let mut comms = Comms::new(HOME);
    let wide = |number: usize| {
        let mut key = [0xee; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        key
    };
    for number in 0..MAX_BEARERS {
        comms.add_bearer(wide(number), Bearer::to_root()).expect("room");
    }
    assert!(comms.add_bearer(wide(MAX_BEARERS), Bearer::to_root()).is_err());
    comms.revoke_bearer(&wide(0));
    let note = |note: String| Bearer { note, ..Bearer::to_root() };
    assert!(comms.add_bearer(key(1), note("x".repeat(MAX_NOTE_BYTES + 1))).is_err());
    assert!(comms.add_bearer(key(1), note("a\nb".into())).is_err());
    assert!(comms.add_bearer(key(1), bearer(5)).is_err(), "nobody holds object 5");
    comms.add_bearer(key(1), note("x".repeat(MAX_NOTE_BYTES))).expect("room");
}

/// A vat that has redeemed an object gives it on while the bearer is revoked: that is not its fault.
#[test]
fn a_deposit_of_what_was_revoked_meanwhile_breaks_nothing() {
    let mut home = Home::new();
    keep(&mut home, 2, 20);
    let (mut holder, target) = holder(4, 20, 5);
    call(&mut holder, target, &[]);
    home.exchange(&mut holder);
    let id = *home.comms.peer(&holder.vat()).expect("a peer").exports().keys().next().expect("the purse");
    home.comms.revoke_bearer(&key(20));
    let deposit = Op::Deposit { to: OTHER, number: 1, object: id };
    assert_eq!(home.comms.receive(&holder.vat(), &deposit.encode()), Ok(Inbound::Done));
    let withdraw = Op::Withdraw { from: holder.vat(), number: 1, result: 1 };
    home.comms.receive(&OTHER, &withdraw.encode()).expect("a good message");
    let said: Vec<Op> = home
        .comms
        .peer(&OTHER)
        .expect("a peer")
        .outgoing()
        .messages()
        .map(|(_, bytes)| Op::decode(bytes).expect("an operation"))
        .collect();
    assert!(matches!(&said[..], [Op::Settle { resolution: wire::WireResolution::Rejected(_), .. }]), "{said:?}");
}

#[test]
fn the_inventory_says_who_holds_what_under_which_name() {
    let mut home = Home::new();
    keep(&mut home, 2, 20);
    let wares = WireSlot::Known(WireRef { kind: RefKind::Object, allocator: Side::Sender, id: 4 });
    let args = CapData::new(&Value::Array(vec![Value::Named(0, "Wares".into())]), vec![wares]);
    home.comms.grant(&OTHER, Some(9)).expect("room");
    let target = WireRef::object(Side::Receiver, 0);
    let send = Op::Send { target, method: Method::Apply, args, result: Some(1) };
    home.comms.receive(&OTHER, &send.encode()).expect("a good call");
    let all = home.comms.inventory(None, 10);
    assert_eq!((all.held, all.peers_in_all, all.bearers, all.more), (1, 2, 2, false));
    let client = home.comms.peer_inventory(&VatId([2; 32]), None, 10).expect("a peer");
    let purse = Held { id: 1, object: Some(5), interface: Some("Purse".into()), count: 1, live: true, pins: 0 };
    assert_eq!((client.exports, client.exports_in_all), (vec![purse], 1));
    assert_eq!(client.redeemed, BTreeMap::from([(key(9), 0)]));
    let other = home.comms.peer_inventory(&OTHER, None, 10).expect("a peer");
    let wares = Held { id: 4, object: None, interface: Some("Wares".into()), count: 1, live: false, pins: 0 };
    assert_eq!((other.imports, other.granted, other.grant_expires_ms), (vec![wares], true, Some(9)));
    assert_eq!((other.decided_here, other.decided_there), (1, 0));
    // In pieces.
    let first = home.comms.inventory(None, 1);
    assert!(first.more && first.peers.len() == 1 && first.peers[0].vat == VatId([2; 32]));
    let second = home.comms.inventory(Some(&first.peers[0].vat), 1);
    assert!(!second.more && second.peers[0].vat == OTHER);
    assert!(home.comms.peer_inventory(&OTHER, Some(4), 10).expect("a peer").imports.is_empty());
    assert!(home.comms.peer_inventory(&OTHER, Some(u64::MAX), 0).expect("a peer").imports.is_empty());
}

#[test]
fn names_that_peers_give_are_bounded() {
    let mut names = crate::comms::inventory::Names::default();
    assert_eq!((names.intern("a", 2), names.intern("b", 2), names.intern("a", 2), names.intern("c", 2)), (1, 2, 1, 0));
    assert_eq!(names.by_number().into_values().collect::<Vec<_>>(), ["a", "b"]);
}
