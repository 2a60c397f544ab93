//! Whether a change of a vat's members can finish with those that can be reached: what can't is refused before it is recorded, since a
//! recorded change that waits is in the way of every other.

use super::{About, POLL, Wanted};
use crate::{
    Exit, Failure,
    standing::{MemberState, Quorum, quorums},
};
use quorate_consensus::default_threshold;
use quorate_protocol::status::{VatStatus, WaitingStatus};
use std::time::{Duration, Instant};

/// How long members that are not connected may take to find each other, as after a start, before a change is refused.
const SETTLE: Duration = Duration::from_secs(5);

/// Waits for members that are about to find each other, and fails where what is asked can't be done with those that can be reached.
pub async fn check_reachable(
    about: &About,
    vat: &VatStatus,
    why_not: impl Fn(&Quorum) -> Option<String>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let hosts = about.hosts.all().await?;
        let Some(quorum) = quorums(&hosts).into_iter().find(|quorum| quorum.vat == vat.vat) else { return Ok(()) };
        let Some(why) = why_not(&quorum) else { return Ok(()) };
        if Instant::now() > deadline || why_not(&quorum.settled()).is_some() {
            return Err(Failure::new(Exit::Unreachable, format!("{}: {why}; nothing was changed", vat.name)));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Returns why a change can't finish, or the vat could do nothing any more after it.
pub fn why_hopeless(wanted: &Wanted, quorum: &Quorum) -> Option<String> {
    if !quorum.can_speak() {
        return quorum.complaint();
    }
    let is_out = |name: &str, key: &str| wanted.out.as_deref().is_some_and(|out| out == name || out == key);
    let stay: Vec<_> = quorum.members.iter().filter(|member| !is_out(&member.name, &member.key)).collect();
    let joining = usize::from(wanted.joining.is_some());
    let count = stay.len() + joining;
    let reachable = stay.iter().filter(|member| member.state == MemberState::Up).count() + joining;
    let default = || default_threshold(quorum.members.len(), quorum.needed, count);
    let needed = wanted.threshold.map(usize::from).unwrap_or_else(default);
    (reachable < needed).then(|| {
        format!(
            "after this change {needed} of {count} members would have to sign, and {reachable} of them can be reached: the vat would fall silent. Bring the others back first, or replace them"
        )
    })
}

/// Returns what a change that is not recorded yet waits for.
fn waits_for(change: &WaitingStatus) -> String {
    let approved = format!("{} of {} approvals", change.approved.len(), change.needed);
    let newcomer = if change.waits_for_newcomer { ", and the newcomer has not answered" } else { "" };
    format!("{} ({approved}{newcomer})", change.change)
}

/// Returns what a change waits for now.
pub fn stage<'a>(replicas: impl IntoIterator<Item = &'a VatStatus>, quorum: Option<&Quorum>) -> Option<String> {
    if let Some(silent) = quorum.filter(|quorum| !quorum.can_speak()) {
        return silent.complaint();
    }
    let newest = replicas.into_iter().max_by_key(|status| (status.epoch, status.applied_block))?;
    let waits = || newest.approvals.iter().find(|change| change.is_own).map(waits_for);
    newest.pending_change.clone().or_else(waits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::Standing;
    use serde_json::json;

    /// A vat with this threshold, and members that are up or not, called a, b, c and so on.
    fn quorum(needed: usize, up: &[bool]) -> Quorum {
        let member = |(place, up): (usize, &bool)| Standing {
            name: char::from(b'a' + place as u8).to_string(),
            key: format!("key of {place}"),
            state: if *up { MemberState::Up } else { MemberState::Down },
        };
        Quorum {
            name: "two".into(),
            vat: "07".into(),
            needed,
            majority: up.len() / 2 + 1,
            reachable: up.iter().filter(|up| **up).count(),
            members: up.iter().enumerate().map(member).collect(),
        }
    }

    #[test]
    fn a_change_that_can_not_finish_or_would_silence_the_vat_is_refused() {
        let wanted = |out: Option<&str>, joining: Option<&str>, threshold| Wanted {
            out: out.map(Into::into),
            joining: joining.map(Into::into),
            threshold,
        };
        let (yes, no) = (true, false);
        for (quorum, wanted, refused) in [
            (quorum(2, &[yes, yes, yes]), wanted(None, None, Some(3)), None),
            (quorum(2, &[yes, yes, no]), wanted(Some("c"), Some("d"), None), None),
            (quorum(2, &[yes, yes, no]), wanted(Some("c"), None, None), None),
            (quorum(2, &[yes, yes, no]), wanted(None, Some("d"), None), None),
            (quorum(1, &[yes]), wanted(None, Some("b"), None), None),
            // Too few sign.
            (quorum(3, &[yes, yes, no]), wanted(Some("c"), Some("d"), None), Some("3 signatures needed, 2 of 3")),
            (quorum(3, &[yes, yes, no]), wanted(None, None, Some(2)), Some("3 signatures needed, 2 of 3")),
            (quorum(2, &[yes, no, no]), wanted(Some("c"), None, None), Some("2 signatures needed, 1 of 3")),
            // Enough sign now, and too few would afterwards.
            (quorum(2, &[yes, yes, no]), wanted(None, None, Some(3)), Some("3 of 3 members would have to sign, and 2")),
            (
                quorum(2, &[yes, yes, no]),
                wanted(Some("key of 1"), None, None),
                Some("2 of 2 members would have to sign, and 1"),
            ),
            (
                quorum(2, &[yes, yes, no]),
                wanted(None, Some("d"), Some(4)),
                Some("4 of 4 members would have to sign, and 3"),
            ),
        ] {
            let why = why_hopeless(&wanted, &quorum);
            assert_eq!(why.is_some(), refused.is_some(), "{quorum:?}: {why:?}");
            assert!(refused.is_none_or(|part| why.as_ref().is_some_and(|why| why.contains(part))), "{why:?}");
        }
    }

    #[test]
    fn who_waits_is_told_what_for() {
        let status = |pending: Option<&str>| -> VatStatus {
            serde_json::from_value(json!({
                "name": "two", "vat": "07", "role": "leader", "leader": null, "term": 1, "committed_block": 9, "applied_block": 9,
                "certified_block": 9, "epoch": 0, "certified_epoch": 0, "threshold": 2, "members": [],
                "pending_change": pending, "installed": true, "install_error": null, "exited": null, "deliveries": 3,
                "heap_bytes": 1, "checkpoint_block": 0, "certified_checkpoint_block": 0, "state_root": null,
                "equivocations": 0, "disagreements": 0, "streams": [], "fault": null,
            }))
            .expect("a status")
        };
        let well = quorum(2, &[true, true, false]);
        let waiting = status(Some("replace c by d (the newcomer fetches the state)"));
        assert_eq!(stage([&waiting], Some(&well)), waiting.pending_change);
        assert_eq!(stage([&status(None)], Some(&well)), None);
        let told = stage([&waiting], Some(&quorum(2, &[true, false, false]))).expect("it can't go on");
        assert!(told.contains("2 signatures needed, 1 of 3 members reachable"), "{told}");
    }
}
