//! Recovery of a vat that has lost too many members: who may say so, and what each of those that are left does.

use std::sync::Arc;

use super::*;
use crate::codec;
use crate::error::StoreError;
use crate::error::{CertificateError, RecoveryError};
use crate::order::frames::{WireContent, WireEntry, WireVote};
use crate::proof::membership::{Recovered, verify_membership};
use crate::raft::log::LogStore;
use crate::replica::{agree_to_recovery, carry_out_recovery, recovery_of, recovery_offer};
use crate::state::LogPosition;
use crate::state::block::{Block, Control, LogContent};
use crate::stats::StatsCell;
use crate::storage::{Family, Flushed, Marks, MemoryStore, Record, Store, VOTE, VatStore, Write};

const AFTER: Recovered = Recovered { block: 40, block_term: 3, chain: Hash([8; 32]), term: 6 };

fn recovered(members: u8, threshold: u16, survivors: &[u8]) -> Membership {
    let survivors: Vec<HostId> = survivors.iter().map(|seed| host(*seed)).collect();
    genesis(members, threshold).membership().recovery(&survivors, AFTER).unwrap()
}

#[test]
fn so_many_say_that_the_others_are_lost_that_one_of_them_is_honest() {
    for (members, threshold, survivors, signers, wanted) in [
        (4, 3, &[1, 2][..], &[1, 2][..], Ok(2)),
        (4, 3, &[1], &[1], Err("1 good signatures, 2 are needed")),
        (4, 3, &[1], &[1, 2], Ok(1)),
        (3, 2, &[1], &[1], Err("1 good signatures, 2 are needed")),
        (3, 2, &[1], &[1, 3], Ok(1)),
        (7, 5, &[1, 2, 3], &[1, 2, 3], Ok(3)),
        (7, 5, &[1, 2, 3, 4], &[1, 2, 3, 4], Ok(4)),
        (7, 5, &[1, 2], &[1, 2], Err("2 good signatures, 3 are needed")),
        // Each of those that go on has to agree.
        (7, 5, &[1, 2, 3, 4], &[1, 2, 3], Err("has not signed its own admission")),
        (4, 3, &[1, 2], &[1, 2, 2], Err("two signatures of")),
        (4, 3, &[1, 2], &[1, 2, 9], Err("who is not a member")),
    ] {
        let before = genesis(members, threshold).membership();
        let next = recovered(members, threshold, survivors);
        let found = verify_membership(&certify(next.clone(), signers), &before).map_err(|error| error.to_string());
        let told = format!("{signers:?} of {members}, {survivors:?} go on: {found:?}");
        match wanted {
            Ok(threshold) => assert_eq!((found, next.threshold), (Ok(()), threshold), "{told}"),
            Err(part) => assert!(found.is_err_and(|error| error.contains(part)), "{told}"),
        }
    }
}

#[test]
fn a_recovery_brings_in_nobody_and_its_mark_can_not_be_taken_off() {
    let before = genesis(4, 3).membership();
    let good = recovered(4, 3, &[1, 2]);
    let verify = |membership: Membership, seeds: &[u8]| verify_membership(&certify(membership, seeds), &before);
    assert_eq!(verify(good.clone(), &[1, 2]), Ok(()));
    let plain = Membership { recovered: None, ..good.clone() };
    assert_eq!(verify(plain.clone(), &[1, 2]), Err(CertificateError::BelowThreshold { found: 2, needed: 3 }));
    let mut unmarked = certify(good.clone(), &[1, 2]);
    unmarked.membership = plain;
    unmarked.signatures.push(sign(3, b"something"));
    assert!(verify_membership(&unmarked, &before).is_err(), "a signature is of the mark, too");
    let stranger = Membership { members: vec![member(1), member(9)], ..good.clone() };
    assert!(verify(stranger.clone(), &[1, 2]).is_err());
    assert!(verify(stranger, &[1, 2, 9]).is_err());
    let weaker = Membership { threshold: 2, ..recovered(7, 5, &[1, 2, 3]) };
    let seven = genesis(7, 5).membership();
    let weak = verify_membership(&certify(weaker, &[1, 2, 3]), &seven).unwrap_err().to_string();
    assert!(weak.contains("must be at least 3"), "{weak}");
    let other = Membership { previous: Hash([9; 32]), ..good };
    assert_eq!(verify(other, &[1, 2]), Err(CertificateError::BrokenChain(1)));
}

#[test]
fn the_state_takes_a_recovery_in_its_place_and_goes_on_from_it() {
    let mut state = ReplicatedState::of_genesis(&genesis(4, 3));
    state.admit(&admission(&state, Change::Add(member(7)), None, &[1, 2, 3]), 30).unwrap();
    let certificate = certify(recovered(4, 3, &[1, 2]), &[1, 2]);
    let forged = certify(recovered(4, 3, &[1]), &[1]);
    let before = state.clone();
    for (certificate, block) in [(&certificate, 40), (&certificate, 42), (&forged, 41)] {
        assert!(state.recover(certificate, block).is_err());
        assert_eq!(state, before);
    }
    let mut foreseen = state.clone();
    let block = Block::of_control(Control::Recover(certificate.clone()));
    foreseen.foresee(41, &LogContent::Block(block.encode()));
    let ended = state.recover(&certificate, 41).unwrap();
    assert_eq!(foreseen, state);
    assert_eq!((ended.epoch, state.membership.epoch, &state.pending), (0, 1, &None));
    assert_eq!(state.voters(), [1, 2].into());
    // The next change is as any: the present members' signatures prove the epoch, few as they are.
    state.admit(&admission(&state, Change::Add(member(8)), None, &[1, 2]), 50).unwrap();
    let next = Activation { present: certificate.signatures.clone(), ..activation(&mut state, &[1, 2]) };
    assert!(state.clone().activate(&Activation { present: next.present[..1].to_vec(), ..next.clone() }).is_err());
    state.activate(&next).unwrap();
    assert_eq!((state.membership.epoch, state.membership.members.len()), (2, 3));
}

/// A store of the member `seed` of four, of which three sign, whose log has so many entries of term 2.
fn store(seed: u8, entries: u64) -> Arc<dyn Store> {
    filled(Arc::new(MemoryStore::default()), seed, entries)
}

fn filled(store: Arc<dyn Store>, seed: u8, entries: u64) -> Arc<dyn Store> {
    let genesis = genesis(4, 3);
    let part = VatStore::new(Arc::clone(&store), genesis.vat_id());
    part.set_raft_id(u64::from(seed)).unwrap();
    let log = LogStore::open(part.clone(), Arc::new(StatsCell::default())).unwrap();
    log.begin(&WireEntry::first(RaftMembership::of_genesis(&genesis))).unwrap();
    let mut chain = log.chain(0).unwrap();
    for index in 1..=entries {
        let entry = WireEntry { log: LogPosition { term: 2, index }, content: WireContent::Blank };
        chain = crate::order::chain::next(&chain, &entry);
        let record = codec::encode(&(chain, &entry));
        part.write_synced(vec![Write::Put(Family::Log, part.numbered(index), record)]).unwrap();
    }
    part.write_synced(vec![part.put_named(VOTE, &WireVote { term: u64::from(seed), node: 1, committed: false })])
        .unwrap();
    store
}

#[test]
fn the_longest_log_goes_on_and_whoever_has_agreed_runs_no_more_until_then() {
    let genesis = genesis(4, 3);
    let (first, second) = (store(3, 9), store(4, 7));
    let offers = [(&first, 3), (&second, 4)].map(|(store, seed)| recovery_offer(store, &genesis, host(seed)).unwrap());
    let target = recovery_of(&offers).unwrap();
    let after = target.recovered.unwrap();
    assert_eq!((after.block, after.block_term, after.term), (9, 2, 5), "a term that nobody has heard of");
    assert_eq!(after.chain, offers[0].chain);

    // For the shorter log nobody gives up the longer one.
    let short = recovery_of(&offers[1..]).unwrap();
    let short = genesis.membership().recovery(&[host(3), host(4)], short.recovered.unwrap()).unwrap();
    let refused = agree_to_recovery(&first, &genesis, &key(3), &short).unwrap_err().to_string();
    assert!(refused.contains("would be given up"), "{refused}");
    let far = Recovered { term: u64::MAX, ..after };
    let far = genesis.membership().recovery(&[host(3), host(4)], far).unwrap();
    let refused = agree_to_recovery(&first, &genesis, &key(3), &far).unwrap_err().to_string();
    assert!(refused.contains("far beyond"), "{refused}");

    let part = |store: &Arc<dyn Store>| VatStore::new(Arc::clone(store), genesis.vat_id());
    assert_eq!(part(&first).fault().unwrap(), None);
    let signatures: Vec<MemberSignature> = [(&first, 3), (&second, 4)]
        .iter()
        .map(|(store, seed)| agree_to_recovery(store, &genesis, &key(*seed), &target).unwrap())
        .collect();
    assert!(part(&first).fault().unwrap().is_some_and(|fault| fault.starts_with("Q-C048")));
    assert_eq!(agree_to_recovery(&first, &genesis, &key(3), &target).unwrap(), signatures[0], "asked again, the same");
    // One membership is signed for an epoch, in all lives.
    let other = Recovered { term: 9, ..after };
    let other = genesis.membership().recovery(&[host(3), host(4)], other).unwrap();
    let twice = agree_to_recovery(&first, &genesis, &key(3), &other).unwrap_err().to_string();
    assert!(twice.contains("may sign one only"), "{twice}");

    let alone = MembershipCertificate { membership: target.clone(), signatures: signatures[..1].to_vec() };
    assert!(matches!(carry_out_recovery(&first, &genesis, host(3), &alone), Err(RecoveryError::Refused(_))));
    let certificate = MembershipCertificate { membership: target, signatures };
    for _ in 0..2 {
        carry_out_recovery(&first, &genesis, host(3), &certificate).unwrap();
        carry_out_recovery(&second, &genesis, host(4), &certificate).unwrap();
    }
    for (store, end) in [(&first, 11), (&second, 7)] {
        let part = part(store);
        assert_eq!(part.fault().unwrap(), None);
        assert_eq!(part.chain().unwrap(), std::slice::from_ref(&certificate));
        let log = LogStore::open(part, Arc::new(StatsCell::default())).unwrap();
        assert_eq!((log.ends().0, log.vote().unwrap().term), (end, 5));
    }
}

#[test]
fn offers_that_do_not_go_together_make_no_recovery() {
    let genesis = genesis(4, 3);
    let [first, second] =
        [(store(3, 9), 3), (store(4, 9), 4)].map(|(store, seed)| recovery_offer(&store, &genesis, host(seed)).unwrap());
    assert!(recovery_of(&[first.clone(), second.clone()]).is_ok());
    let mut differs = second.clone();
    differs.chain = Hash([9; 32]);
    let mut later = second.clone();
    later.present.threshold = 4;
    let mut stranger = second.clone();
    stranger.member = host(9);
    for wrong in [differs, later, stranger, first.clone()] {
        assert!(recovery_of(&[first.clone(), wrong.clone()]).is_err(), "{wrong:?}");
    }
    // A log that was rolled back knows not what it has acknowledged.
    let cut = store(3, 9);
    let part = VatStore::new(Arc::clone(&cut), genesis.vat_id());
    let promised = Statement { block: 12, ..statement(&genesis.membership(), 12) };
    part.write_synced(vec![part.put_watermark(&promised)]).unwrap();
    let lacks = recovery_offer(&cut, &genesis, host(3)).unwrap_err().to_string();
    assert!(lacks.contains("up to block 12"), "{lacks}");
}

/// A host's disk with its marks.
struct Disk {
    memory: MemoryStore,
    marks: Marks,
}

impl Store for Disk {
    fn write(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        self.memory.write(batch)
    }

    fn write_then(&self, batch: Vec<Write>, flushed: Flushed) -> Result<(), StoreError> {
        self.memory.write_then(batch, flushed)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.memory.sync()
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.get(family, key)
    }

    fn scan(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        self.memory.scan(family, from, to, limit)
    }

    fn keys(&self, family: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.memory.keys(family, from, to, limit)
    }

    fn last(&self, family: Family, from: &[u8], to: &[u8]) -> Result<Option<Record>, StoreError> {
        self.memory.last(family, from, to)
    }

    fn marks(&self) -> Option<&Marks> {
        Some(&self.marks)
    }
}

/// The disk of the member 3, whose log is ahead of the one of the member 4, with what both go on with.
struct Ahead {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    disk: Arc<Disk>,
    target: Membership,
}

impl Ahead {
    fn new() -> Ahead {
        let folder = tempfile::tempdir().unwrap();
        let marks = Marks::open(&folder.path().join("MARKS")).unwrap();
        let disk = Arc::new(Disk { memory: MemoryStore::default(), marks });
        let store = filled(Arc::clone(&disk) as Arc<dyn Store>, 3, 9);
        let offers = [(&store, 3), (&self::store(4, 7), 4)];
        let offers = offers.map(|(store, seed)| recovery_offer(store, &genesis(4, 3), host(seed)).unwrap());
        Ahead { folder, target: recovery_of(&offers).unwrap(), store, disk }
    }

    fn part(&self) -> VatStore {
        VatStore::new(Arc::clone(&self.store), genesis(4, 3).vat_id())
    }

    fn agree(&self) -> Result<MemberSignature, RecoveryError> {
        agree_to_recovery(&self.store, &genesis(4, 3), &key(3), &self.target)
    }

    fn certificate(&self) -> MembershipCertificate {
        certify(self.target.clone(), &[3, 4])
    }

    fn carry_out(&self) -> Result<(), RecoveryError> {
        carry_out_recovery(&self.store, &genesis(4, 3), host(3), &self.certificate())
    }

    /// The host dies, and starts again with what it had synced.
    fn restart(self) -> Ahead {
        let Ahead { folder, store, disk, target } = self;
        let memory = disk.memory.synced();
        drop((store, disk));
        let disk = Arc::new(Disk { memory, marks: Marks::open(&folder.path().join("MARKS")).unwrap() });
        Ahead { store: Arc::clone(&disk) as Arc<dyn Store>, folder, disk, target }
    }

    /// The end of the log, the term of the vote, and whether the replica stands still.
    fn found(&self) -> (u64, u64, bool) {
        let log = LogStore::open(self.part(), Arc::new(StatsCell::default())).unwrap();
        let promised = self.part().mark().unwrap().agreed.is_some();
        (log.ends().0, log.vote().unwrap().term, promised || self.part().fault().unwrap().is_some())
    }
}

#[test]
fn wherever_a_member_dies_it_keeps_its_word_and_does_the_rest_again() {
    let mut deaths = 0;
    for writes in 0.. {
        let mut ahead = Ahead::new();
        ahead.disk.memory.fail_after(writes);
        let died = ahead.agree().is_err();
        if died {
            deaths += 1;
            ahead = ahead.restart();
            let offer = recovery_offer(&ahead.store, &genesis(4, 3), host(3)).unwrap();
            let promised = ahead.part().mark().unwrap().agreed.is_some();
            assert_eq!(offer.agreed.is_some(), promised, "after {writes} writes");
            ahead.agree().unwrap();
        }
        ahead = ahead.restart();
        assert_eq!(ahead.found(), (9, 3, true));
        // Others show the chain around before this member has done its part.
        ahead.part().write_synced(vec![ahead.part().put_membership(&ahead.certificate())]).unwrap();
        ahead.disk.memory.fail_after(writes);
        let died = died | ahead.carry_out().is_err();
        ahead = ahead.restart();
        ahead.carry_out().unwrap_or_else(|error| panic!("not done again after {writes} writes: {error}"));
        assert_eq!(ahead.found(), (11, 5, false), "after {writes} writes");
        if !died {
            break;
        }
    }
    assert!(deaths > 3, "{deaths}");
}

#[test]
fn what_was_carried_out_ends_no_other_fault_and_no_later_promise() {
    let ahead = Ahead::new();
    ahead.agree().unwrap();
    ahead.carry_out().unwrap();
    ahead.part().set_fault("Q-C042 another one").unwrap();
    assert!(ahead.carry_out().is_err());
    assert_eq!(ahead.part().fault().unwrap().as_deref(), Some("Q-C042 another one"));
    ahead.part().write_synced(vec![ahead.part().delete_fault()]).unwrap();
    // One of the two is lost as well.
    let genesis = genesis(4, 3);
    let next = recovery_of(&[recovery_offer(&ahead.store, &genesis, host(3)).unwrap()]).unwrap();
    assert_eq!(next.epoch, 2);
    agree_to_recovery(&ahead.store, &genesis, &key(3), &next).unwrap();
    ahead.carry_out().unwrap();
    assert!(ahead.found().2, "the later promise stands");
}

#[test]
fn members_that_ran_on_meanwhile_sign_what_the_others_have_signed() {
    let genesis = genesis(4, 3);
    let ahead = Ahead::new();
    ahead.agree().unwrap();
    let other = store(4, 7);
    let vote = |term, committed| {
        let part = VatStore::new(Arc::clone(&other), genesis.vat_id());
        part.write_synced(vec![part.put_named(VOTE, &WireVote { term, node: 4, committed })]).unwrap();
        recovery_offer(&other, &genesis, host(4)).unwrap()
    };
    // Elections that nobody won.
    let later = vote(90, false);
    let own = recovery_offer(&ahead.store, &genesis, host(3)).unwrap();
    assert_eq!(recovery_of(&[later.clone(), own.clone()]).unwrap(), ahead.target);
    let refused = recovery_of(std::slice::from_ref(&own)).unwrap_err().to_string();
    assert!(refused.contains("bring member 4 back"), "{refused}");
    let mut another = later.clone();
    another.agreed = Some(genesis.membership().recovery(&[host(4)], AFTER).unwrap());
    assert!(recovery_of(&[another, own]).unwrap_err().to_string().contains("different recoveries"));
    agree_to_recovery(&other, &genesis, &key(4), &ahead.target).unwrap();
    carry_out_recovery(&other, &genesis, host(4), &ahead.certificate()).unwrap();
    let part = VatStore::new(Arc::clone(&other), genesis.vat_id());
    let log = LogStore::open(part, Arc::new(StatsCell::default())).unwrap();
    assert_eq!(log.vote().unwrap().term, 90, "a vote is not taken back");
    // One that a leader won: the vat was not lost then.
    let other = store(4, 7);
    let part = VatStore::new(Arc::clone(&other), genesis.vat_id());
    part.write_synced(vec![part.put_named(VOTE, &WireVote { term: 90, node: 2, committed: true })]).unwrap();
    let refused = agree_to_recovery(&other, &genesis, &key(4), &ahead.target).unwrap_err().to_string();
    assert!(refused.contains("a leader was elected"), "{refused}");
}

#[test]
fn nobody_signs_for_a_log_that_lacks_what_was_certified() {
    let genesis = genesis(4, 3);
    let signed = store(4, 9);
    let part = VatStore::new(Arc::clone(&signed), genesis.vat_id());
    part.write_synced(vec![part.put_watermark(&statement(&genesis.membership(), 8))]).unwrap();
    let lie = |block| {
        let lie = Recovered { block, block_term: 77, chain: Hash([8; 32]), term: 78 };
        let target = genesis.membership().recovery(&[host(3), host(4)], lie).unwrap();
        agree_to_recovery(&signed, &genesis, &key(4), &target).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(lie(7).unwrap_err().contains("certified up to block 8"));
    assert_eq!(lie(8), Ok(()), "that one may be ahead by its term");
    let certified = store(3, 9);
    let part = VatStore::new(Arc::clone(&certified), genesis.vat_id());
    let certificate = crate::proof::certificate::Certificate {
        statement: statement(&genesis.membership(), 9),
        signatures: Vec::new(),
    };
    assert_eq!(part.newest_certified().unwrap(), 0);
    part.write_synced(vec![part.put_certificate(&certificate)]).unwrap();
    assert_eq!(part.newest_certified().unwrap(), 9);
}
