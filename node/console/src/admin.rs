//! What only the owner of the hosts may ask: what vats print and hosts log, who holds which objects, and to approve what waits.
//!
//! Everybody who is logged in on the machine may read the rest. The owner has a token, which `vat console --admin` prints in the address that it prints;
//! without `--admin` there is none, and nothing of this is to be had.

use crate::detail::{Missing, ask, carrying, silent};
use crate::look::{HostState, Look};
use quorate_protocol::status::{ApprovalAnswer, Done, HeldStatus, ObjectsStatus, ReferencesStatus};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// Lines in one answer.
const LINES: usize = 500;
/// Objects of one vat in an answer, and vats that hold some.
const OBJECTS: usize = 1_000;
const PEERS: usize = 1_000;
/// Vats that are asked who holds objects of theirs, for one answer.
const MAX_ASKED: usize = 64;

/// What proves that a visitor is the owner.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// From random bytes, which are used for nothing else.
    pub fn new(random: [u8; 32]) -> Token {
        Token(hex::encode(random))
    }

    /// Whether it is this one. How long that takes tells nothing of it.
    pub fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        let differs = own.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other));
        own.len() == other.len() && differs == 0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether there is a token, and whether the right one was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AdminView {
    pub offered: bool,
    pub accepted: bool,
}

/// A line that a vat printed, or a host logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineView {
    /// The block in which the vat printed it.
    pub block: Option<u64>,
    /// `debug`, `info`, `warn` or `error`, where that is known.
    pub level: Option<String>,
    pub text: String,
}

/// Lines, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogsView {
    pub lines: Vec<LineView>,
    /// How many there were to be searched, and how many were found.
    pub searched: u64,
    pub found: u64,
}

const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

/// The newest lines that have all words, and at least the level.
pub fn search(lines: Vec<LineView>, words: &str, level: Option<&str>) -> LogsView {
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let rank = |level: Option<&str>| LEVELS.iter().position(|known| Some(*known) == level);
    let least = rank(level);
    let searched = lines.len() as u64;
    let is_wanted = |line: &LineView| {
        let text = line.text.to_lowercase();
        // A line whose level nobody knows is never left out for it.
        let is_loud = least.is_none_or(|least| rank(line.level.as_deref()).is_none_or(|own| own >= least));
        is_loud && words.iter().all(|word| text.contains(word))
    };
    let mut lines: Vec<LineView> = lines.into_iter().filter(is_wanted).collect();
    let found = lines.len() as u64;
    lines.drain(..lines.len().saturating_sub(LINES));
    LogsView { lines, searched, found }
}

/// An object of a vat that a party outside of it can use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectView {
    /// Its number in the vat; 0 is the root.
    pub object: u64,
    pub interface: Option<String>,
    /// Vats and clients that hold it.
    pub holders: Vec<HolderView>,
    /// Bearer references that open it: a holder of one of them can use it.
    pub references: Vec<ReferenceView>,
}

/// See [`ObjectView`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HolderView {
    pub vat: String,
    /// Its name here, if it has one.
    pub name: Option<String>,
}

/// See [`ObjectView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReferenceView {
    /// The first digits of its key, by which `vat ref revoke` names it.
    pub key: String,
    pub note: String,
    pub expires_ms: Option<u64>,
}

/// Who can use objects of a vat, and through which vats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectsView {
    pub block: u64,
    pub objects: Vec<ObjectView>,
    /// Vats that can ask one that holds something here, the nearest first.
    pub through: Vec<ThroughView>,
    /// There is more than is shown.
    pub is_cut: bool,
}

/// A vat that holds something of another one, which holds something here, directly or in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThroughView {
    pub vat: String,
    pub name: Option<String>,
    /// The vats from the first one that it can ask to the one that holds something here.
    pub path: Vec<HolderView>,
}

/// Who can use objects of a vat, and through which vats.
///
/// # Errors
/// See [`Missing`].
pub async fn objects(look: &Look, vat: &str) -> Result<ObjectsView, Missing> {
    let (hosts, id) = carrying(look, vat)?;
    let held = held(look, &id).await.ok_or_else(|| silent(vat))?;
    let references: Vec<(_, ReferencesStatus)> = ask(&hosts, &format!("/api/v1/vats/{id}/references")).await;
    let references = references.into_iter().map(|(_, reply)| reply).max_by_key(|reply| reply.references.len());
    let objects = merged(&held, &references.unwrap_or(ReferencesStatus { references: Vec::new() }));
    let (through, is_through_cut) = through(look, &id, &held).await;
    Ok(ObjectsView { block: held.block, objects, through, is_cut: is_through_cut || is_cut(&held) })
}

/// Who holds what of a vat, by the newest state of a host that carries it here.
async fn held(look: &Look, id: &str) -> Option<ObjectsStatus> {
    let (hosts, id) = carrying(look, id).ok()?;
    let path = format!("/api/v1/vats/{id}/objects?limit={OBJECTS}&peers={PEERS}");
    let answers: Vec<(_, ObjectsStatus)> = ask(&hosts, &path).await;
    answers.into_iter().map(|(_, answer)| answer).max_by_key(|answer| answer.block)
}

fn is_cut(held: &ObjectsStatus) -> bool {
    held.more || held.peers.iter().any(|peer| peer.exports.len() < peer.exports_in_all)
}

/// Vats that can use something of a vat.
fn holders(held: &ObjectsStatus) -> BTreeSet<HolderView> {
    let uses = held.peers.iter().filter(|peer| peer.granted || peer.exports.iter().any(|export| export.live));
    uses.map(|peer| HolderView { vat: peer.vat.clone(), name: peer.name.clone() }).collect()
}

fn merged(held: &ObjectsStatus, references: &ReferencesStatus) -> Vec<ObjectView> {
    let mut objects: BTreeMap<u64, ObjectView> = BTreeMap::new();
    fn entry<'a>(
        objects: &'a mut BTreeMap<u64, ObjectView>,
        object: u64,
        interface: Option<&String>,
    ) -> &'a mut ObjectView {
        let view = objects.entry(object).or_insert_with(|| ObjectView {
            object,
            interface: None,
            holders: Vec::new(),
            references: Vec::new(),
        });
        view.interface = view.interface.take().or_else(|| interface.cloned());
        view
    }
    for peer in &held.peers {
        let holder = HolderView { vat: peer.vat.clone(), name: peer.name.clone() };
        let live = |export: &&HeldStatus| export.live;
        let held =
            peer.exports.iter().filter(live).filter_map(|export| Some((export.object?, export.interface.as_ref())));
        let root = peer.granted.then_some((0, None));
        for (object, interface) in held.chain(root) {
            let holders = &mut entry(&mut objects, object, interface).holders;
            if !holders.contains(&holder) {
                holders.push(holder.clone());
            }
        }
    }
    for reference in &references.references {
        let key = reference.key.chars().take(12).collect();
        let view = ReferenceView { key, note: reference.note.clone(), expires_ms: reference.expires_ms };
        entry(&mut objects, reference.object, reference.interface.as_ref()).references.push(view);
    }
    objects.into_values().collect()
}

/// Vats that can ask the holders of a vat's objects, from one to the next, as far as the vats are here.
async fn through(look: &Look, id: &str, held_here: &ObjectsStatus) -> (Vec<ThroughView>, bool) {
    let mut known: BTreeSet<String> = BTreeSet::from([id.to_owned()]);
    let mut to_ask: VecDeque<(HolderView, Vec<HolderView>)> = VecDeque::new();
    for holder in holders(held_here) {
        known.insert(holder.vat.clone());
        to_ask.push_back((holder, Vec::new()));
    }
    let (mut found, mut asked) = (Vec::new(), 0);
    while let Some((holder, path)) = to_ask.pop_front() {
        if carrying(look, &holder.vat).is_err() {
            continue;
        }
        if asked == MAX_ASKED {
            return (found, true);
        }
        asked += 1;
        let Some(held) = held(look, &holder.vat).await else { continue };
        let path: Vec<HolderView> = std::iter::once(holder).chain(path).collect();
        for next in holders(&held) {
            if known.insert(next.vat.clone()) {
                found.push(ThroughView { vat: next.vat.clone(), name: next.name.clone(), path: path.clone() });
                to_ask.push_back((next, path.clone()));
            }
        }
    }
    (found, false)
}

/// What the owner answers to a change that waits.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The host for which it is answered.
    pub host: String,
    /// The change.
    pub id: String,
    pub approve: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnsweredView {
    pub message: String,
}

/// Answers a change that waits, for one host.
///
/// # Errors
/// See [`Missing`].
pub async fn answer(look: &Look, vat: &str, answer: Answer) -> Result<AnsweredView, Missing> {
    let (hosts, id) = carrying(look, vat)?;
    let Answer { host: name, id: change, approve } = answer;
    let host = hosts.into_iter().find(|host| host.name == name && host.state == HostState::Up);
    let host = host.ok_or_else(|| Missing::Nothing(format!("no host {name} that runs here carries {vat}")))?;
    let body = ApprovalAnswer { id: change, approve };
    let done: Result<Done, _> = host.endpoint.post(&format!("/api/v1/vats/{id}/approvals"), &body).await;
    done.map(|done| AnsweredView { message: done.message }).map_err(|error| Missing::NoAnswer(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_protocol::status::{BearerStatus, PeerHoldings};

    #[test]
    fn a_token_is_the_same_text_and_nothing_else() {
        let token = Token::new([7; 32]);
        assert!(token.is(&"07".repeat(32)));
        for other in [String::new(), "07".repeat(31), "07".repeat(33), "08".repeat(32)] {
            assert!(!token.is(&other), "{other}");
        }
    }

    #[test]
    fn lines_are_found_by_their_words_and_level() {
        let line = |level: Option<&str>, text: &str| LineView {
            block: Some(1),
            level: level.map(str::to_owned),
            text: text.to_owned(),
        };
        let all =
            || vec![line(Some("info"), "Sold ONE pear"), line(Some("warn"), "one left"), line(None, "a host's line")];
        let texts = |found: LogsView| found.lines.into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(texts(search(all(), "", None)).len(), 3);
        assert_eq!(texts(search(all(), "one  PEAR", None)), ["Sold ONE pear"]);
        assert_eq!(texts(search(all(), "", Some("warn"))), ["one left", "a host's line"]);
        let many = (0..2_000).map(|number| line(None, &number.to_string())).collect();
        let found = search(many, "1", None);
        assert_eq!((found.searched, found.lines.len()), (2_000, LINES));
        assert!(found.found > LINES as u64 && found.lines.last().is_some_and(|line| line.text == "1999"));
    }

    #[test]
    fn objects_are_listed_with_all_who_can_use_them() {
        let export = |object, live| HeldStatus {
            id: object,
            object: Some(object),
            interface: Some("Purse".to_owned()),
            count: 1,
            live,
            pins: 0,
        };
        let peer = |vat: &str, granted, exports: Vec<HeldStatus>| PeerHoldings {
            name: Some(vat.to_owned()),
            vat: vat.to_owned(),
            granted,
            grant_expires_ms: None,
            broken: false,
            exports_in_all: exports.len(),
            exports,
            imports_in_all: 0,
            imports: Vec::new(),
            decided_here: 0,
            decided_there: 0,
            deposits: 0,
            withdrawals: 0,
            redeemed: BTreeMap::new(),
        };
        let held = ObjectsStatus {
            block: 9,
            held: 2,
            promises: 0,
            references: 1,
            peers_in_all: 3,
            peers: vec![
                peer("bank", true, vec![export(3, true)]),
                peer("shop", false, vec![export(3, true), export(4, false)]),
                peer("none", false, Vec::new()),
            ],
            more: false,
        };
        let bearer = BearerStatus {
            key: "ab".repeat(32),
            object: 3,
            interface: None,
            expires_ms: None,
            note: "for Ada".to_owned(),
            kept_through: None,
        };
        let objects = merged(&held, &ReferencesStatus { references: vec![bearer] });
        let names = |object: &ObjectView| object.holders.iter().map(|holder| holder.vat.clone()).collect::<Vec<_>>();
        assert_eq!(objects.iter().map(|object| object.object).collect::<Vec<_>>(), [0, 3], "a dropped one is not held");
        assert_eq!((names(&objects[0]), names(&objects[1])), (vec!["bank".into()], vec!["bank".into(), "shop".into()]));
        assert_eq!(objects[1].interface.as_deref(), Some("Purse"));
        assert_eq!(objects[1].references[0].note, "for Ada");
        assert_eq!(holders(&held).into_iter().map(|holder| holder.vat).collect::<Vec<_>>(), ["bank", "shop"]);
    }
}
