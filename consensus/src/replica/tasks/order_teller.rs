//! Sends the other members the proof of the order, as soon as this member has it. The leader does that, too. But a lying leader may show the proof to one
//! member alone. That member executes entries that the others replace under a later leader, and executed entries are never taken back. A member with
//! the proof votes for no candidate without it.
//!
//! Absent: a guarantee that the others have the proof before this member executes. A member that is cut off at that moment can tell nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinHandle;

use crate::proof::membership::Member;
use crate::raft::gate::OrderGate;
use crate::replica::identity::Identity;
use crate::replica::lifecycle::Lifecycle;
use crate::replica::membership_view::Members;
use crate::replica::wire::share::{ShareClient, ShareFrame};
use quorate_ids::HostId;

/// In a larger vat a member tells so many, who tell others.
const MAX_TOLD: usize = 6;

/// What the task uses.
pub(crate) struct OrderTeller {
    pub(crate) identity: Arc<Identity>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) members: Arc<Members>,
    pub(crate) gate: Arc<OrderGate>,
    pub(crate) share: ShareClient,
}

impl OrderTeller {
    /// Tells at once, and then the newest with each heartbeat, until the replica stops.
    pub(crate) async fn run(self) {
        let mut stopping = self.lifecycle.stopping();
        let mut ordered = self.gate.follow_order();
        let mut telling: BTreeMap<HostId, JoinHandle<()>> = BTreeMap::new();
        let mut is_due = false;
        loop {
            if !is_due {
                tokio::select! {
                    () = stopping.wait() => return,
                    changed = ordered.changed() => if changed.is_err() { return },
                }
            }
            is_due = self.tell(&mut telling);
            tokio::select! {
                () = stopping.wait() => return,
                () = tokio::time::sleep(self.identity.timing.heartbeat) => {}
            }
        }
    }

    /// Sends the newest proof. Returns whether an earlier one is still being sent to a member.
    fn tell(&self, telling: &mut BTreeMap<HostId, JoinHandle<()>>) -> bool {
        telling.retain(|_, told| !told.is_finished());
        let (leader, own) = (self.gate.term().1, self.identity.key);
        let Some(order) = self.gate.order_beyond(0).filter(|_| leader != Some(own)) else { return false };
        let mut others = to_tell(&self.members.view().newest().members, &own);
        others.retain(|member| Some(member.key) != leader);
        let busy = others.iter().any(|member| telling.contains_key(&member.key));
        others.retain(|member| !telling.contains_key(&member.key));
        for member in others {
            let (share, frame) = (self.share.clone(), ShareFrame::Ordered(order.clone()));
            let key = member.key;
            // A member that is away learns of it when it votes, or asks for votes.
            let told = tokio::spawn(async move { drop(share.exchange(&member, &frame).await) });
            telling.insert(key, told);
        }
        busy
    }
}

/// Those after this member, in turn.
fn to_tell(members: &[Member], own: &HostId) -> Vec<Member> {
    let place = members.iter().position(|member| member.key == *own);
    let Some(place) = place else { return Vec::new() };
    members.iter().cycle().skip(place + 1).take((members.len() - 1).min(MAX_TOLD)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_of_a_large_vat_tells_those_after_it_and_in_a_small_one_all() {
        let member = |seed| Member { key: HostId([seed; 32]), name: String::new(), addresses: Vec::new() };
        let told = |count: u8, own: u8| {
            let members: Vec<Member> = (0..count).map(member).collect();
            to_tell(&members, &HostId([own; 32])).iter().map(|member| member.key.0[0]).collect::<Vec<_>>()
        };
        assert_eq!(told(4, 2), [3, 0, 1]);
        assert_eq!(told(9, 7), [8, 0, 1, 2, 3, 4]);
        assert_eq!(told(1, 0), [0_u8; 0]);
        assert_eq!(told(4, 9), [0_u8; 0]);
    }
}
