//! What a seed does to its world: a list of steps, made before the world begins, so that it can be shown, replayed and shortened.

use quorate_consensus::survival;
use quorate_consensus::testing::Lie;
use std::collections::BTreeSet;
use std::fmt;

use crate::dice::Dice;
use crate::net::Weather;

/// How long a sync of a good disk takes, in milliseconds.
const SYNC_MS: (u64, u64) = (0, 2);
/// Of slow disks: a vote, which waits for one, takes nearly the 250 ms that an election has here, and an election takes longer than a member
/// waits for its turn to ask.
const SLOW_SYNC_MS: (u64, u64) = (210, 230);
/// How fast a clock may run beside slow disks, in percent: by a faster one no vote would come in time.
const MOST_RATE_BESIDE_SLOW_DISKS: u32 = 100;

/// What kind of world a seed makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub members: usize,
    pub threshold: u16,
    /// As many hosts lie as the vat is built for, and they would like to lead; they go on lying as leaders when the faults have ended.
    pub liars_lead: bool,
    /// A sync takes most of the time that the votes of an election have.
    pub slow_disks: bool,
}

/// How a world is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    pub members: usize,
    pub threshold: u16,
    /// Commands between two checkpoints.
    pub checkpoint_commands: u64,
    pub clients: u8,
    pub registers: u8,
    /// How long a client thinks between two commands at most, in milliseconds.
    pub think_ms: u64,
    /// When the faults end, in milliseconds.
    pub faults_ms: u64,
    /// The hosts that lie.
    pub liars: BTreeSet<usize>,
    /// They may lead.
    pub liars_lead: bool,
    /// They lie on as leaders when the faults have ended.
    pub lie_to_the_end: bool,
    /// How long a sync takes, from least to most, in milliseconds.
    pub sync_ms: (u64, u64),
}

/// A change of the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reform {
    /// A new host in the place of a member.
    Replace(usize),
    Add,
    Remove(usize),
    /// Gives up the change that is under way.
    Cancel,
}

/// What befalls a host when it starts for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstStart {
    Well,
    /// The power is cut after so many writes and syncs.
    PowerCut(u64),
    /// The first sync fails.
    FailSync,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process of a host ends.
    Kill(usize),
    /// The power of a host is cut.
    PowerCut(usize),
    /// The power of a host is cut as soon as a share of it has left.
    PowerCutAfterShare(usize),
    /// The power of all hosts is cut.
    PowerCutAll,
    /// A host starts again; its clock runs at this rate, in percent.
    Start(usize, u32),
    /// Those of one side cannot reach those of the other.
    Split(Vec<usize>),
    /// Nothing goes from one host to another; the other way is open.
    OneWay(usize, usize),
    /// All ways are open again.
    Mend,
    Weather(Weather),
    /// Syncs of a host take so many milliseconds.
    SlowDisk(usize, u64),
    /// The next sync of a host fails.
    FailSync(usize),
    /// A newcomer, if there is one, starts like this.
    Reform(Reform, FirstStart),
    /// The liar tells these lies from now on, and no others.
    Lie(BTreeSet<Lie>),
}

/// A step and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub at_ms: u64,
    pub action: Action,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:>6} ms  {:?}", self.at_ms, self.action)
    }
}

/// What happens to a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub setup: Setup,
    /// How the members of the genesis start.
    pub starts: Vec<FirstStart>,
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of_seed(seed: u64, kind: Kind) -> Plan {
        let Kind { members, threshold, liars_lead, slow_disks } = kind;
        let mut dice = Dice::new(seed, "setup");
        let setup = Setup {
            members,
            threshold,
            checkpoint_commands: dice.between(2, 25),
            clients: u8::try_from(dice.between(1, 3)).expect("a small number"),
            registers: u8::try_from(dice.between(1, 3)).expect("a small number"),
            think_ms: dice.between(20, 300),
            faults_ms: dice.between(1_500, 5_000),
            liars: BTreeSet::new(),
            liars_lead: false,
            lie_to_the_end: liars_lead,
            sync_ms: if slow_disks { SLOW_SYNC_MS } else { SYNC_MS },
        };
        let survives = survival(members, usize::from(threshold));
        let most = survives.liars.min(survives.crashes);
        let count = if liars_lead { most } else { usize::from(most > 0 && dice.chance(600)) };
        let mut liars = BTreeSet::new();
        while liars.len() < count {
            liars.insert(dice.place(members));
        }
        let liars_lead = !liars.is_empty() && (liars_lead || dice.chance(100));
        let setup = Setup { liars, liars_lead, ..setup };
        let mut first = Dice::new(seed, "first starts");
        let mut steps = steps(&mut Dice::new(seed, "plan"), &mut first, &setup);
        let starts = first_starts(&mut first, &setup, &mut steps);
        steps.sort_by_key(|step| step.at_ms);
        Plan { setup, starts, steps }
    }
}

/// Returns how the members of the genesis start: in most worlds well. In some, several lose power before the vat is formed, and a liar lies
/// from the first moment on.
fn first_starts(dice: &mut Dice, setup: &Setup, steps: &mut Vec<Step>) -> Vec<FirstStart> {
    if !setup.liars.is_empty() && (setup.lie_to_the_end || dice.chance(200)) {
        let mut told = lies(dice, setup);
        told.insert(*dice.pick(&[Lie::FalseTerms, Lie::FalseVotes, Lie::FalseAcks]));
        steps.push(Step { at_ms: 0, action: Action::Lie(told) });
    }
    let troubled = dice.chance(150);
    let mut start = |host: usize| {
        if !troubled || dice.chance(300) {
            return FirstStart::Well;
        }
        steps.push(Step { at_ms: dice.between(20, 1_500), action: Action::Start(host, rate(dice, setup)) });
        trouble(dice)
    };
    (0..setup.members).map(&mut start).collect()
}

/// More writes than it takes to take part.
const FIRST_WRITES: u64 = 20;

fn trouble(dice: &mut Dice) -> FirstStart {
    if dice.chance(300) { FirstStart::FailSync } else { FirstStart::PowerCut(dice.below(FIRST_WRITES)) }
}

/// How often each kind of fault comes in a world: some worlds have many kinds, others few.
struct Mix(Vec<(u64, Fault)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    PowerCut,
    PowerCutAfterShare,
    PowerCutAll,
    Split,
    OneWay,
    Weather,
    SlowDisk,
    FailSync,
    Reform,
    Lie,
}

impl Mix {
    fn new(dice: &mut Dice, setup: &Setup) -> Mix {
        let kinds = [
            (10, Fault::Kill),
            (10, Fault::PowerCut),
            (4, Fault::PowerCutAfterShare),
            (3, Fault::PowerCutAll),
            (8, Fault::Split),
            (6, Fault::OneWay),
            (8, Fault::Weather),
            (5, Fault::SlowDisk),
            (3, Fault::FailSync),
            (5, Fault::Reform),
        ];
        let mut chosen: Vec<(u64, Fault)> = kinds.into_iter().filter(|_| dice.chance(600)).collect();
        if chosen.is_empty() {
            chosen = kinds.to_vec();
        }
        if !setup.liars.is_empty() {
            chosen.push((15, Fault::Lie));
        }
        Mix(chosen)
    }

    fn throw(&self, dice: &mut Dice) -> Fault {
        let total = self.0.iter().map(|(weight, _)| weight).sum();
        let mut left = dice.below(total);
        for (weight, kind) in &self.0 {
            if left < *weight {
                return *kind;
            }
            left -= weight;
        }
        Fault::Kill
    }
}

fn steps(dice: &mut Dice, first: &mut Dice, setup: &Setup) -> Vec<Step> {
    let mix = Mix::new(dice, setup);
    let pause = dice.between(150, 1_200);
    let mut steps = Vec::new();
    let mut at_ms = dice.between(0, 800);
    let mut reforms = 0;
    while at_ms < setup.faults_ms {
        // Hosts that join later have the places after those of the first members.
        let hosts = setup.members + reforms;
        let host = dice.place(hosts);
        let until_ms = at_ms + dice.between(20, 1_500);
        let mut step = |at_ms: u64, action: Action| steps.push(Step { at_ms, action });
        match mix.throw(dice) {
            Fault::Kill => {
                step(at_ms, Action::Kill(host));
                step(until_ms, Action::Start(host, rate(dice, setup)));
            }
            Fault::PowerCut => {
                step(at_ms, Action::PowerCut(host));
                step(until_ms, Action::Start(host, rate(dice, setup)));
            }
            Fault::PowerCutAfterShare => {
                step(at_ms, Action::PowerCutAfterShare(host));
                step(until_ms, Action::Start(host, rate(dice, setup)));
            }
            Fault::PowerCutAll => {
                step(at_ms, Action::PowerCutAll);
                for host in 0..hosts {
                    step(at_ms + dice.between(0, 600), Action::Start(host, rate(dice, setup)));
                }
            }
            Fault::Split => {
                let side = (0..hosts).filter(|_| dice.chance(500)).collect();
                step(at_ms, Action::Split(side));
                step(until_ms, Action::Mend);
            }
            Fault::OneWay => {
                let other = (host + 1 + dice.place(hosts - 1)) % hosts;
                step(at_ms, Action::OneWay(host, other));
                step(until_ms, Action::Mend);
            }
            Fault::Weather => {
                step(at_ms, Action::Weather(weather(dice)));
                step(until_ms, Action::Weather(Weather::FAIR));
            }
            Fault::SlowDisk => {
                step(at_ms, Action::SlowDisk(host, dice.between(10, 400)));
                step(until_ms, Action::SlowDisk(host, setup.sync_ms.1));
            }
            Fault::FailSync => {
                step(at_ms, Action::FailSync(host));
                step(until_ms, Action::Start(host, rate(dice, setup)));
            }
            Fault::Reform if reforms < 3 => {
                // With a liar among them the members must stay those that one liar cannot deceive.
                let reform = match dice.below(if setup.liars.is_empty() { 10 } else { 5 }) {
                    0..5 => Reform::Replace(host),
                    5..7 => Reform::Add,
                    7..9 => Reform::Remove(host),
                    _ => Reform::Cancel,
                };
                let comes = matches!(reform, Reform::Replace(_) | Reform::Add);
                let start = if comes && first.chance(250) { trouble(first) } else { FirstStart::Well };
                step(at_ms, Action::Reform(reform, start));
                if start != FirstStart::Well {
                    step(at_ms + first.between(20, 1_500), Action::Start(setup.members + reforms, rate(first, setup)));
                }
                reforms += usize::from(comes);
            }
            Fault::Reform => {}
            Fault::Lie => step(at_ms, Action::Lie(lies(dice, setup))),
        }
        at_ms += dice.between(pause / 4, pause * 2);
    }
    steps
}

/// The lies of a while: often one, sometimes several, sometimes none.
fn lies(dice: &mut Dice, setup: &Setup) -> BTreeSet<Lie> {
    let leads = |lie: &Lie| Lie::OF_LEADERS.contains(lie);
    let known: Vec<Lie> = Lie::ALL.into_iter().filter(|lie| !leads(lie) || setup.liars_lead).collect();
    let mut lies: BTreeSet<Lie> = (0..dice.below(4)).map(|_| *dice.pick(&known)).collect();
    if setup.liars_lead && !lies.iter().any(leads) {
        lies.insert(*dice.pick(&Lie::OF_LEADERS));
    }
    lies
}

/// Returns how fast a clock runs, in percent.
fn rate(dice: &mut Dice, setup: &Setup) -> u32 {
    let rate = u32::try_from(dice.between(70, 140)).expect("a small number");
    if setup.sync_ms == SLOW_SYNC_MS { rate.min(MOST_RATE_BESIDE_SLOW_DISKS) } else { rate }
}

fn weather(dice: &mut Dice) -> Weather {
    let most = *dice.pick(&[3, 20, 100, 500]);
    let loss = *dice.pick(&[0, 10, 100, 300]);
    let doubled = *dice.pick(&[0, 0, 50, 300]);
    Weather { delay_ms: (0, most), loss, doubled, copy_ms: dice.between(0, 2_000) }
}
