//! Bearer keys and grants: how unknown peers come in, and until when.
//!
//! The vat holds the public half of a bearer's key pair, and the object that it opens. A peer redeems it by a signature over its own id. So
//! neither the members, which read all state, nor the network learn anything by which they could act as the holder.
//!
//! A peer that has redeemed a bearer can have an object *kept* under a new key, so that its holder comes back to the object
//! in another session. The kept entry depends on the bearer that the peer came through: it is removed with it, and counts on its account.
//!
//! Invariants: a bearer holds its object, as an export does. A peer may use a redeemed object only as long as the table has a bearer for it that the
//! peer has redeemed, unless the peer got the object in another way, too. An expired entry is removed when log time reaches its moment.

use super::inbound::{Broken, Inbound};
use super::peer::Party;
use super::promises::{EXITED, State};
use super::{Comms, MAX_BEARERS, handoff::resolution_to};
use crate::abi::{CapData, Resolution, Slot, Value};
use crate::wire::{self, redeem_payload};
use ed25519_dalek::{Signature, VerifyingKey};
use quorate_ids::VatId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most objects that are kept through one bearer, and through those that are kept through it.
pub const MAX_KEPT: u64 = 1_024;
/// Most objects that are kept, through all bearers together.
pub const MAX_KEPT_IN_ALL: usize = 16_384;
/// Most bearers that one peer can have redeemed at a time.
pub const MAX_REDEEMED: usize = 1_024;
/// Longest note on a bearer, in bytes.
pub const MAX_NOTE_BYTES: usize = 64;

/// What a bearer that opens nothing is told.
const NOT_A_BEARER: &str =
    "the reference was revoked, has expired, or never was one: ask for another one where it came from";

/// A public key, and what the holder of its secret half may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bearer {
    /// The guest's number of the object; 0 is the root.
    pub object: u64,
    /// The log time from which on it opens nothing, in milliseconds since 1970. `None`: it does not expire.
    pub expires_ms: Option<u64>,
    /// Its purpose, in its maker's words. For people.
    pub note: String,
    /// Set if a holder had it made.
    pub kept: Option<Kept>,
}

impl Bearer {
    /// One that opens the root for ever.
    pub fn to_root() -> Bearer {
        Bearer { object: 0, expires_ms: None, note: String::new(), kept: None }
    }
}

/// Where a bearer that a holder had made comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The bearer by which its maker came in.
    pub through: [u8; 32],
    /// The bearer that it is counted for: the first one of the line, which no holder had made.
    pub account: [u8; 32],
}

/// What happens when log time reaches a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Expiry {
    Bearer([u8; 32]),
    Grant(VatId),
}

/// The tables of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entrances {
    bearers: BTreeMap<[u8; 32], Bearer>,
    /// How many objects are kept on the account of a bearer.
    kept: BTreeMap<[u8; 32], u64>,
    /// Until when grants count that do not count for ever.
    grants: BTreeMap<VatId, u64>,
    expiries: BTreeSet<(u64, Expiry)>,
    now_ms: u64,
    /// Grows with each change of `bearers` in this process.
    #[serde(skip)]
    version: u64,
}

/// Public keys and the numbers of the objects that they open: enough to tell whether a stranger comes in by one.
pub type BearerKeys = BTreeMap<[u8; 32], u64>;

// What the log and the operators say.
impl Comms {
    /// Lets `to` use the root, until log time reaches `expires_ms` if that is given. The last word on a vat counts.
    ///
    /// # Errors
    /// The vat cannot become a peer, or the moment has passed.
    pub fn grant(&mut self, to: &VatId, expires_ms: Option<u64>) -> Result<(), &'static str> {
        if let Some(refusal) = self.refuses_peer(to).or_else(|| self.has_passed(expires_ms)) {
            return Err(refusal);
        }
        self.forget_grant_expiry(to);
        if let Some(expires_ms) = expires_ms {
            self.entrances.grants.insert(*to, expires_ms);
            self.entrances.expiries.insert((expires_ms, Expiry::Grant(*to)));
        }
        self.peer_mut(to).granted = true;
        Ok(())
    }

    /// Lets `from` no longer use the root by a grant, or because the root was given to it. A bearer that it redeemed goes on.
    pub fn revoke(&mut self, from: &VatId) {
        self.forget_grant_expiry(from);
        if let Some(peer) = self.peers.get_mut(from) {
            peer.granted = false;
        }
    }

    pub(super) fn forget_grant_expiry(&mut self, vat: &VatId) {
        if let Some(before) = self.entrances.grants.remove(vat) {
            self.entrances.expiries.remove(&(before, Expiry::Grant(*vat)));
        }
    }

    /// Until when the grant of a vat counts, if it expires.
    pub fn grant_expires_ms(&self, vat: &VatId) -> Option<u64> {
        self.entrances.grants.get(vat).copied()
    }

    /// Enters a bearer key for an own object: the root, or one that some peer already holds.
    ///
    /// # Errors
    /// The key is in use, the note is too long, the object is not known, the moment has passed, or there are too many.
    pub fn add_bearer(&mut self, key: [u8; 32], bearer: Bearer) -> Result<(), &'static str> {
        if self.entrances.bearers.contains_key(&key) {
            return Err("this bearer key is in use already");
        }
        if let Some(refusal) = self.has_passed(bearer.expires_ms) {
            return Err(refusal);
        }
        if bearer.note.len() > MAX_NOTE_BYTES || bearer.note.chars().any(char::is_control) {
            return Err("a note has at most 64 bytes and no control characters");
        }
        if bearer.object != 0 && !self.holders.contains_key(&bearer.object) {
            return Err("nobody holds an object of that number; `vat objects` lists those that are held");
        }
        match bearer.kept {
            None if self.own_bearers() >= MAX_BEARERS => return Err("the vat has as many bearer keys as it can"),
            None => {}
            Some(kept) => *self.entrances.kept.entry(kept.account).or_default() += 1,
        }
        self.hold_object(bearer.object);
        if let Some(expires_ms) = bearer.expires_ms {
            self.entrances.expiries.insert((expires_ms, Expiry::Bearer(key)));
        }
        self.entrances.bearers.insert(key, bearer);
        self.entrances.version += 1;
        Ok(())
    }

    /// Returns how many bearers no holder had made.
    fn own_bearers(&self) -> usize {
        let kept: u64 = self.entrances.kept.values().sum();
        self.entrances.bearers.len().saturating_sub(usize::try_from(kept).unwrap_or(usize::MAX))
    }

    /// Removes a bearer, and with it what was kept through it: peers that redeemed any of these may use the objects no more. Returns how
    /// many were removed.
    pub fn revoke_bearer(&mut self, key: &[u8; 32]) -> usize {
        if !self.entrances.bearers.contains_key(key) {
            return 0;
        }
        let mut made_through: BTreeMap<[u8; 32], Vec<[u8; 32]>> = BTreeMap::new();
        for (child, bearer) in &self.entrances.bearers {
            if let Some(kept) = bearer.kept {
                made_through.entry(kept.through).or_default().push(*child);
            }
        }
        let (mut gone, mut next) = (BTreeSet::new(), vec![*key]);
        while let Some(key) = next.pop() {
            if gone.insert(key) {
                next.extend(made_through.remove(&key).unwrap_or_default());
            }
        }
        self.remove_bearers(&gone);
        gone.len()
    }

    fn remove_bearers(&mut self, gone: &BTreeSet<[u8; 32]>) {
        for key in gone {
            let Some(bearer) = self.entrances.bearers.remove(key) else { continue };
            if let Some(expires_ms) = bearer.expires_ms {
                self.entrances.expiries.remove(&(expires_ms, Expiry::Bearer(*key)));
            }
            if let Some(Kept { account, .. }) = bearer.kept
                && let Some(count) = self.entrances.kept.get_mut(&account)
            {
                *count -= 1;
                if *count == 0 {
                    self.entrances.kept.remove(&account);
                }
            }
            self.release_object(bearer.object);
        }
        for peer in self.peers.values_mut() {
            peer.redeemed.retain(|key, _| !gone.contains(key));
        }
        self.entrances.version += 1;
    }

    /// The bearers, by their public keys.
    pub fn bearers(&self) -> &BTreeMap<[u8; 32], Bearer> {
        &self.entrances.bearers
    }

    /// Returns what tells strangers with a bearer from others.
    pub fn bearer_keys(&self) -> BearerKeys {
        self.entrances.bearers.iter().map(|(key, bearer)| (*key, bearer.object)).collect()
    }

    /// Grows with each change of the bearers in this process. Not a part of the state.
    pub fn bearers_version(&self) -> u64 {
        self.entrances.version
    }
}

// Time.
impl Comms {
    fn has_passed(&self, expires_ms: Option<u64>) -> Option<&'static str> {
        expires_ms
            .filter(|expires| *expires <= self.entrances.now_ms)
            .map(|_| "the moment at which it would expire has passed")
    }

    /// Log time has reached this moment: what expires by then counts no more.
    pub fn pass_time(&mut self, now_ms: u64) {
        self.entrances.now_ms = self.entrances.now_ms.max(now_ms);
        while let Some((at, expiry)) = self.entrances.expiries.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.entrances.expiries.remove(&(at, expiry));
            match expiry {
                Expiry::Bearer(key) => drop(self.revoke_bearer(&key)),
                Expiry::Grant(vat) => self.revoke(&vat),
            }
        }
    }

    /// The next moment at which something expires.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.entrances.expiries.first().map(|(at, _)| *at)
    }
}

// What peers say.
impl Comms {
    /// Returns whether `message`, the first that `from` says, is the use of a bearer.
    pub(super) fn comes_by_bearer(&self, from: &VatId, message: &[u8]) -> bool {
        match wire::Op::decode(message) {
            Ok(wire::Op::Redeem { object, bearer, signature, .. }) => {
                self.entrances.bearers.get(&bearer).is_some_and(|entry| entry.object == object)
                    && is_signed(&self.vat, from, object, &bearer, &signature)
            }
            _ => false,
        }
    }

    /// A bearer that opens nothing is an answer to `result`, if there is one, and else does nothing: the holder finds out when the object
    /// does not answer.
    pub(super) fn receive_redeem(
        &mut self,
        from: &VatId,
        object: u64,
        bearer: [u8; 32],
        signature: &[u8],
        result: Option<u64>,
    ) -> Result<Inbound, Broken> {
        let result = result.map(|id| self.import_promise(from, id, State::Guest, Party::Us)).transpose()?;
        let redeemed = self.try_redeem(from, object, bearer, signature);
        let Some(slot) = result else { return Ok(Inbound::Done) };
        if let Err(refusal) = redeemed {
            self.reject(slot, refusal);
            return Ok(Inbound::Done);
        }
        if let Some(promise) = self.promises.get_mut(&slot) {
            promise.stands_for = Some(object);
            promise.bearer = Some(bearer);
        }
        // What is said in answer to this is not given in any other way.
        let before = self.peer_mut(from).was_given(object);
        self.settled(slot, resolution_to(Slot::VatObject(object)));
        self.peer_mut(from).set_given(object, before);
        Ok(Inbound::Done)
    }

    fn try_redeem(
        &mut self,
        from: &VatId,
        object: u64,
        bearer: [u8; 32],
        signature: &[u8],
    ) -> Result<(), &'static str> {
        if self.exited {
            return Err(EXITED);
        }
        let opens = self.entrances.bearers.get(&bearer).is_some_and(|entry| entry.object == object);
        if !opens || !is_signed(&self.vat, from, object, &bearer, signature) {
            return Err(NOT_A_BEARER);
        }
        let redeemed = &mut self.peer_mut(from).redeemed;
        if redeemed.len() >= MAX_REDEEMED && !redeemed.contains_key(&bearer) {
            return Err("this vat has used as many references as one may at a time");
        }
        redeemed.insert(bearer, object);
        Ok(())
    }

    /// Keeps an object that the peer holds under a new key. Answers with the object's number, which goes into the text of the reference.
    pub(super) fn receive_keep(
        &mut self,
        from: &VatId,
        object: u64,
        key: [u8; 32],
        through: [u8; 32],
        result: u64,
    ) -> Result<Inbound, Broken> {
        let slot = self.import_promise(from, result, State::Guest, Party::Us)?;
        match self.try_keep(from, object, key, through) {
            Ok(object) => self.answer(slot, &Value::Number(object as f64)),
            Err(refusal) => self.reject(slot, refusal),
        }
        Ok(Inbound::Done)
    }

    fn try_keep(&mut self, from: &VatId, id: u64, key: [u8; 32], through: [u8; 32]) -> Result<u64, &'static str> {
        if self.exited {
            return Err(EXITED);
        }
        let Some(peer) = self.peers.get(from) else { return Err(NOT_A_BEARER) };
        let Some(object) = peer.exported(id) else { return Err(NOT_HELD) };
        let parent = self.entrances.bearers.get(&through).filter(|_| peer.redeemed.contains_key(&through));
        let Some(parent) = parent else {
            return Err("an object is kept through a reference that the same client has used, and this is none");
        };
        let account = parent.kept.map_or(through, |kept| kept.account);
        let kept = self.entrances.kept.get(&account).copied().unwrap_or(0);
        let in_all: u64 = self.entrances.kept.values().sum();
        if kept >= MAX_KEPT || in_all >= MAX_KEPT_IN_ALL as u64 {
            return Err(
                "as many references are kept through this one as may be; let some of them go (`vat ref forget`)",
            );
        }
        let expires_ms = parent.expires_ms;
        let kept = Some(Kept { through, account });
        self.add_bearer(key, Bearer { object, expires_ms, note: String::new(), kept })?;
        Ok(object)
    }

    /// Lets go of what a holder had kept. What was kept through it goes on, and depends on what it depended on.
    pub(super) fn receive_discard(&mut self, from: &VatId, bearer: [u8; 32], result: u64) -> Result<Inbound, Broken> {
        let slot = self.import_promise(from, result, State::Guest, Party::Us)?;
        let redeemed = self.peers.get(from).is_some_and(|peer| peer.redeemed.contains_key(&bearer));
        let kept = self.entrances.bearers.get(&bearer).filter(|_| redeemed).map(|entry| entry.kept);
        match kept {
            None => self.reject(slot, NOT_A_BEARER),
            Some(None) => self.reject(slot, "this reference was not kept by a holder; the vat's members revoke it"),
            Some(Some(Kept { through, .. })) => {
                for entry in self.entrances.bearers.values_mut() {
                    if let Some(kept) = entry.kept.as_mut().filter(|kept| kept.through == bearer) {
                        kept.through = through;
                    }
                }
                self.remove_bearers(&BTreeSet::from([bearer]));
                self.answer(slot, &Value::Undefined);
            }
        }
        Ok(Inbound::Done)
    }

    /// Settles a promise that the guest has not heard of to data.
    fn answer(&mut self, slot: Slot, value: &Value) {
        self.settled(slot, Resolution::Fulfilled(CapData::data(value)));
    }
}

const NOT_HELD: &str = "the client does not hold that object";

/// Returns whether `message`, the first that `from` says to `vat`, uses one of these bearers. That is how a vat that nobody named here comes in.
pub fn is_redemption(vat: &VatId, bearers: &BearerKeys, from: &VatId, message: &[u8]) -> bool {
    match wire::Op::decode(message) {
        Ok(wire::Op::Redeem { object, bearer, signature, .. }) => {
            bearers.get(&bearer) == Some(&object) && is_signed(vat, from, object, &bearer, &signature)
        }
        _ => false,
    }
}

fn is_signed(vat: &VatId, from: &VatId, object: u64, bearer: &[u8; 32], signature: &[u8]) -> bool {
    let payload = redeem_payload(vat, from, object);
    VerifyingKey::from_bytes(bearer).is_ok_and(|key| {
        Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(&payload, &signature).is_ok())
    })
}

#[cfg(test)]
mod tests;
