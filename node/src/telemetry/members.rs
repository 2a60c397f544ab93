//! The figures of a vat's members, as this host sees them: each partner asks its own host alone.

use super::page::Page;
use quorate_consensus::{HostId, MemberFigures, ReplicaFigures, ReplicaStatus};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

/// What the host's connections tell of another host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight {
    pub connected: bool,
    pub round_trip: Option<Duration>,
    /// When it last sent or answered anything.
    pub last_seen: Option<SystemTime>,
}

/// What the members of a vat are, one by one, and how many of them may be lost.
pub fn members(
    page: &mut Page,
    vat: &str,
    status: &ReplicaStatus,
    figures: &ReplicaFigures,
    sights: &BTreeMap<HostId, Sight>,
) {
    let members = &status.membership.members;
    for member in members {
        let key = member.key.to_string();
        let labels = [("vat", vat), ("member", key.as_str())];
        page.gauge(
            "quorate_member_info",
            "Always 1; says how a member is called.",
            &[("vat", vat), ("member", &key), ("name", &member.name)],
            1,
        );
        if member.key == status.key {
            continue;
        }
        let sight = sights.get(&member.key).copied().unwrap_or_default();
        let MemberFigures { signed_block, lag_blocks } = figures.members.get(&member.key).copied().unwrap_or_default();
        page.gauge("quorate_member_connected", "1 if the member is connected.", &labels, u64::from(sight.connected));
        page.gauge_of(
            "quorate_member_round_trip_seconds",
            "How long the member took to answer the last ping; 0 if it is not connected.",
            &labels,
            sight.round_trip.filter(|_| sight.connected).unwrap_or_default().as_secs_f64(),
        );
        page.gauge(
            "quorate_member_last_seen_timestamp_seconds",
            "When the member last sent or answered anything, in seconds since 1970; 0 if it has not since the host started.",
            &labels,
            sight.last_seen.map_or(0, unix_seconds),
        );
        page.gauge(
            "quorate_member_signed_block",
            "The highest block of which the member's signature has come here.",
            &labels,
            signed_block,
        );
        page.gauge(
            "quorate_member_lag_blocks",
            "Entries of the log that the member lacks, as the leader knows; 0 at other members.",
            &labels,
            lag_blocks.unwrap_or(0),
        );
    }
    if let Some(spare) = spare(status, sights) {
        page.gauge_of(
            "quorate_spare_members",
            "Members that can be reached from here, this host among them, less those that are needed; below 0 the vat stands still.",
            &[("vat", vat)],
            spare as f64,
        );
    }
}

/// How many of the members that can be reached may be lost. Nothing at a host that is no member.
fn spare(status: &ReplicaStatus, sights: &BTreeMap<HostId, Sight>) -> Option<i64> {
    let membership = &status.membership;
    if !membership.contains(&status.key) {
        return None;
    }
    let here = |key: &HostId| {
        if *key == status.key { status.fault.is_none() } else { sights.get(key).is_some_and(|sight| sight.connected) }
    };
    let reachable = membership.members.iter().filter(|member| here(&member.key)).count();
    Some(i64::try_from(reachable).unwrap_or(i64::MAX) - i64::from(membership.threshold))
}

/// Seconds since 1970.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{host, status};
    use super::*;
    use quorate_consensus::Membership;
    use std::sync::Arc;

    fn connected(seeds: &[u8]) -> BTreeMap<HostId, Sight> {
        seeds.iter().map(|seed| (host(*seed), Sight { connected: true, ..Sight::default() })).collect()
    }

    #[test]
    fn the_margin_is_what_can_be_reached_less_what_is_needed() {
        let mut status = status();
        for (others, margin) in [(&[2, 3][..], 1), (&[3], 0), (&[], -1), (&[8, 9], -1)] {
            assert_eq!(spare(&status, &connected(others)), Some(margin), "{others:?}");
        }
        status.fault = Some("broken".into());
        assert_eq!(spare(&status, &connected(&[2, 3])), Some(0), "a faulty member does nothing");
        status.membership = Arc::new(Membership { members: Vec::new(), ..(*status.membership).clone() });
        assert_eq!(spare(&status, &connected(&[2, 3])), None, "it is no member");
    }

    #[test]
    fn each_other_member_has_its_series_and_this_host_none() {
        let mut page = Page::default();
        let lag = MemberFigures { signed_block: 5, lag_blocks: Some(2) };
        let figures = ReplicaFigures { members: BTreeMap::from([(host(2), lag)]), ..ReplicaFigures::default() };
        members(&mut page, "counter", &status(), &figures, &connected(&[2]));
        let text = page.render();
        let of = |family: &str| {
            let lines = text.lines().filter(|line| line.starts_with(&format!("{family}{{")));
            lines.map(|line| line.rsplit_once(' ').expect("a value").1.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("quorate_member_info"), ["1", "1", "1"]);
        assert_eq!(of("quorate_member_connected"), ["1", "0"]);
        assert_eq!(of("quorate_member_signed_block"), ["5", "0"]);
        assert_eq!(of("quorate_member_lag_blocks"), ["2", "0"]);
        assert_eq!(of("quorate_spare_members"), ["0"]);
    }
}
