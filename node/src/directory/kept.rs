//! What is known of vats, within a budget of bytes and of entries: what was not used for longest goes first.
//!
//! Invariants: the budget holds for what is not pinned. What is pinned stays, and is taken in whatever it takes. What finds no room beside it is
//! not taken in.

use quorate_consensus::VatId;
use std::collections::BTreeMap;

/// What is kept at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub entries: usize,
    pub bytes: usize,
}

struct Slot<V> {
    value: V,
    bytes: usize,
    used: u64,
}

/// See the head of the module.
pub(super) struct Kept<V> {
    slots: BTreeMap<VatId, Slot<V>>,
    budget: Budget,
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

impl<V> Kept<V> {
    /// Nothing is kept yet.
    pub fn new(budget: Budget) -> Kept<V> {
        Kept { slots: BTreeMap::new(), budget, bytes: 0, clock: 0 }
    }

    /// Looks something up, which counts as a use.
    pub fn get(&mut self, vat: &VatId) -> Option<&V> {
        self.clock += 1;
        let slot = self.slots.get_mut(vat)?;
        slot.used = self.clock;
        Some(&slot.value)
    }

    /// Everything that is kept.
    pub fn iter(&self) -> impl Iterator<Item = (&VatId, &V)> {
        self.slots.iter().map(|(vat, slot)| (vat, &slot.value))
    }

    /// Takes something out.
    pub fn remove(&mut self, vat: &VatId) -> Option<V> {
        let slot = self.slots.remove(vat)?;
        self.bytes -= slot.bytes;
        Some(slot.value)
    }

    /// Takes in or replaces something of so many bytes. Returns what had to go for it; or nothing, if there is no room for it: then it is not
    /// kept, and neither is what it was to replace.
    pub fn put(&mut self, vat: VatId, value: V, bytes: usize, is_pinned: impl Fn(&V) -> bool) -> Option<Vec<VatId>> {
        self.remove(&vat);
        let fits = |kept: &Self, share: usize| {
            kept.slots.len() < kept.budget.entries && kept.bytes + bytes <= kept.budget.bytes / 8 * share
        };
        let mut gone = Vec::new();
        if !fits(self, 8) {
            let unpinned = self.slots.iter().filter(|(_, slot)| !is_pinned(&slot.value));
            let mut oldest: Vec<(u64, VatId)> = unpinned.map(|(vat, slot)| (slot.used, *vat)).collect();
            oldest.sort_unstable();
            // Some more than are needed, so that not every new one has to look for what goes.
            let most = oldest.len() / 8 + 1;
            for (_, vat) in oldest {
                if fits(self, 8) && (gone.len() >= most || fits(self, 7)) {
                    break;
                }
                self.remove(&vat);
                gone.push(vat);
            }
            if !fits(self, 8) && !is_pinned(&value) {
                return None;
            }
        }
        self.clock += 1;
        self.bytes += bytes;
        self.slots.insert(vat, Slot { value, bytes, used: self.clock });
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vat(number: u8) -> VatId {
        VatId([number; 32])
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room_and_what_is_pinned_stays() {
        let mut kept = Kept::new(Budget { entries: 100, bytes: 80 });
        let is_pinned = |value: &u8| *value < 2;
        for number in 0..8 {
            assert_eq!(kept.put(vat(number), number, 10, is_pinned), Some(vec![]));
        }
        assert_eq!(kept.get(&vat(2)), Some(&2));
        assert_eq!(kept.put(vat(9), 9, 10, is_pinned), Some(vec![vat(3)]));
        assert!(kept.get(&vat(0)).is_some() && kept.get(&vat(1)).is_some() && kept.get(&vat(2)).is_some());
        // Larger than what is not pinned.
        assert_eq!(kept.put(vat(10), 10, 70, is_pinned), None);
        assert!(kept.bytes <= 80 && kept.get(&vat(10)).is_none() && kept.get(&vat(1)).is_some());
        assert_eq!(kept.remove(&vat(1)), Some(1));
        assert_eq!(kept.bytes, kept.slots.values().map(|slot| slot.bytes).sum::<usize>());
    }

    #[test]
    fn entries_are_bounded_however_small_they_are() {
        let mut kept = Kept::new(Budget { entries: 4, bytes: 1_000 });
        for number in 0..20 {
            assert!(kept.put(vat(number), (), 1, |()| false).is_some());
            assert!(kept.slots.len() <= 4);
        }
        assert!(kept.get(&vat(19)).is_some());
    }
}
