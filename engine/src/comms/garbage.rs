//! Counts references to objects, and frees objects that nobody holds.
//!
//! The receiver of an object counts how often it came; the home counts how often it was sent. When the receiver's guest drops the object, the receiver
//! sends `Drop` with its count, after all its messages about the object, and the home subtracts. Zero means that nothing is under way.
//! If the object was sent again in the meantime, the rest is not zero.
//!
//! An own object is held by each peer that it is exported to, by each deposit of it, by each bearer, and by a promise that comes home to it. When no holder is left,
//! the machine tells the guest ([`Comms::freed`]). The root is not counted: a grant of it stays until it is revoked.
//!
//! Objects that hold each other over two vats are never freed. An operator can see them, and revoke or end one of them.

use super::Comms;
use super::inbound::{Broken, broken};
use super::peer::Import;
use crate::abi::Slot;
use crate::wire::{MAX_SLOTS, Op};
use quorate_ids::VatId;
use std::collections::BTreeMap;

// Own objects.
impl Comms {
    /// The wire id of an own object, for one message to `vat` that it is sent in.
    pub(super) fn export_own(&mut self, vat: &VatId, object: u64) -> u64 {
        if self.peer_mut(vat).is_new_export(object) {
            self.hold_object(object);
        }
        self.peer_mut(vat).export_object(object)
    }

    pub(super) fn hold_object(&mut self, object: u64) {
        if object != 0 {
            self.holders.entry(object).or_default().count += 1;
            self.freed.remove(&object);
        }
    }

    pub(super) fn release_object(&mut self, object: u64) {
        let Some(holder) = self.holders.get_mut(&object) else { return };
        holder.count -= 1;
        if holder.count == 0 {
            self.holders.remove(&object);
            if !self.exited {
                self.freed.insert(object);
            }
        }
    }

    /// The own objects that no other vat holds any more, so that the guest may forget their numbers.
    pub fn freed(&self) -> Vec<u64> {
        self.freed.iter().copied().collect()
    }

    /// The guest has named these. Own objects among them that came to nobody, since what named them was refused, can be forgotten.
    pub fn note_named(&mut self, slots: &[Slot]) {
        for slot in slots {
            if let Slot::VatObject(object) = slot
                && *object != 0
                && !self.holders.contains_key(object)
                && !self.exited
            {
                self.freed.insert(*object);
            }
        }
    }

    /// The guest has heard of the first `count` that [`Comms::freed`] tells.
    pub fn forget_freed(&mut self, count: usize) {
        for _ in 0..count {
            self.freed.pop_first();
        }
    }

    pub(super) fn receive_drop(&mut self, from: &VatId, dropped: &[(u64, u64)]) -> Result<(), Broken> {
        for (id, received) in dropped {
            let Some(peer) = self.peers.get_mut(from) else { return broken("a message of an unknown vat") };
            let Some(export) = peer.exports.get_mut(id).filter(|export| (1..=export.sent).contains(received)) else {
                return broken(format!("it drops object {id} {received} times, which it did not get so often"));
            };
            export.sent -= received;
            #[cfg(test)]
            if super::plants::is(super::plants::Plant::DropWithoutCounts) {
                export.sent = 0;
            }
            if export.sent == 0 {
                let object = export.object;
                peer.exports.remove(id);
                peer.export_ids.remove(&object);
                self.release_object(object);
            }
        }
        Ok(())
    }
}

// Objects of others.
impl Comms {
    /// The guest's name for an object of another vat.
    pub(super) fn import_object(&mut self, home: &VatId, id: u64) -> Slot {
        if let Some(import) = self.peer_mut(home).imports.get(&id) {
            return Slot::HostObject(import.slot);
        }
        let slot = self.next_host_object;
        self.next_host_object += 1;
        self.peer_mut(home).imports.insert(id, Import { slot, received: 0, pins: 0, known: false, interface: 0 });
        self.host_objects.insert(slot, (*home, id));
        self.count(home);
        Slot::HostObject(slot)
    }

    /// The same, for one that came in a message.
    pub(super) fn receive_object(&mut self, home: &VatId, id: u64) -> Slot {
        let slot = self.import_object(home, id);
        if let Some(import) = self.peer_mut(home).imports.get_mut(&id) {
            import.received += 1;
        }
        slot
    }

    fn import_mut(&mut self, slot: u64) -> Option<(VatId, u64, &mut Import)> {
        let (home, id) = *self.host_objects.get(&slot)?;
        let import = self.peers.get_mut(&home)?.imports.get_mut(&id)?;
        Some((home, id, import))
    }

    /// The guest took in a delivery that names this object.
    pub(super) fn know_import(&mut self, slot: u64) {
        if let Some((_, _, import)) = self.import_mut(slot) {
            import.known = true;
        }
    }

    /// A deposit that is not said yet names the object.
    pub(super) fn pin_import(&mut self, home: &VatId, id: u64) {
        #[cfg(test)]
        if super::plants::is(super::plants::Plant::NoPin) {
            return;
        }
        if let Some(import) = self.peer_mut(home).imports.get_mut(&id) {
            import.pins += 1;
        }
    }

    pub(super) fn unpin_import(&mut self, home: &VatId, id: u64) {
        let Some(import) = self.peers.get_mut(home).and_then(|peer| peer.imports.get_mut(&id)) else { return };
        import.pins = import.pins.saturating_sub(1);
        if import.pins == 0 && !import.known {
            self.drop_imports(*home, &[id]);
        }
    }

    /// The guest holds these objects of others no more, and has forgotten their slots.
    pub fn drop_by_guest(&mut self, slots: &[Slot]) {
        let mut dropped: BTreeMap<VatId, Vec<u64>> = BTreeMap::new();
        for slot in slots {
            let Slot::HostObject(slot) = slot else { continue };
            let Some((home, id, import)) = self.import_mut(*slot) else { continue };
            import.known = false;
            if import.pins == 0 {
                dropped.entry(home).or_default().push(id);
            }
        }
        for (home, ids) in dropped {
            self.drop_imports(home, &ids);
        }
    }

    /// Drops what came in deliveries that the guest did not take in. Between deliveries only: one that is still to come may name it.
    pub fn sweep(&mut self) {
        let mut dropped = Vec::new();
        for (home, peer) in &self.peers {
            let unheard = |import: &Import| import.pins == 0 && (!import.known || self.exited);
            let ids: Vec<u64> = peer.imports.iter().filter(|(_, import)| unheard(import)).map(|(id, _)| *id).collect();
            if !ids.is_empty() {
                dropped.push((*home, ids));
            }
        }
        for (home, ids) in dropped {
            self.drop_imports(home, &ids);
        }
    }

    fn drop_imports(&mut self, home: VatId, ids: &[u64]) {
        let Some(peer) = self.peers.get_mut(&home) else { return };
        let mut counts = Vec::new();
        for id in ids {
            let Some(import) = peer.imports.remove(id) else { continue };
            self.host_objects.remove(&import.slot);
            // The root is granted, not counted; and what was named in arguments has not come in a message.
            if *id != 0 && import.received > 0 {
                counts.push((*id, import.received));
            }
        }
        let broken = peer.is_broken();
        self.count(&home);
        if broken {
            return;
        }
        for chunk in counts.chunks(MAX_SLOTS) {
            self.push(&home, &Op::Drop(chunk.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{CapData, Method, Value};
    use crate::comms::Inbound;
    use crate::wire::{Side, WireRef, WireSlot};

    const HOME: VatId = VatId([1; 32]);
    const HOLDER: VatId = VatId([2; 32]);
    const OTHER: VatId = VatId([3; 32]);
    const OBJECT: Slot = Slot::VatObject(5);

    fn home() -> (Comms, Slot) {
        let mut comms = Comms::new(HOME);
        let root = comms.reference(&HOLDER, 0).expect("room");
        (comms, root)
    }

    fn give(comms: &mut Comms, to: Slot) {
        let args = CapData::new(&Value::Array(vec![Value::Slot(0)]), vec![OBJECT]);
        comms.send(to, Method::Apply, &args, None).expect("it can go out");
    }

    fn drops(comms: &mut Comms, dropped: Vec<(u64, u64)>) -> Result<Inbound, Broken> {
        comms.receive(&HOLDER, &Op::Drop(dropped).encode())
    }

    /// Returns what a vat has said to another, of drops.
    fn said_drops(comms: &Comms, to: &VatId) -> Vec<Vec<(u64, u64)>> {
        let messages = comms.peer(to).expect("a peer").outgoing().messages();
        let ops = messages.map(|(_, message)| Op::decode(message).expect("an operation"));
        ops.filter_map(|op| if let Op::Drop(dropped) = op { Some(dropped) } else { None }).collect()
    }

    #[test]
    fn an_object_is_freed_when_as_many_are_dropped_as_were_sent() {
        let (mut comms, root) = home();
        give(&mut comms, root);
        give(&mut comms, root);
        assert_eq!(drops(&mut comms, vec![(1, 1)]), Ok(Inbound::Done));
        assert!(comms.freed().is_empty(), "one more is under way");
        assert_eq!(drops(&mut comms, vec![(1, 1)]), Ok(Inbound::Done));
        assert_eq!(comms.freed(), [5]);
        assert!(comms.peer(&HOLDER).expect("a peer").exports().is_empty());
        assert!(drops(&mut comms.clone(), vec![(1, 1)]).is_err(), "it has it no more");
        // Sent again before the guest hears of it: under a new number, and held.
        give(&mut comms, root);
        assert!(comms.freed().is_empty());
        assert_eq!(comms.peer(&HOLDER).expect("a peer").exports().keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(drops(&mut comms, vec![(2, 1)]), Ok(Inbound::Done));
        comms.forget_freed(1);
        assert!(comms.freed().is_empty());
    }

    #[test]
    fn an_object_that_two_hold_is_freed_with_the_last() {
        let (mut comms, root) = home();
        let other = comms.reference(&OTHER, 0).expect("room");
        give(&mut comms, root);
        give(&mut comms, other);
        assert_eq!(drops(&mut comms, vec![(1, 1)]), Ok(Inbound::Done));
        assert!(comms.freed().is_empty());
        comms.forget(&OTHER);
        assert_eq!(comms.freed(), [5]);
    }

    #[test]
    fn a_deposit_holds_its_object() {
        let (mut comms, root) = home();
        give(&mut comms, root);
        let deposit = Op::Deposit { to: OTHER, number: 1, object: 1 };
        comms.receive(&HOLDER, &deposit.encode()).expect("a good deposit");
        assert_eq!(drops(&mut comms, vec![(1, 1)]), Ok(Inbound::Done));
        assert!(comms.freed().is_empty());
        comms.receive(&HOLDER, &Op::Cancel { to: OTHER, number: None }.encode()).expect("a good cancel");
        assert_eq!(comms.freed(), [5]);
    }

    #[test]
    fn what_came_to_nobody_is_freed() {
        let mut comms = Comms::new(HOME);
        comms.note_named(&[OBJECT, Slot::VatObject(0), Slot::HostObject(7)]);
        assert_eq!(comms.freed(), [5]);
    }

    #[test]
    fn a_holder_says_how_often_an_object_came() {
        let mut comms = Comms::new(HOLDER);
        let object = WireSlot::Known(WireRef::object(Side::Sender, 4));
        let args = CapData::new(&Value::Array(vec![Value::Slot(0), Value::Slot(1)]), vec![object, object]);
        comms.grant(&HOME, None).expect("room");
        let target = WireRef::object(Side::Receiver, 0);
        let call = Op::Send { target, method: Method::Apply, args, result: None };
        for _ in 0..2 {
            comms.receive(&HOME, &call.encode()).expect("a good call");
        }
        let slot = Slot::HostObject(comms.peer(&HOME).expect("a peer").imports()[&4].slot);
        comms.mark_known([&slot]);
        comms.sweep();
        assert!(said_drops(&comms, &HOME).is_empty(), "the guest holds it");
        comms.drop_by_guest(&[slot, slot, Slot::HostObject(99), OBJECT]);
        assert_eq!(said_drops(&comms, &HOME), [[(4, 4)]]);
        // What comes in a delivery that the guest does not take in, it never drops.
        comms.receive(&HOME, &call.encode()).expect("a good call");
        comms.sweep();
        assert_eq!(said_drops(&comms, &HOME), [[(4, 4)], [(4, 2)]]);
    }

    #[test]
    fn after_the_end_everything_is_dropped() {
        let mut comms = Comms::new(HOLDER);
        let args = CapData::new(&Value::Array(vec![]), vec![WireRef::object(Side::Sender, 4).into()]);
        let call = Op::Send { target: WireRef::object(Side::Receiver, 0), method: Method::Apply, args, result: None };
        comms.grant(&HOME, None).expect("room");
        comms.receive(&HOME, &call.encode()).expect("a good call");
        let slot = Slot::HostObject(comms.peer(&HOME).expect("a peer").imports()[&4].slot);
        comms.mark_known([&slot]);
        comms.exit();
        assert_eq!(said_drops(&comms, &HOME), [[(4, 1)]]);
        comms.receive(&HOME, &call.encode()).expect("a good call");
        assert_eq!(said_drops(&comms, &HOME), [[(4, 1)], [(4, 1)]]);
    }
}
