//! Programs by chance: promises that follow one another, references that are handed on, messages to all of them.

use super::Dice;
use super::player::Do;
use super::scenarios::{End, Given, Scenario};

/// A reference that a vat has in a variable.
#[derive(Clone, Copy)]
struct Reference {
    vat: u8,
    name: &'static str,
}

struct Maker {
    dice: Dice,
    vats: Vec<u8>,
    given: Vec<Given>,
    scripts: Vec<(u8, Vec<Do>)>,
    names: usize,
    gives_left: usize,
}

/// Names live as long as the test does.
fn name(prefix: &str, number: usize) -> &'static str {
    Box::leak(format!("{prefix}{number}").into_boxed_str())
}

impl Maker {
    fn vat_but(&mut self, but: u8) -> u8 {
        let others: Vec<u8> = self.vats.iter().copied().filter(|vat| *vat != but).collect();
        others[self.dice.roll(others.len() as u64) as usize]
    }

    fn fresh(&mut self, prefix: &str) -> &'static str {
        self.names += 1;
        name(prefix, self.names)
    }

    /// An object of another vat, in a variable of `holder`.
    fn object(&mut self, holder: u8) -> Reference {
        let home = self.vat_but(holder);
        let name = self.fresh("o");
        self.given.push(Given::Object { name, holder, home, object: 1 + self.dice.roll(2) });
        Reference { vat: holder, name }
    }

    /// What is done with a reference: a script of its own, since it waits until the reference is there.
    fn script(&mut self, reference: Reference) {
        let mut steps = Vec::new();
        let mut handed_on = Vec::new();
        for _ in 0..1 + self.dice.roll(3) {
            if self.gives_left > 0 && self.dice.roll(3) == 0 {
                self.gives_left -= 1;
                let (to, name) = (self.vat_but(reference.vat), self.fresh("g"));
                steps.push(Do::Give(reference.name, to, name));
                handed_on.push(Reference { vat: to, name });
            } else {
                let label = self.fresh("m");
                steps.push(Do::Send(reference.name, label));
            }
        }
        self.scripts.push((reference.vat, steps));
        handed_on.into_iter().for_each(|reference| self.script(reference));
    }
}

/// The program of a seed: three to five vats, one to four promises. Each promise is resolved to an object or to a promise that comes
/// after it, so that each comes to an end.
pub fn program(seed: u64) -> Scenario {
    let mut dice = Dice(seed);
    let vats: Vec<u8> = (b'A'..).take(3 + dice.roll(3) as usize).collect();
    let promises = 1 + dice.roll(4) as usize;
    let mut maker = Maker { dice, vats, given: Vec::new(), scripts: Vec::new(), names: 0, gives_left: 3 };
    let mut references = Vec::new();
    for _ in 0..1 + maker.dice.roll(2) {
        let holder = maker.vats[maker.dice.roll(maker.vats.len() as u64) as usize];
        references.push(maker.object(holder));
    }
    // The last first: what it can be resolved to is there already.
    let mut later: Vec<Reference> = Vec::new();
    for number in 0..promises {
        let decider = match later.last() {
            // Most follow the one before.
            Some(next) if maker.dice.roll(4) > 0 => next.vat,
            _ => maker.vats[maker.dice.roll(maker.vats.len() as u64) as usize],
        };
        let knower = maker.vat_but(decider);
        let promise = name("p", number);
        maker.given.push(Given::Promise { name: promise, decider, knower });
        let known = later.iter().copied().rfind(|reference| reference.vat == decider);
        let target = match known {
            Some(target) if maker.dice.roll(5) > 0 => target,
            _ => maker.object(decider),
        };
        let mut steps = Vec::new();
        if maker.dice.roll(2) == 0 {
            steps.push(Do::Send(target.name, maker.fresh("m")));
        }
        steps.push(Do::Resolve(promise, target.name));
        maker.scripts.push((decider, steps));
        let reference = Reference { vat: knower, name: promise };
        references.push(reference);
        later.push(reference);
    }
    references.into_iter().for_each(|reference| maker.script(reference));
    let Maker { given, scripts, .. } = maker;
    Scenario { name: "by chance", given, scripts, refusing: None, ends: Vec::new() }
}

/// The same, and one or two of the vats end.
pub fn program_with_ends(seed: u64) -> Scenario {
    let mut scenario = program(seed);
    let mut dice = Dice(seed ^ 0x5bd1_e995);
    let mut vats = scenario.vats();
    for _ in 0..1 + dice.roll(2) {
        let vat = vats.remove(dice.roll(vats.len() as u64) as usize);
        scenario.ends.push((vat, if dice.roll(2) == 0 { End::Exit } else { End::Gone }));
    }
    scenario
}
