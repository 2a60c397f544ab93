//! Which objects are held from where, so that what nobody holds any more can be forgotten.
//!
//! The receiver of an object counts how often it came, the home how often it was sent. When the receiver's guest holds it no more, the receiver
//! says `Drop` with its count, behind all that it ever said of the object; the home subtracts. Zero is the end: nothing is under way.
//! If the object was sent once more meanwhile, what is left is not zero.
//!
//! An own object is held by each peer that it is exported to, by each deposit of it, and by a promise that comes home to it. When none is left,
//! the guest is told ([`Comms::freed`]). The root is not counted: a grant of it stays until it is revoked.
//!
//! Objects that hold each other over two vats are never freed. Whoever looks at who holds what can revoke or end one of them.

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
            *self.holders.entry(object).or_default() += 1;
        }
    }

    pub(super) fn release_object(&mut self, object: u64) {
        let Some(count) = self.holders.get_mut(&object) else { return };
        *count -= 1;
        if *count == 0 {
            self.holders.remove(&object);
            if !self.exited {
                self.freed.insert(object);
            }
        }
    }

    /// The own objects that no other vat holds any more, so that the guest may forget their numbers.
    pub fn freed(&self) -> Vec<u64> {
        self.freed.iter().copied().filter(|object| !self.holders.contains_key(object)).collect()
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

    /// The guest has heard of all that [`Comms::freed`] tells.
    pub fn forget_freed(&mut self) {
        self.freed.clear();
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
        self.peer_mut(home).imports.insert(id, Import { slot, received: 0, pins: 0, known: false });
        self.host_objects.insert(slot, (*home, id));
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
        if peer.is_broken() {
            return;
        }
        for chunk in counts.chunks(MAX_SLOTS) {
            self.push(&home, &Op::Drop(chunk.to_vec()));
        }
    }
}
