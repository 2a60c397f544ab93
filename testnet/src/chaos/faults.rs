//! What is done to the hosts, and how it ends.

use super::hosts::{HOSTS, Hosts, MEMBERS, ODD_CLOCK, SMALL_DISK, SWAPPED};
use super::network::Link;
use anyhow::{Context, ensure};
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The processes of one member, of the leader, of two members, of the sender's host, or of all hosts are killed, and started again.
    KillOne,
    KillLeader,
    KillTwo,
    KillSender,
    KillAll,
    /// A member's process, or the leader's, does not get on (SIGSTOP).
    Halt,
    HaltLeader,
    /// Nothing comes to a member any more and nothing from it; only one of both; the members are two halves; no host reaches any.
    CutOff,
    CutIncoming,
    CutOutgoing,
    Halves,
    CutAll,
    /// A disk has no room any more.
    FullDisk,
    /// Bits of a table in the database of a stopped member change; it is repaired.
    BitFlips,
    /// A member's clock jumps, by seconds up to a quarter of an hour.
    Clock,
    /// A member leaves the vat for a host that was none.
    Swap,
    /// None: what the network alone does.
    Calm,
}

/// All of them.
pub const KINDS: [Kind; 17] = [
    Kind::KillOne,
    Kind::KillLeader,
    Kind::KillTwo,
    Kind::KillSender,
    Kind::KillAll,
    Kind::Halt,
    Kind::HaltLeader,
    Kind::CutOff,
    Kind::CutIncoming,
    Kind::CutOutgoing,
    Kind::Halves,
    Kind::CutAll,
    Kind::FullDisk,
    Kind::BitFlips,
    Kind::Clock,
    Kind::Swap,
    Kind::Calm,
];

impl Kind {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::KillOne => "kill -9 of a member",
            Kind::KillLeader => "kill -9 of the leader",
            Kind::KillTwo => "kill -9 of two members",
            Kind::KillSender => "kill -9 of the sender",
            Kind::KillAll => "kill -9 of all hosts",
            Kind::Halt => "a member halted",
            Kind::HaltLeader => "the leader halted",
            Kind::CutOff => "a member cut off",
            Kind::CutIncoming => "a member cut off one way: in",
            Kind::CutOutgoing => "a member cut off one way: out",
            Kind::Halves => "members in two halves",
            Kind::CutAll => "all hosts cut off",
            Kind::FullDisk => "a disk full",
            Kind::BitFlips => "bits flipped, repaired",
            Kind::Clock => "a clock that jumps",
            Kind::Swap => "a member swapped",
            Kind::Calm => "none",
        }
    }

    /// Whether it can be done to these hosts.
    pub fn is_possible(self, hosts: &Hosts) -> bool {
        match self {
            Kind::CutOff | Kind::CutIncoming | Kind::CutOutgoing | Kind::Halves | Kind::CutAll => {
                hosts.network.is_some()
            }
            Kind::FullDisk => hosts.has_small_disk,
            Kind::Clock => hosts.has_odd_clock,
            _ => true,
        }
    }
}

/// What the network does to all packets meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// 50 ms and 2 % loss, each way.
    Foul,
}

impl Weather {
    /// The link of two places.
    fn link(self) -> Link {
        match self {
            Weather::Fair => Link::default(),
            Weather::Foul => Link { is_cut: false, delay: Duration::from_millis(50), lost_permille: 20 },
        }
    }

    /// Sets it everywhere, with no cuts.
    pub fn set(self, hosts: &Hosts) {
        if let Some(network) = &hosts.network {
            network.change(|_, _, _| self.link());
        }
    }
}

/// A fault that was brought about.
pub struct Fault {
    pub kind: Kind,
    /// The hosts that it is about.
    pub places: Vec<usize>,
    /// What is worth saying.
    pub note: String,
}

/// Brings a fault about. What it needs may take a while: a swap has taken effect when this returns.
pub async fn begin(kind: Kind, hosts: &Hosts, chance: &mut ChaCha8Rng) -> anyhow::Result<Fault> {
    let (members, leader) =
        hosts.wait(Duration::from_secs(60), "leader of ledger", async || hosts.members().await).await?;
    let one = *members.choose(chance).context("members")?;
    let places = match kind {
        Kind::KillLeader | Kind::HaltLeader => vec![leader],
        Kind::KillTwo | Kind::Halves => {
            let other =
                *members.iter().filter(|place| **place != one).collect::<Vec<_>>().choose(chance).context("two")?;
            vec![one, *other]
        }
        Kind::KillSender => vec![HOSTS.len() - 1],
        Kind::KillAll | Kind::CutAll => (0..HOSTS.len()).collect(),
        Kind::FullDisk => vec![SMALL_DISK],
        Kind::Clock => vec![ODD_CLOCK],
        Kind::Swap => SWAPPED.into_iter().filter(|place| members.contains(place)).collect(),
        Kind::Calm => vec![],
        _ => vec![one],
    };
    let mut note = String::new();
    let is_in = |place: usize| place > 0 && places.contains(&(place - 1));
    let cut = |cuts: &dyn Fn(usize, usize) -> bool| {
        if let Some(network) = &hosts.network {
            network.change(|from, to, link| Link { is_cut: link.is_cut || (from != to && cuts(from, to)), ..link });
        }
    };
    match kind {
        Kind::KillOne | Kind::KillLeader | Kind::KillTwo | Kind::KillSender | Kind::KillAll | Kind::BitFlips => {
            for place in &places {
                hosts.kill(*place)?;
            }
        }
        Kind::Halt | Kind::HaltLeader => hosts.halt(places[0], true)?,
        Kind::CutOff | Kind::CutAll => cut(&|from, to| is_in(from) || is_in(to)),
        Kind::CutIncoming => cut(&|_, to| is_in(to)),
        Kind::CutOutgoing => cut(&|from, _| is_in(from)),
        // Clients, and hosts that are no members, reach both halves.
        Kind::Halves => cut(&|from, to| {
            let both = (1..=MEMBERS).contains(&from) && (1..=MEMBERS).contains(&to);
            both && is_in(from) != is_in(to)
        }),
        Kind::FullDisk => hosts.fill_disk()?,
        Kind::Clock => {
            let seconds = [-900, -30, -2, 2, 30, 900].choose(chance).copied().unwrap_or(2);
            hosts.set_clock(seconds)?;
            note = format!("{seconds:+} s");
        }
        Kind::Swap => note = swap(hosts, &members).await?,
        Kind::Calm => {}
    }
    if kind == Kind::BitFlips {
        let flips = hosts.flip_bits(places[0], chance)?;
        note = format!("{flips} bits");
    }
    Ok(Fault { kind, places, note })
}

/// Ends a fault, as an operator does where one is needed.
pub fn heal(fault: &mut Fault, weather: Weather, hosts: &Hosts) -> anyhow::Result<()> {
    match fault.kind {
        Kind::KillOne | Kind::KillLeader | Kind::KillTwo | Kind::KillSender | Kind::KillAll => {
            for place in &fault.places {
                hosts.start(*place)?;
            }
        }
        Kind::Halt | Kind::HaltLeader => hosts.halt(fault.places[0], false)?,
        Kind::FullDisk => hosts.empty_disk()?,
        Kind::BitFlips => {
            let said = hosts.repair(fault.places[0])?;
            let is_sound = said.contains("\"sound\":true") || said.contains("\"sound\": true");
            fault.note.push_str(if is_sound { ", in nothing that is read" } else { ", found and repaired" });
            hosts.start(fault.places[0])?;
        }
        Kind::Clock => hosts.set_clock(0)?,
        Kind::CutOff
        | Kind::CutIncoming
        | Kind::CutOutgoing
        | Kind::Halves
        | Kind::CutAll
        | Kind::Swap
        | Kind::Calm => {}
    }
    weather.set(hosts);
    Ok(())
}

/// Has the host that is no member take the place of one that is a member of nothing else. Returns who did. A host that was a member before comes with a
/// new home: a key that has signed may not join again.
async fn swap(hosts: &Hosts, members: &[usize]) -> anyhow::Result<String> {
    let is_member = |place: &&usize| members.contains(place);
    let out = *SWAPPED.iter().find(is_member).context("a member that can be swapped")?;
    let spare = *SWAPPED.iter().find(|place| !is_member(place)).context("a host that is no member")?;
    hosts.renew(spare).await?;
    let home = hosts.home(spare).display().to_string();
    let mut command = hosts.net.command(&["member", "replace", "--vat", "ledger", "--out", HOSTS[out], "--in", &home]);
    let ran = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(ran.status.success(), "`vat member replace` of {} by {}: {said}", HOSTS[out], HOSTS[spare]);
    Ok(format!("by {}", HOSTS[spare]))
}
