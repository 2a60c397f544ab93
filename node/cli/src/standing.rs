//! How a vat's members stand: which of them can be reached, and what the vat can still do with those.
//!
//! A pure function of what the hosts that were asked say: of themselves, and of the hosts that they are connected with. So a partner,
//! who can ask only one host, sees the others through that one.

use super::hosts::LocalHost;
use quorate_protocol::status::{HostStatus, VatStatus};
use serde::Serialize;
use std::collections::BTreeSet;

/// How a member stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum MemberState {
    /// It runs, and the others hear from it.
    Up,
    /// Its process does not run.
    Down,
    /// Its process runs and does not answer.
    Hung,
    /// Its home is gone, damaged, or not to be used: it can't run.
    Unusable { why: String },
    /// Its replica of the vat has stopped, or could not be started.
    Faulty { why: String },
    /// No other member is connected with it, as far as can be seen here.
    Unseen,
}

/// A member and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub name: String,
    pub key: String,
    #[serde(flatten)]
    pub state: MemberState,
}

/// What a vat can still do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quorum {
    pub name: String,
    pub vat: String,
    /// Signatures that everything needs which the vat says, and each change of its members.
    pub needed: usize,
    /// Raft's majority: more than half.
    pub majority: usize,
    pub reachable: usize,
    pub members: Vec<Standing>,
}

impl Quorum {
    /// Returns whether the vat can answer, and its members can be changed.
    pub fn can_speak(&self) -> bool {
        self.reachable >= self.needed
    }

    /// Returns whether the vat can order anything, and so give up a change: as many have to acknowledge an order as have to sign.
    pub fn can_order(&self) -> bool {
        self.reachable >= self.majority.max(self.needed)
    }

    /// Returns whether every member is there.
    pub fn is_whole(&self) -> bool {
        self.reachable == self.members.len()
    }

    /// The same once all members are connected whose hosts run.
    pub fn settled(&self) -> Quorum {
        let mut settled = self.clone();
        let unseen = settled.members.iter_mut().filter(|member| member.state == MemberState::Unseen);
        let found = unseen.map(|member| member.state = MemberState::Up).count();
        settled.reachable += found;
        settled
    }

    fn missing(&self) -> impl Iterator<Item = &Standing> {
        self.members.iter().filter(|member| member.state != MemberState::Up)
    }

    /// Returns what a person should know; nothing where every member is there.
    pub fn complaint(&self) -> Option<String> {
        if self.is_whole() {
            return None;
        }
        let missing: Vec<String> = self.missing().map(Standing::shown).collect();
        let numbers = format!(
            "{} signatures needed, {} of {} members reachable; {}",
            self.needed,
            self.reachable,
            self.members.len(),
            missing.join(", ")
        );
        if self.can_speak() {
            return Some(format!("{numbers}: {}; {}", self.margin(), self.remedy()));
        }
        let what = "this vat can't order anything, nor speak, nor can its members be changed,";
        let returning = self.members.len() - self.missing().filter(|member| !member.may_return()).count();
        let wanted = self.needed - self.reachable;
        let until = match (returning >= self.needed, wanted) {
            (true, 1) => "until one more is back".to_owned(),
            (true, wanted) => format!("until {wanted} more are back"),
            (false, _) => {
                // So many that one of them is honest: see `vat recover`.
                let members = self.members.len();
                let recovers = (2 * self.needed).saturating_sub(members).max((members + 1).saturating_sub(self.needed));
                let advice = if self.reachable >= recovers {
                    format!("let those that are left go on alone: `vat recover {}`", self.name)
                } else {
                    "make a new vat (`vat create`)".to_owned()
                };
                format!("and never again unless what is missing is found: keep what is left of the homes, and {advice}")
            }
        };
        Some(format!("{numbers}: {what} {until}"))
    }

    /// Returns how many more the vat can lose.
    fn margin(&self) -> String {
        match self.reachable - self.needed {
            0 => "the loss of one more silences it".to_owned(),
            1 => "it can lose one more".to_owned(),
            more => format!("it can lose {more} more"),
        }
    }

    /// Returns what helps while the vat can still speak.
    fn remedy(&self) -> String {
        let name = self.missing().map(|member| member.name.as_str()).next().unwrap_or("MEMBER");
        let replace = format!("`vat member replace --vat {} --out {name} --in HOST`", self.name);
        match self.missing().any(Standing::may_return) {
            true => format!("bring back what is missing; what is lost for good is replaced: {replace}"),
            false => format!("replace what is missing: {replace}"),
        }
    }
}

impl Standing {
    /// Returns whether the member can be had back as it is. A replica that stopped by a fault or a home that is gone can't.
    fn may_return(&self) -> bool {
        !matches!(self.state, MemberState::Unusable { .. } | MemberState::Faulty { .. })
    }

    fn shown(&self) -> String {
        let name = &self.name;
        match &self.state {
            MemberState::Up => name.clone(),
            MemberState::Down => format!("{name} does not run"),
            MemberState::Hung => format!("{name} hangs (its process runs and does not answer)"),
            MemberState::Unusable { .. } => format!("{name} can't run"),
            MemberState::Faulty { .. } => format!("{name} has stopped with a fault"),
            MemberState::Unseen => format!("{name} is not connected with the others"),
        }
    }
}

/// Returns what each vat can do that the hosts carry: by the newest membership that any of them knows.
pub fn quorums(hosts: &[LocalHost]) -> Vec<Quorum> {
    let replicas = || {
        hosts
            .iter()
            .flat_map(|host| host.status.iter().flat_map(move |status| status.vats.iter().map(move |vat| (host, vat))))
    };
    let ids: BTreeSet<&str> = replicas().map(|(_, vat)| vat.vat.as_str()).collect();
    let of_vat = |id: &str| {
        let current = replicas().filter(|(host, vat)| vat.vat == id && vat.role != "removed" && host.is_member(vat));
        let newest = current.map(|(_, vat)| vat).max_by_key(|vat| vat.epoch)?;
        Some(quorum(newest, hosts))
    };
    ids.into_iter().filter_map(of_vat).collect()
}

/// Returns what a vat with this membership can do.
pub fn quorum(newest: &VatStatus, hosts: &[LocalHost]) -> Quorum {
    let states: Vec<Option<MemberState>> =
        newest.members.iter().map(|member| own_state(&member.key, newest, hosts)).collect();
    // The best connected one counts: the members that it hears from are the quorum that there can be.
    let views = newest.members.iter().filter_map(|member| status_of(&member.key, hosts)).map(|viewer| {
        let seen = newest.members.iter().zip(&states).map(|(member, own)| match own {
            Some(MemberState::Up) => hears(viewer, &member.key, newest, hosts),
            Some(_) => false,
            None => hears(viewer, &member.key, newest, hosts),
        });
        seen.collect::<Vec<bool>>()
    });
    let best = views.max_by_key(|seen| seen.iter().filter(|seen| **seen).count());
    let best = best.unwrap_or_else(|| vec![false; newest.members.len()]);
    let members: Vec<Standing> = newest
        .members
        .iter()
        .zip(states)
        .zip(&best)
        .map(|((member, own), seen)| Standing {
            name: member.name.clone(),
            key: member.key.clone(),
            state: match own {
                Some(state) if state != MemberState::Up => state,
                _ if *seen => MemberState::Up,
                _ => MemberState::Unseen,
            },
        })
        .collect();
    Quorum {
        name: newest.name.clone(),
        vat: newest.vat.clone(),
        needed: usize::from(newest.threshold),
        majority: members.len() / 2 + 1,
        reachable: members.iter().filter(|member| member.state == MemberState::Up).count(),
        members,
    }
}

/// Returns how a member stands by what its own host says; `None` if that one can't be asked here.
fn own_state(key: &str, vat: &VatStatus, hosts: &[LocalHost]) -> Option<MemberState> {
    let host = hosts.iter().find(|host| host.key.is_some_and(|own| own.to_string() == key))?;
    let Some(status) = &host.status else {
        return match &host.problem {
            _ if host.hangs => Some(MemberState::Hung),
            // It runs elsewhere, and others may see it.
            _ if host.exported => None,
            Some(why) => Some(MemberState::Unusable { why: why.clone() }),
            None => Some(MemberState::Down),
        };
    };
    let failed = status.failed_vats.get(&vat.name);
    let replica = status.vats.iter().find(|replica| replica.vat == vat.vat);
    let fault = replica.and_then(|replica| replica.fault.as_ref());
    if let Some(why) = fault.or(failed.filter(|_| replica.is_none())) {
        return Some(MemberState::Faulty { why: why.clone() });
    }
    match replica {
        Some(_) => Some(MemberState::Up),
        None => Some(MemberState::Faulty { why: "the host does not carry the vat".to_owned() }),
    }
}

fn status_of<'a>(key: &str, hosts: &'a [LocalHost]) -> Option<&'a HostStatus> {
    hosts.iter().filter_map(|host| host.status.as_ref()).find(|status| status.key == key)
}

/// Returns whether a host hears from a member: itself, one it is connected with by what either of the two says, or its leader.
fn hears(viewer: &HostStatus, key: &str, vat: &VatStatus, hosts: &[LocalHost]) -> bool {
    let connected = |host: &HostStatus, other: &str| host.peers.iter().any(|peer| peer.key == other && peer.connected);
    let follows = |host: &HostStatus, other: &str| {
        let name = vat.members.iter().find(|member| member.key == other).map(|member| &member.name);
        let replica = host.vats.iter().find(|replica| replica.vat == vat.vat);
        name.is_some() && replica.and_then(|replica| replica.leader.as_ref()) == name
    };
    let sees = |host: &HostStatus, other: &str| connected(host, other) || follows(host, other);
    viewer.key == key || sees(viewer, key) || status_of(key, hosts).is_some_and(|other| sees(other, &viewer.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    /// The host number `number`: its key is all of that digit, its name `h1` and so on.
    fn key(number: usize) -> String {
        number.to_string().repeat(64)
    }

    /// A host of vat `v`, whose members are `members`, and that is connected with `peers`.
    fn host(number: usize, threshold: u16, members: &[usize], peers: &[usize]) -> LocalHost {
        let member = |number: &usize| json!({ "name": format!("h{number}"), "key": key(*number), "addresses": [] });
        let members: Vec<_> = members.iter().map(member).collect();
        let peer =
            |number: &usize| json!({ "key": key(*number), "connected": true, "addresses": [], "last_error": null });
        let vat = json!({
            "name": "v", "vat": "07", "role": "follower", "leader": null, "term": 1, "committed_block": 9, "applied_block": 9,
            "certified_block": 9, "epoch": 0, "certified_epoch": 0, "threshold": threshold, "members": members,
            "pending_change": null, "installed": true, "install_error": null, "exited": null, "deliveries": 3,
            "heap_bytes": 1, "checkpoint_block": 0, "certified_checkpoint_block": 0, "state_root": null,
            "equivocations": 0, "disagreements": 0, "streams": [], "fault": null,
        });
        let status = json!({
            "host": format!("h{number}"), "key": key(number), "version": "", "image": "", "process": 1, "uptime_s": 1,
            "listen": [], "http": "", "peers": peers.iter().map(peer).collect::<Vec<_>>(), "vats": [vat], "failed_vats": {},
        });
        let mut host = LocalHost::at(Path::new("home"), format!("h{number}"));
        host.key = Some(key(number).parse().expect("a key"));
        host.status = Some(serde_json::from_value(status).expect("a status"));
        host
    }

    fn without_answer(mut host: LocalHost, hangs: bool) -> LocalHost {
        (host.status, host.hangs) = (None, hangs);
        host
    }

    fn unusable(host: LocalHost) -> LocalHost {
        let mut host = without_answer(host, false);
        host.problem = Some("the home is gone".into());
        host
    }

    /// Hosts 1 to 3 of a vat whose threshold is this, all connected.
    fn three(threshold: u16) -> [LocalHost; 3] {
        [1, 2, 3].map(|number| host(number, threshold, &[1, 2, 3], &[1, 2, 3]))
    }

    #[track_caller]
    fn check(hosts: &[LocalHost], reachable: usize, parts: &[&str]) -> Quorum {
        let [quorum] = quorums(hosts).try_into().unwrap_or_else(|found| panic!("one vat: {found:?}"));
        assert_eq!(quorum.reachable, reachable, "{quorum:?}");
        let complaint = quorum.complaint().unwrap_or_default();
        assert_eq!(complaint.is_empty(), parts.is_empty(), "{complaint}");
        parts.iter().for_each(|part| assert!(complaint.contains(part), "no {part} in {complaint}"));
        quorum
    }

    #[test]
    fn a_vat_whose_members_are_all_there_is_well() {
        check(&three(2), 3, &[]);
        // Seen by a partner who can ask one of them.
        let [first, ..] = three(2);
        check(&[first], 3, &[]);
    }

    #[test]
    fn a_member_that_is_missing_is_named_with_what_is_left_and_what_helps() {
        let [first, second, third] = three(2);
        let quorum = check(
            &[first, second, without_answer(third, false)],
            2,
            &[
                "2 signatures needed, 2 of 3 members reachable",
                "h3 does not run",
                "one more silences it",
                "member replace --vat v --out h3",
            ],
        );
        assert!(quorum.can_speak() && quorum.can_order() && !quorum.is_whole());
        let [first, second, third] = three(2);
        check(&[first, second, without_answer(third, true)], 2, &["h3 hangs"]);
        // A host that hangs is not reachable, though the others' connections to it still stand.
        let [first, second, third] = three(2);
        let quorum = check(
            &[first, without_answer(second, true), without_answer(third, true)],
            1,
            &["can't order anything", "until one more is back"],
        );
        assert!(!quorum.can_speak() && !quorum.can_order());
    }

    #[test]
    fn a_vat_that_can_not_speak_is_given_no_advice_that_can_not_work() {
        let [first, second, third] = three(3);
        let quorum = check(
            &[first, second, without_answer(third, false)],
            2,
            &[
                "3 signatures needed, 2 of 3 members reachable",
                "can't order anything, nor speak, nor can its members be changed",
                "until one more is back",
            ],
        );
        assert!(!quorum.can_speak() && !quorum.can_order());
        assert!(!quorum.complaint().unwrap_or_default().contains("member replace"));
        let [first, second, third] = three(3);
        let quorum = check(&[first, second, unusable(third)], 2, &["h3 can't run", "never again", "vat create"]);
        assert!(!quorum.complaint().unwrap_or_default().contains("member replace"));
    }

    #[test]
    fn a_partner_sees_the_others_through_its_own_host() {
        check(&[host(1, 2, &[1, 2, 3], &[3])], 2, &["h2 is not connected with the others"]);
        check(&[host(1, 2, &[1, 2, 3], &[])], 1, &["2 signatures needed, 1 of 3"]);
        // Its leader it hears, whatever its connections say.
        let mut led = host(1, 2, &[1, 2, 3], &[3]);
        led.status.as_mut().expect("up").vats[0].leader = Some("h2".into());
        check(&[led], 3, &[]);
    }

    #[test]
    fn hosts_that_run_and_hear_nothing_of_one_another_are_no_quorum() {
        let cut_off = |number| host(number, 2, &[1, 2, 3], &[]);
        check(&[cut_off(1), cut_off(2), cut_off(3)], 1, &["can't order anything"]);
        let pair = [host(1, 2, &[1, 2, 3], &[2]), cut_off(2), cut_off(3)];
        check(&pair, 2, &["h3 is not connected", "silences it"]);
    }

    #[test]
    fn a_faulty_replica_and_a_host_without_the_vat_sign_nothing() {
        let [first, second, mut third] = three(2);
        third.status.as_mut().expect("up").vats[0].fault = Some("Q-C042".into());
        check(&[first, second, third], 2, &["h3 has stopped with a fault", "replace what is missing"]);
        let [first, second, mut third] = three(2);
        third.status.as_mut().expect("up").vats.clear();
        check(&[first, second, third], 2, &["h3"]);
    }

    #[test]
    fn an_exported_host_is_seen_through_the_others() {
        let [first, second, third] = three(2);
        let mut third = unusable(third);
        third.exported = true;
        check(&[first, second, third], 3, &[]);
    }

    #[test]
    fn the_newest_membership_counts_and_not_what_a_host_that_left_says() {
        let mut left = host(3, 2, &[1, 2, 3], &[]);
        left.status.as_mut().expect("up").vats[0].role = "removed".into();
        let newer = |number| {
            let mut host = host(number, 2, &[1, 2, 4], &[1, 2, 4]);
            host.status.as_mut().expect("up").vats[0].epoch = 1;
            host
        };
        let quorum = check(&[newer(1), newer(2), left, newer(4)], 3, &[]);
        let keys: Vec<&str> = quorum.members.iter().map(|member| member.key.as_str()).collect();
        assert_eq!(keys, [key(1), key(2), key(4)]);
    }
}
