//! Makes certificates of shares. Pure: shares go in; certificates and evidence come out.
//!
//! Invariants: a certificate has only verified signatures of different members of the statement's epoch. A share counts
//! only for the statement that it signs. Two verified signatures of one member for one block of an epoch are an equivocation. A
//! verified signature that differs from this replica's own statement is a disagreement, which accuses nobody. Each is reported once
//! for each member and block. A threshold of signatures against the own statement is a divergence. Everything is bounded.

mod epochs;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

use crate::proof::certificate::{Certificate, MemberSignature, Statement, verify_certificate};
use crate::proof::equivocation::{Disagreement, Divergence, Equivocation, Signed};
use crate::proof::membership::{Membership, MembershipCertificate};
use crate::proof::tally::Tally;
use epochs::EpochRound;
use quorate_ids::{Hash, HostId, VatId};

/// How many blocks ahead of the own ones shares are kept for. A member that is further behind asks for them when it gets there.
const MAX_AHEAD: u64 = 4_096;
/// Certified blocks that are remembered, to notice late contradictions.
const MAX_CERTIFIED: usize = 1_024;

/// A signature with what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Share {
    Statement(Statement, MemberSignature),
    Membership(Membership, MemberSignature),
}

impl Share {
    pub(crate) fn signer(&self) -> HostId {
        match self {
            Share::Statement(_, signature) | Share::Membership(_, signature) => signature.key,
        }
    }
}

/// What follows from a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A statement of this replica is certified.
    Certified(Certificate),
    /// The membership of the next epoch is certified.
    Reconfigured(MembershipCertificate),
    /// A member signed two statements for one block.
    Equivocation(Equivocation),
    /// A member signed two memberships for one epoch.
    MembershipEquivocation(Equivocation<Membership>),
    /// A member signed something else than what this replica computed. It accuses nobody.
    Disagreement(Disagreement),
    /// A threshold of members contradicts: this replica has diverged.
    Diverged(Divergence),
    /// The share was not usable.
    Refused,
}

struct Own {
    statement: Statement,
    hash: Hash,
    payload: Vec<u8>,
    since: Instant,
    asked: Instant,
    signature: Option<MemberSignature>,
}

struct Received {
    statement: Statement,
    hash: Hash,
    signature: MemberSignature,
    verified: bool,
}

#[derive(Default)]
struct Round {
    own: Option<Own>,
    shares: BTreeMap<HostId, Received>,
    /// Members whose disagreement, and whose equivocation, was reported.
    disagreed: BTreeSet<HostId>,
    convicted: BTreeSet<HostId>,
    certified: bool,
}

/// See the head of the module.
pub(crate) struct Shares {
    vat: VatId,
    memberships: BTreeMap<u64, Membership>,
    rounds: BTreeMap<u64, Round>,
    /// The blocks with an own statement that lacks its certificate. Rounds are kept long after, by the thousand.
    open: BTreeSet<u64>,
    epochs: BTreeMap<u64, EpochRound>,
    floor: u64,
    /// The highest block that this replica has computed.
    reached: u64,
    certified_count: usize,
    latest: Latest,
}

/// The statement of the highest block that each other member has signed. Only the owner checks such a signature, since it
/// concerns the owner alone.
pub(crate) type Latest = BTreeMap<HostId, (Statement, MemberSignature)>;

impl Shares {
    pub(crate) fn new(vat: VatId) -> Self {
        Self {
            vat,
            memberships: BTreeMap::new(),
            rounds: BTreeMap::new(),
            open: BTreeSet::new(),
            epochs: BTreeMap::new(),
            floor: 0,
            reached: 0,
            certified_count: 0,
            latest: Latest::new(),
        }
    }

    /// What others had signed when this replica last noted it.
    pub(crate) fn remember(&mut self, latest: Latest) {
        self.latest = latest;
    }

    /// The statement of the highest block that each other member has signed, as far as is known here.
    pub(crate) fn latest(&self) -> &Latest {
        &self.latest
    }

    /// Takes note of what a member has signed. Returns whether it is later than what was known.
    pub(crate) fn note(&mut self, statement: &Statement, signature: MemberSignature) -> bool {
        let later = self.latest.get(&signature.key).is_none_or(|(known, _)| known.block < statement.block);
        if later {
            self.latest.insert(signature.key, (statement.clone(), signature));
        }
        later
    }

    /// Learns who signs in an epoch. What is certified stays.
    pub(crate) fn know(&mut self, membership: Membership) {
        if self.epochs.get(&membership.epoch).is_none_or(|round| round.certified.is_none()) {
            self.memberships.insert(membership.epoch, membership);
        }
    }

    /// The certified membership of an epoch, with its signatures.
    pub(crate) fn certified_membership(&self, epoch: u64) -> Option<&MembershipCertificate> {
        self.epochs.get(&epoch)?.certified.as_ref()
    }

    /// The membership of an epoch.
    pub(crate) fn membership(&self, epoch: u64) -> Option<&Membership> {
        self.memberships.get(&epoch)
    }

    /// Blocks before this one need no certificate any more: a certified checkpoint covers them.
    pub(crate) fn raise_floor(&mut self, block: u64) {
        self.floor = self.floor.max(block);
        self.rounds = self.rounds.split_off(&self.floor);
        self.open = self.open.split_off(&self.floor);
        self.certified_count = self.rounds.values().filter(|round| round.certified).count();
    }

    /// Enters what this replica computed, with its signature if it may sign (already).
    pub(crate) fn own(
        &mut self,
        statement: Statement,
        signature: Option<MemberSignature>,
        now: Instant,
    ) -> Vec<Verdict> {
        let block = statement.block;
        if block < self.floor {
            return Vec::new();
        }
        self.reached = self.reached.max(block);
        let round = self.rounds.entry(block).or_default();
        match &mut round.own {
            Some(own) => own.signature = own.signature.or(signature),
            none => {
                let payload = statement.payload();
                let hash = Hash::of(&payload);
                *none = Some(Own { statement, hash, payload, since: now, asked: now, signature });
                self.open.insert(block);
            }
        }
        self.settle(block)
    }

    /// The statement that this replica computed for a block, and its signature.
    pub(crate) fn own_share(&self, block: u64) -> Option<Share> {
        let own = self.rounds.get(&block)?.own.as_ref()?;
        Some(Share::Statement(own.statement.clone(), own.signature?))
    }

    /// Returns when the block's statement was computed here.
    pub(crate) fn since(&self, block: u64) -> Option<Instant> {
        Some(self.rounds.get(&block)?.own.as_ref()?.since)
    }

    /// A share from the member that signed it.
    pub(crate) fn share(&mut self, share: Share) -> Vec<Verdict> {
        match share {
            Share::Statement(statement, signature) => self.statement_share(statement, signature),
            Share::Membership(membership, signature) => self.membership_share(membership, signature),
        }
    }

    fn statement_share(&mut self, statement: Statement, signature: MemberSignature) -> Vec<Verdict> {
        let block = statement.block;
        if block < self.floor {
            return Vec::new();
        }
        let known = self.memberships.get(&statement.epoch);
        let allowed = match known {
            Some(membership) => membership.contains(&signature.key),
            // An epoch that is not known here yet: kept, and checked when it is.
            None => self.memberships.last_key_value().is_some_and(|(newest, _)| statement.epoch > *newest),
        };
        if statement.vat != self.vat || !allowed {
            return vec![Verdict::Refused];
        }
        if block > self.reached.max(self.floor) + MAX_AHEAD {
            return vec![Verdict::Refused];
        }
        self.note(&statement, signature);
        let hash = statement.hash();
        let round = self.rounds.entry(block).or_default();
        if let Some(before) = round.shares.get(&signature.key) {
            return if before.hash == hash { Vec::new() } else { second_share(round, statement, signature) };
        }
        let received = Received { statement, hash, signature, verified: false };
        round.shares.insert(signature.key, received);
        self.settle(block)
    }

    /// Takes a signature of a member, shown by any other member. It counts only as the other half of an equivocation. Also
    /// returns this replica's signature of that member for the same place, if it differs.
    pub(crate) fn compare(&mut self, theirs: &Signed<Statement>) -> (Option<Signed<Statement>>, Vec<Verdict>) {
        let statement = &theirs.content;
        let member = self.memberships.get(&statement.epoch).is_some_and(|members| members.contains(&theirs.signer()));
        if statement.vat != self.vat || !member {
            return (None, vec![Verdict::Refused]);
        }
        let Some(round) = self.rounds.get_mut(&statement.block) else { return (None, Vec::new()) };
        let Some(before) = round.shares.get(&theirs.signer()) else { return (None, Vec::new()) };
        if before.statement.epoch != statement.epoch || before.statement == *statement {
            return (None, Vec::new());
        }
        let before = Signed { content: before.statement.clone(), signature: before.signature };
        let verdicts = equivocation(round, before.clone(), theirs.clone());
        (Some(before), verdicts)
    }

    /// Draws the conclusions for a block.
    fn settle(&mut self, block: u64) -> Vec<Verdict> {
        let Some(round) = self.rounds.get_mut(&block) else { return Vec::new() };
        let Some(own) = &round.own else { return Vec::new() };
        let Some(membership) = self.memberships.get(&own.statement.epoch) else { return Vec::new() };
        let threshold = membership.threshold;
        let mut verdicts = Vec::new();
        let mut agreeing = Tally::default();
        agreeing.extend(own.signature.filter(|signature| membership.contains(&signature.key)));
        let mut bad = Vec::new();
        for (key, received) in &mut round.shares {
            let agrees = received.hash == own.hash;
            // A share that agrees is verified only while it is needed; one that does not, always: it is evidence.
            if agrees && (round.certified || agreeing.is_complete(threshold) || agreeing.has(key)) {
                continue;
            }
            if !membership.contains(key) {
                bad.push(*key);
                continue;
            }
            if !received.verified {
                let payload = if agrees { own.payload.clone() } else { received.statement.payload() };
                if received.signature.verify(&payload).is_err() {
                    bad.push(*key);
                    continue;
                }
                received.verified = true;
            }
            if agrees {
                agreeing.add(received.signature);
            } else if round.disagreed.insert(*key) {
                let theirs = Signed { content: received.statement.clone(), signature: received.signature };
                verdicts.push(Verdict::Disagreement(Disagreement { own: own.statement.clone(), theirs }));
            }
        }
        for key in bad {
            round.shares.remove(&key);
            verdicts.push(Verdict::Refused);
        }
        if !round.certified && agreeing.is_complete(threshold) {
            round.certified = true;
            self.open.remove(&block);
            self.certified_count += 1;
            let certificate = Certificate { statement: own.statement.clone(), signatures: agreeing.signatures() };
            verdicts.push(Verdict::Certified(certificate));
        }
        verdicts.extend(diverged(round, membership));
        self.forget_old();
        verdicts
    }

    /// A complete certificate from anybody.
    pub(crate) fn certificate(&mut self, certificate: Certificate) -> Vec<Verdict> {
        let block = certificate.statement.block;
        let Some(round) = self.rounds.get_mut(&block) else { return Vec::new() };
        let Some(own) = &round.own else { return Vec::new() };
        let own_key = own.signature.map(|signature| signature.key);
        let own = own.statement.clone();
        let Some(membership) = self.memberships.get(&certificate.statement.epoch) else { return Vec::new() };
        let agrees = certificate.statement == own;
        let is_known = |signature: &MemberSignature| {
            let share = round.shares.get(&signature.key);
            Some(signature.key) == own_key || share.is_some_and(|share| share.statement == certificate.statement)
        };
        if agrees && round.certified && certificate.signatures.iter().all(is_known) {
            return Vec::new();
        }
        if certificate.statement.epoch < own.epoch {
            // Who signed in an earlier epoch has no say in what came after it, and may have been very few.
            return vec![Verdict::Refused];
        }
        if verify_certificate(&certificate, membership).is_err() {
            return vec![Verdict::Refused];
        }
        let mut verdicts = enter_signatures(round, &certificate);
        if !agrees {
            verdicts.push(Verdict::Diverged(Divergence::Statement { certificate, own }));
            return verdicts;
        }
        if !round.certified {
            round.certified = true;
            self.open.remove(&block);
            self.certified_count += 1;
            verdicts.push(Verdict::Certified(certificate));
            self.forget_old();
        }
        verdicts
    }

    /// Statements that lack a certificate.
    pub(crate) fn uncertified(&self) -> usize {
        self.open.len()
    }

    /// When the oldest statement that lacks its certificate was computed here.
    pub(crate) fn uncertified_since(&self) -> Option<Instant> {
        self.since(*self.open.first()?)
    }

    /// Up to `limit` blocks whose shares should be asked for (again), oldest first.
    pub(crate) fn overdue(&mut self, now: Instant, patience: Duration, limit: usize) -> Vec<u64> {
        let mut overdue = Vec::new();
        for block in &self.open {
            if overdue.len() >= limit {
                break;
            }
            let own = self.rounds.get_mut(block).and_then(|round| round.own.as_mut());
            if let Some(own) = own.filter(|own| now.duration_since(own.asked) >= patience) {
                own.asked = now;
                overdue.push(*block);
            }
        }
        overdue
    }

    fn forget_old(&mut self) {
        while self.certified_count > MAX_CERTIFIED {
            let oldest = self.rounds.iter().find(|(_, round)| round.certified).map(|(block, _)| *block);
            let Some(oldest) = oldest else { return };
            self.rounds.remove(&oldest);
            self.certified_count -= 1;
        }
    }
}

/// A second, different share of a member for a block.
fn second_share(round: &mut Round, statement: Statement, signature: MemberSignature) -> Vec<Verdict> {
    let Some(before) = round.shares.get(&signature.key) else { return Vec::new() };
    if before.statement.epoch != statement.epoch {
        // The first one stands. What one may sign of a block in two epochs is no offence that could be proven.
        return vec![Verdict::Refused];
    }
    let before = Signed { content: before.statement.clone(), signature: before.signature };
    equivocation(round, before, Signed { content: statement, signature })
}

/// Enters the good signatures of a certificate as what their members signed.
fn enter_signatures(round: &mut Round, certificate: &Certificate) -> Vec<Verdict> {
    let statement = &certificate.statement;
    let hash = statement.hash();
    let mut verdicts = Vec::new();
    for signature in &certificate.signatures {
        match round.shares.get(&signature.key) {
            None => {
                let received = Received { statement: statement.clone(), hash, signature: *signature, verified: true };
                round.shares.insert(signature.key, received);
            }
            Some(before) if before.hash == hash => {}
            Some(_) => verdicts.extend(second_share(round, statement.clone(), *signature)),
        }
    }
    verdicts
}

/// Two different statements of one place. Nothing is said of anybody before both signatures are good.
fn equivocation(round: &mut Round, one: Signed<Statement>, other: Signed<Statement>) -> Vec<Verdict> {
    let is_good = |signed: &Signed<Statement>| signed.signature.verify(&signed.content.payload()).is_ok();
    if !is_good(&one) || !is_good(&other) {
        return vec![Verdict::Refused];
    }
    let member = one.signer();
    let fresh = round.convicted.insert(member);
    fresh.then(|| Verdict::Equivocation(Equivocation::of(one, other))).into_iter().collect()
}

/// Returns whether a threshold of verified shares agree with each other and not with the own statement.
fn diverged(round: &Round, membership: &Membership) -> Option<Verdict> {
    let own = round.own.as_ref()?;
    let mut groups: BTreeMap<Hash, (&Statement, Tally)> = BTreeMap::new();
    for received in round.shares.values().filter(|received| {
        received.verified && received.hash != own.hash && received.statement.epoch == own.statement.epoch
    }) {
        let (_, group) = groups.entry(received.hash).or_insert_with(|| (&received.statement, Tally::default()));
        group.add(received.signature);
    }
    let (statement, group) = groups.into_values().find(|(_, group)| group.is_complete(membership.threshold))?;
    let certificate = Certificate { statement: statement.clone(), signatures: group.signatures() };
    Some(Verdict::Diverged(Divergence::Statement { certificate, own: own.statement.clone() }))
}
