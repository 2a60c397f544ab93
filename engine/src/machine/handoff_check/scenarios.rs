//! Small programs over two to five vats. Each is one shape in which messages could overtake one another.

use super::player::Do::{self, Drop, Evict, Give, Resolve, Send, SendSettled};
use std::fmt;

/// Where a variable of a program points at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// `decider`'s promise, which `knower` awaits: each calls it so.
    Promise { name: &'static str, decider: u8, knower: u8 },
    /// Object `object` of `home`, which `holder` calls so.
    Object { name: &'static str, holder: u8, home: u8, object: u64 },
}

/// A program: what is there, and what each vat does, in this order, at any time.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub given: Vec<Given>,
    pub scripts: Vec<(u8, Vec<Do>)>,
    /// A vat that undoes every delivery which brings it a reference.
    pub refusing: Option<u8>,
    /// Vats that end at any time, and how.
    pub ends: Vec<(u8, End)>,
}

/// How a vat ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its guest exits; its machine goes on.
    Exit,
    /// It says and hears nothing any more, and the others forget it.
    Gone,
}

const A: u8 = b'A';
const B: u8 = b'B';
const C: u8 = b'C';
const D: u8 = b'D';
const E: u8 = b'E';

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.name)?;
        for given in &self.given {
            writeln!(formatter, "  {given:?}")?;
        }
        for (vat, end) in &self.ends {
            writeln!(formatter, "  {}: {end:?} at some time", char::from(*vat))?;
        }
        for (vat, steps) in &self.scripts {
            writeln!(formatter, "  {}: {steps:?}", char::from(*vat))?;
        }
        Ok(())
    }
}

fn promise(name: &'static str, decider: u8, knower: u8) -> Given {
    Given::Promise { name, decider, knower }
}

fn object(name: &'static str, holder: u8, home: u8, object: u64) -> Given {
    Given::Object { name, holder, home, object }
}

impl Scenario {
    fn new(name: &'static str, given: Vec<Given>, scripts: Vec<(u8, Vec<Do>)>) -> Scenario {
        Scenario { name, given, scripts, refusing: None, ends: Vec::new() }
    }

    /// The vats of the program.
    pub fn vats(&self) -> Vec<u8> {
        let mut vats: Vec<u8> = self.scripts.iter().map(|(vat, _)| *vat).collect();
        for given in &self.given {
            match *given {
                Given::Promise { decider, knower, .. } => vats.extend([decider, knower]),
                Given::Object { holder, home, .. } => vats.extend([holder, home]),
            }
        }
        for (_, steps) in &self.scripts {
            vats.extend(steps.iter().filter_map(|step| match step {
                Give(_, to, _) => Some(*to),
                _ => None,
            }));
        }
        vats.sort_unstable();
        vats.dedup();
        vats
    }

    /// All that is ever sent.
    pub fn labels(&self) -> Vec<&'static str> {
        let steps = self.scripts.iter().flat_map(|(_, steps)| steps);
        steps
            .filter_map(|step| match step {
                Send(_, label) | SendSettled(_, label) => Some(*label),
                _ => None,
            })
            .collect()
    }
}

/// A chain of promises whose end is `end`: A awaits p of B, which resolves it to q of C, and so on.
fn chain() -> Vec<Given> {
    vec![promise("p", B, A), promise("q", C, B)]
}

/// The programs.
pub fn all() -> Vec<Scenario> {
    let mut all = introductions();
    all.extend(chains());
    all.extend(garbage());
    all
}

fn introductions() -> Vec<Scenario> {
    vec![
        // A introduces B to carol, having sent before.
        Scenario::new(
            "intro",
            vec![object("carol", A, C, 1)],
            vec![
                (A, vec![Send("carol", "a1"), Give("carol", B, "c"), Send("carol", "a2")]),
                (B, vec![Send("c", "b1"), Send("c", "b2")]),
            ],
        ),
        // The same, and B undoes the delivery.
        Scenario {
            refusing: Some(B),
            ..Scenario::new(
                "intro, undone",
                vec![object("carol", A, C, 1)],
                vec![(A, vec![Send("carol", "a1"), Give("carol", B, "c"), Send("carol", "a2")])],
            )
        },
        // Two introduce B to the same object.
        Scenario::new(
            "twice",
            vec![object("carol", A, C, 1), object("carol", D, C, 1)],
            vec![
                (A, vec![Send("carol", "a1"), Give("carol", B, "c")]),
                (D, vec![Send("carol", "d1"), Give("carol", B, "e")]),
                (B, vec![Send("c", "b1"), Send("e", "b2")]),
            ],
        ),
        // B resolves p to carol, which A has sent to.
        Scenario::new(
            "settle",
            vec![promise("p", B, A), object("carol", B, C, 1)],
            vec![
                (A, vec![Send("p", "a1"), Send("p", "a2"), Send("p", "a3")]),
                (B, vec![Send("carol", "b1"), Resolve("p", "carol")]),
            ],
        ),
        // p comes home to A, and E of A's waits for it too.
        Scenario::new(
            "home",
            vec![promise("p", B, A), object("a", B, A, 1)],
            vec![
                (A, vec![Send("p", "a1"), Give("p", E, "e"), Send("p", "a2")]),
                (B, vec![Resolve("p", "a")]),
                (E, vec![Send("e", "e1"), Send("e", "e2")]),
            ],
        ),
        // B sends to p and hands it back to A, which hands it on to C: to the home of what p settles to.
        Scenario::new(
            "home, handed on",
            vec![promise("p", A, B), object("carol", A, C, 1)],
            vec![
                (B, vec![Send("p", "b1"), Give("p", A, "g")]),
                (A, vec![Give("g", C, "h")]),
                (A, vec![Resolve("p", "carol")]),
                (C, vec![Send("h", "c1")]),
            ],
        ),
        // A sends to p and hands it on to E; p settles to an object of C.
        Scenario::new(
            "fork",
            vec![promise("p", B, A), object("carol", B, C, 1)],
            vec![
                (A, vec![Send("p", "a1"), Give("p", E, "e"), Send("p", "a2")]),
                (B, vec![Resolve("p", "carol")]),
                (E, vec![Send("e", "e1")]),
            ],
        ),
        // The same, and E hands it on, so that what p settles to is told twice.
        Scenario::new(
            "fork, handed on",
            vec![promise("p", B, A), object("carol", B, C, 1)],
            vec![
                (A, vec![Give("p", E, "e")]),
                (B, vec![Resolve("p", "carol")]),
                (E, vec![Give("e", D, "d")]),
                (D, vec![Send("d", "d1")]),
            ],
        ),
        // A gives carol to B, and B what it got, settled or not, to E.
        Scenario::new(
            "regift",
            vec![object("carol", A, C, 1)],
            vec![
                (A, vec![Send("carol", "a1"), Give("carol", B, "b")]),
                (B, vec![Send("b", "b1"), Give("b", E, "e"), Send("b", "b2")]),
                (E, vec![Send("e", "e1")]),
            ],
        ),
        // B sends what it got home, where it is used.
        Scenario::new(
            "regift home",
            vec![object("carol", A, C, 1)],
            vec![
                (A, vec![Send("carol", "a1"), Give("carol", B, "b")]),
                (B, vec![Send("b", "b1"), Give("b", C, "c")]),
                (C, vec![Send("c", "c1")]),
            ],
        ),
        // Two promises that come home crosswise.
        Scenario::new(
            "cross",
            vec![promise("p", B, A), promise("q", A, B), object("xa", B, A, 1), object("xb", A, B, 2)],
            vec![
                (A, vec![Send("p", "a1"), Resolve("q", "xb"), Send("p", "a2")]),
                (B, vec![Send("q", "b1"), Resolve("p", "xa"), Send("q", "b2")]),
            ],
        ),
    ]
}

fn chains() -> Vec<Scenario> {
    let with = |mut given: Vec<Given>, more: Vec<Given>| {
        given.extend(more);
        given
    };
    vec![
        // The case of Tribble: messages to the promise of a promise.
        Scenario::new(
            "tribble",
            with(chain(), vec![object("d", C, D, 1)]),
            vec![
                (A, vec![Send("p", "a1"), Send("p", "a2")]),
                (B, vec![Resolve("p", "q")]),
                (C, vec![Resolve("q", "d")]),
            ],
        ),
        // The same with three messages, and B and C send too.
        Scenario::new(
            "tribble, all send",
            with(chain(), vec![object("d", C, D, 1)]),
            vec![
                (A, vec![Send("p", "a1"), Send("p", "a2"), Send("p", "a3")]),
                (B, vec![Send("q", "b1"), Resolve("p", "q")]),
                (C, vec![Send("d", "c1"), Resolve("q", "d")]),
            ],
        ),
        // The same, and A hands the promise on.
        Scenario::new(
            "tribble, forked",
            with(chain(), vec![object("d", C, D, 1)]),
            vec![
                (A, vec![Send("p", "a1"), Give("p", E, "e")]),
                (B, vec![Resolve("p", "q")]),
                (C, vec![Resolve("q", "d")]),
                (E, vec![Send("e", "e1")]),
            ],
        ),
        // The end of the chain is a gift that C has just got and that has not settled.
        Scenario::new(
            "tribble, gift",
            with(chain(), vec![object("d", E, D, 1)]),
            vec![
                (E, vec![Send("d", "e1"), Give("d", C, "d")]),
                (A, vec![Send("p", "a1"), Send("p", "a2")]),
                (B, vec![Resolve("p", "q")]),
                (C, vec![Resolve("q", "d")]),
            ],
        ),
        // The end of the chain is an object of the first.
        Scenario::new(
            "ring",
            with(chain(), vec![object("a", C, A, 1)]),
            vec![
                (A, vec![Send("p", "a1"), Send("p", "a2"), Send("p", "a3")]),
                (B, vec![Resolve("p", "q")]),
                (C, vec![Resolve("q", "a")]),
            ],
        ),
        // The end of the chain is an object of the one in the middle.
        Scenario::new(
            "back",
            with(chain(), vec![object("b", C, B, 1)]),
            vec![
                (A, vec![Send("p", "a1"), Send("p", "a2"), Send("p", "a3")]),
                (B, vec![Resolve("p", "q")]),
                (C, vec![Resolve("q", "b")]),
            ],
        ),
        // A chain over five vats.
        Scenario::new(
            "five",
            with(chain(), vec![promise("r", D, C), object("e", D, E, 1)]),
            vec![
                (A, vec![Send("p", "a1"), Send("p", "a2"), Send("p", "a3")]),
                (B, vec![Resolve("p", "q")]),
                (C, vec![Resolve("q", "r")]),
                (D, vec![Resolve("r", "e")]),
            ],
        ),
    ]
}

fn garbage() -> Vec<Scenario> {
    vec![
        // B resolves p to carol and forgets carol at once.
        Scenario::new(
            "drop",
            vec![promise("p", B, A), object("carol", B, C, 1)],
            vec![
                (A, vec![Send("p", "a1"), Send("p", "a2")]),
                (B, vec![Resolve("p", "carol"), Drop("p"), Drop("carol")]),
            ],
        ),
        // The same, and B keeps nothing for messages under way: there are none.
        Scenario::new(
            "evict",
            vec![promise("p", B, A), object("carol", B, C, 1)],
            vec![(A, vec![SendSettled("p", "a1")]), (B, vec![Resolve("p", "carol"), Evict("p"), Evict("carol")])],
        ),
        // B drops carol while A's gift of carol is under way, and uses the gift.
        Scenario::new(
            "drop crosses a gift",
            vec![object("carol", A, C, 1), object("mine", B, C, 1)],
            vec![
                (A, vec![Give("carol", B, "b"), Drop("carol")]),
                (B, vec![Drop("mine")]),
                (B, vec![Send("b", "b1"), Send("b", "b2")]),
            ],
        ),
    ]
}
