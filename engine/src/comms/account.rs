//! Prices the bytes that each peer makes this vat keep, and bounds them by a share of the vat's memory.
//!
//! The shares adapt: a peer may make the vat keep as much as is still free of the memory set aside for all peers. So one alone gets half of
//! it. `n` greedy peers get one part of `n + 1` each, and as much stays free for the next peer (A. Choudhury and
//! E. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998).
//!
//! A peer above its share is refused everything that would add to it. Messages that bring nothing new still get through, and so do a few calls
//! with answers: by such calls the peer makes the vat drop objects.
//!
//! The prices are measurements of the image, including closures that a contract cannot do without, rounded
//! up. All of this is a function of the log: the counts are replicated, and the memory is a parameter of the vat.

use super::peer::Peer;
use super::{Comms, MAX_OBJECTS, MAX_PROMISES};
use quorate_ids::VatId;

/// The share of the vat's memory for what peers make it keep: one part of so many.
const POOL_PARTS: u64 = 2;
/// An object that was given, either way, or redeemed; also one that was deposited for a third vat, on its giver's account.
/// With its place in the list that it came in: lists that came in are frozen, and take more for it.
const OBJECT: u64 = 144;
/// An open promise, of either decider.
const OPEN_PROMISE: u64 = 1_536;
/// One that this vat has settled and whose settlement the peer has not acknowledged, beside the bytes that it was settled with: the guest
/// keeps how it came out for what the peer may have sent to it.
const SETTLED_PROMISE: u64 = 256;
/// A call that waits for a deposit, beside its message.
const QUEUED_CALL: u64 = 1_024;
/// So many promises a peer may have open, whatever else it makes the vat keep. As many peers as there are clients at a time have room for
/// them in the other half of the memory.
const SOME_PROMISES: usize = 16;

// No peer alone could fill a vat of the default size with one kind before its count is bounded, too.
const _: () = assert!(MAX_OBJECTS as u64 * OBJECT <= 64 << 20 && MAX_PROMISES as u64 * SETTLED_PROMISE <= 64 << 20);

impl Peer {
    /// Returns what the peer makes this vat keep now, in bytes.
    pub fn kept_bytes(&self) -> u64 {
        let objects = (self.exports.len() + self.imports.len() + self.redeemed.len()) as u64 + self.gifts.deposits_open;
        let open = (self.open_pairs() as u64).saturating_sub(self.settlements.len() as u64);
        objects * OBJECT
            + open * OPEN_PROMISE
            + self.answers.count() * SETTLED_PROMISE
            + self.answers.bytes()
            + self.gifts.queued_calls * QUEUED_CALL
            + self.gifts.queued_bytes
    }

    fn open_pairs(&self) -> usize {
        self.ours.len() + self.theirs.len()
    }

    /// Objects and promises that the peer has named.
    pub(super) fn brought(&self) -> usize {
        self.imports.len() + self.theirs.len()
    }
}

impl Comms {
    /// Sets the memory that the vat may have, its heap's: a parameter of the vat, not of its state.
    pub(crate) fn set_memory(&mut self, bytes: u64) {
        self.pool = bytes / POOL_PARTS;
    }

    /// Says on whose account what the guest says from now on is.
    pub(crate) fn set_account(&mut self, account: Option<VatId>) {
        self.account = account;
    }

    /// Returns what all peers together make this vat keep, in bytes.
    pub fn kept_bytes(&self) -> u64 {
        self.kept
    }

    /// Enters what a peer makes this vat keep by now.
    pub(super) fn count(&mut self, vat: &VatId) {
        let Some(peer) = self.peers.get_mut(vat) else { return };
        let now = peer.kept_bytes();
        let before = std::mem::replace(&mut peer.counted, now);
        self.kept = self.kept.saturating_sub(before).saturating_add(now);
    }

    /// A peer is no more.
    pub(super) fn uncount(&mut self, peer: &Peer) {
        self.kept = self.kept.saturating_sub(peer.counted);
    }

    /// Returns whether a peer is within its share if it makes this vat keep so much more; else how much it has.
    fn check_share(&mut self, vat: &VatId, more: u64) -> Result<(), u64> {
        self.count(vat);
        let Some(peer) = self.peers.get(vat) else { return Ok(()) };
        let free = self.pool.saturating_sub(self.kept);
        if peer.counted.saturating_add(more) > free.saturating_sub(more) { Err(peer.counted) } else { Ok(()) }
    }

    /// Returns whether a peer has more than its share.
    pub(super) fn is_above_share(&mut self, vat: &VatId) -> bool {
        self.check_share(vat, 0).is_err()
    }

    /// Returns whether a message that was just entered may be delivered; `brought` is [`Peer::brought`] from before it. The error is for the
    /// sender to hear.
    pub(super) fn check_inbound(&mut self, vat: &VatId, brought: usize, asks: bool) -> Result<(), String> {
        let Some(peer) = self.peers.get(vat) else { return Ok(()) };
        let brings = peer.brought() > brought + usize::from(asks);
        let counts = brings || asks && peer.open_pairs() > SOME_PROMISES;
        if !counts {
            return Ok(());
        }
        self.check_share(vat, 0).map_err(|kept| {
            format!(
                "this vat keeps {kept} bytes for the references and open answers of yours, and has no room for more: let go of some, or wait for answers"
            )
        })
    }

    /// Returns whether so many new objects and promises can be given to a vat. The error is for the guest to hear.
    pub(super) fn check_outbound(&mut self, vat: &VatId, objects: usize, promises: usize) -> Result<(), String> {
        let promises =
            if self.peers.get(vat).is_some_and(|peer| peer.open_pairs() < SOME_PROMISES) { 0 } else { promises };
        if objects + promises == 0 {
            return Ok(());
        }
        let more = objects as u64 * OBJECT + promises as u64 * OPEN_PROMISE;
        self.check_share(vat, more).map_err(|kept| {
            format!(
                "{kept} bytes are kept for references and open promises towards that vat, and there is no room for more"
            )
        })
    }
}
