//! Access to a vat: the motions that change it, the entries in the vat's tables, and their descriptions for people.

use super::{VatService, codes::Codes, machine::VatMachine, upgrade, view::SharedView};
use quorate_consensus::{MemberSignature, Motions, ReconfigureError};
use quorate_engine::{
    VatId,
    comms::{Comms, Held, PeerInventory},
};
use quorate_protocol::command::{VatCommand, VatResult};
use quorate_protocol::{
    authority::{AccessChange, AccessEvidence, AccessMotion, AccessOrder},
    codec, moment,
    status::{BearerStatus, HeldStatus, ObjectsQuery, ObjectsStatus, PeerHoldings, ReferencesStatus},
    upgrade::UpgradeMotion,
};
use std::{sync::Arc, time::Duration};

/// How long a look at the machine may take: a vat that is busy for seconds answers later.
const LOOK_DEADLINE: Duration = Duration::from_secs(20);
/// Peers in an answer at most.
const MAX_PEERS: usize = 1_000;
/// Objects of one peer in an answer at most.
const MAX_ROWS: usize = 10_000;

/// What a vat means by motions.
pub struct VatMotions {
    /// The state that this replica has executed.
    pub view: SharedView,
    /// What this host proposes.
    pub codes: Arc<Codes>,
}

impl Motions for VatMotions {
    fn refuses(&self, motion: &[u8]) -> Option<String> {
        if let Some(motion) = UpgradeMotion::decode(motion) {
            let next = self.view.lock().upgrade_orders;
            return (motion.number != next).then(|| {
                "another upgrade was carried out or tried meanwhile; look with `vat inspect`, then repeat the command".to_owned()
            });
        }
        let motion: AccessMotion = match codec::decode(motion) {
            Ok(motion) => motion,
            Err(error) => return Some(format!("a motion that this version does not understand: {error}")),
        };
        let next = self.view.lock().access_orders;
        (motion.number != next).then(|| {
            "another change of who may use the vat was carried out meanwhile; look with `vat ref list` and `vat objects`, then repeat the command".to_owned()
        })
    }

    fn command(&self, motion: &[u8], approvals: Vec<MemberSignature>) -> Vec<u8> {
        if UpgradeMotion::decode(motion).is_some() {
            return upgrade::command(&self.codes, motion, approvals);
        }
        let evidence = AccessEvidence::Members(approvals);
        codec::encode(&VatCommand::Access(AccessOrder { motion: motion.to_vec(), evidence }))
    }
}

/// The first digits of a bearer key, by which people name it.
pub fn short_key(key: &[u8; 32]) -> String {
    hex::encode(&key[..6])
}

/// Returns what a motion asks for, in words. `name` gives a vat's name here.
pub fn describe(motion: &[u8], name: impl Fn(&VatId) -> Option<String>) -> String {
    if let Some(upgrade) = UpgradeMotion::decode(motion) {
        return upgrade.describe();
    }
    let Ok(AccessMotion { change, .. }) = codec::decode::<AccessMotion>(motion) else {
        return "something that this version does not understand".to_owned();
    };
    describe_change(&change, name)
}

/// A change of who may use what, in words.
pub fn describe_change(change: &AccessChange, name: impl Fn(&VatId) -> Option<String>) -> String {
    let vat = |vat: &VatId| name(vat).map_or_else(|| format!("vat {vat}"), |name| format!("vat {name} ({vat})"));
    let until = |expires_ms: &Option<u64>| match expires_ms {
        Some(ms) => format!("until {}", moment::shown(*ms)),
        None => "without end".to_owned(),
    };
    match change {
        AccessChange::Grant { to, expires_ms } => {
            format!("let {} use the root {}", vat(to), until(expires_ms))
        }
        AccessChange::Revoke { from } => format!("let {} use the root no longer", vat(from)),
        AccessChange::NewReference { key, object, expires_ms, note } => {
            let object = object_name(*object);
            let note = if note.is_empty() { String::new() } else { format!(" ({note:?})") };
            format!("a new reference {}{note} to {object}, {}", short_key(key), until(expires_ms))
        }
        AccessChange::RevokeReference { key } => {
            format!("revoke reference {}, and all that was kept through it", short_key(key))
        }
        AccessChange::DropPeer { peer } => {
            format!(
                "drop peer {} for good: nothing is sent to it or taken from it any more, whatever it still owes",
                vat(peer)
            )
        }
    }
}

fn object_name(object: u64) -> String {
    if object == 0 { "the root".to_owned() } else { format!("object {object}") }
}

/// What came of a change of who may use what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessOutcome {
    /// It is carried out, in this block.
    Done(u64),
    /// The vat refuses it.
    Refused(String),
    /// It waits for approvals, as this says.
    Waits(String),
}

impl VatService {
    /// Puts a change of who may use what to the owners of the members.
    ///
    /// # Errors
    /// It can't be proposed, or was rejected.
    pub async fn change_access(
        &self,
        change: AccessChange,
        deadline: Duration,
    ) -> Result<AccessOutcome, ReconfigureError> {
        let number = self.view.lock().access_orders;
        let motion = AccessMotion { change, number }.encode();
        match self.replica.put_motion(motion, deadline).await {
            Ok(proposed) => Ok(match codec::decode(&proposed.result) {
                Ok(VatResult::Granted | VatResult::Revoked | VatResult::Dropped) => AccessOutcome::Done(proposed.block),
                Ok(VatResult::Refused { message }) => AccessOutcome::Refused(message),
                Ok(other) => AccessOutcome::Refused(format!("an unexpected result: {other:?}")),
                Err(error) => AccessOutcome::Refused(format!("a result that does not decode: {error}")),
            }),
            Err(error @ ReconfigureError::Waits { .. }) => Ok(AccessOutcome::Waits(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Who holds what of the vat, and what it holds of others, as this replica's state has it. `None`: the replica has stopped, or is too busy.
    pub async fn objects(&self, query: ObjectsQuery, peer: Option<VatId>) -> Option<ObjectsStatus> {
        let look = self.replica.inspect(move |machine: &mut VatMachine| objects(machine.comms(), &query, peer));
        let mut found = tokio::time::timeout(LOOK_DEADLINE, look).await.ok().flatten()?;
        for peer in &mut found.peers {
            peer.name = peer.vat.parse().ok().and_then(|vat| self.directory.name(&vat));
        }
        found.block = self.view.lock().block;
        Some(found)
    }

    /// The bearer references of the vat, as this replica's state has them. `None` as for [`VatService::objects`].
    pub async fn references(&self) -> Option<ReferencesStatus> {
        let look = self.replica.inspect(|machine: &mut VatMachine| references(machine.comms()));
        tokio::time::timeout(LOOK_DEADLINE, look).await.ok().flatten()
    }
}

fn references(comms: &Comms) -> ReferencesStatus {
    let bearer = |(key, bearer): (&[u8; 32], &quorate_engine::comms::Bearer)| BearerStatus {
        key: hex::encode(key),
        object: bearer.object,
        interface: comms.interface(bearer.object),
        expires_ms: bearer.expires_ms,
        note: bearer.note.clone(),
        kept_through: bearer.kept.map(|kept| hex::encode(kept.through)),
    };
    ReferencesStatus { references: comms.bearers().iter().map(bearer).collect() }
}

fn objects(comms: &Comms, query: &ObjectsQuery, peer: Option<VatId>) -> ObjectsStatus {
    let rows = query.limit.unwrap_or(20).min(MAX_ROWS);
    if let Some(peer) = peer {
        let inventory = comms.inventory(None, 0);
        let found = comms.peer_inventory(&peer, query.after_object, rows);
        return ObjectsStatus { peers: found.map(holdings).into_iter().collect(), more: false, ..totals(&inventory) };
    }
    let after = query.after_peer.as_ref().and_then(|vat| vat.parse().ok());
    let inventory = comms.inventory(after.as_ref(), query.peers.unwrap_or(50).min(MAX_PEERS));
    let with_rows = inventory.peers.iter().filter_map(|peer| comms.peer_inventory(&peer.vat, None, rows));
    ObjectsStatus { peers: with_rows.map(holdings).collect(), ..totals(&inventory) }
}

fn totals(inventory: &quorate_engine::comms::Inventory) -> ObjectsStatus {
    ObjectsStatus {
        block: 0,
        held: inventory.held,
        promises: inventory.promises,
        references: inventory.bearers,
        peers_in_all: inventory.peers_in_all,
        peers: Vec::new(),
        more: inventory.more,
    }
}

fn holdings(peer: PeerInventory) -> PeerHoldings {
    let held = |held: Held| HeldStatus {
        id: held.id,
        object: held.object,
        interface: held.interface,
        count: held.count,
        live: held.live,
        pins: held.pins,
    };
    PeerHoldings {
        name: None,
        vat: peer.vat.to_string(),
        granted: peer.granted,
        grant_expires_ms: peer.grant_expires_ms,
        broken: peer.broken,
        exports_in_all: peer.exports_in_all,
        exports: peer.exports.into_iter().map(held).collect(),
        imports_in_all: peer.imports_in_all,
        imports: peer.imports.into_iter().map(held).collect(),
        decided_here: peer.decided_here,
        decided_there: peer.decided_there,
        deposits: peer.deposits,
        withdrawals: peer.withdrawals,
        redeemed: peer.redeemed.iter().map(|(key, object)| (hex::encode(key), *object)).collect(),
    }
}
