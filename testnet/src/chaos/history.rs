//! What clients saw, and whether it is linearizable: each operation took effect at one instant between its call and its answer.
//!
//! The algorithm is that of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with the memory of Lowe ("Testing for
//! linearizability", 2017), in the form of Horn and Kroening ("Faster linearizability checking via P-compositionality", 2015): operations are
//! linearized as early as possible, what was tried is remembered, and each cell is judged by itself.
//!
//! An operation without an answer may take effect at any time after its call, or never.

use std::collections::{BTreeMap, HashSet};

/// What is asked of a cell, which begins with 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    Write(u64),
    /// Writes the second if the cell holds the first.
    Swap(u64, u64),
    /// Adds one, and returns what then is there.
    Add,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Value(u64),
    Written,
    Swapped(bool),
}

impl Call {
    /// The cell afterwards, and the answer.
    fn apply(self, cell: u64) -> (u64, Answer) {
        match self {
            Call::Read => (cell, Answer::Value(cell)),
            Call::Write(value) => (value, Answer::Written),
            Call::Swap(from, to) if from == cell => (to, Answer::Swapped(true)),
            Call::Swap(..) => (cell, Answer::Swapped(false)),
            Call::Add => (cell + 1, Answer::Value(cell + 1)),
        }
    }
}

/// One operation, as its client saw it. Times are of one clock.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub call: Call,
    pub called_us: u64,
    /// When the answer came, and which one. `None`: the client gave up.
    pub answer: Option<(u64, Answer)>,
}

/// Judges the operations of each cell.
///
/// # Errors
/// Names a cell whose history has no linearization.
pub fn check(cells: &BTreeMap<String, Vec<Operation>>) -> Result<(), String> {
    for (cell, operations) in cells {
        if !is_linearizable(operations) {
            let mut shown = operations.clone();
            shown.sort_by_key(|operation| operation.called_us);
            return Err(format!("cell {cell} is not linearizable: {shown:?}"));
        }
    }
    Ok(())
}

/// Calls and answers in the order of time, in a list from which operations are taken, and to which they come back.
struct Events {
    /// The operation, and whether it is its call.
    events: Vec<(usize, bool)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Of each operation: where its call is, and its answer.
    places: Vec<(usize, Option<usize>)>,
}

/// Before the first event; also after the last one.
const HEAD: usize = 0;

impl Events {
    fn of(operations: &[Operation]) -> Events {
        let mut order: Vec<(u64, bool, usize)> = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            order.push((operation.called_us, false, number));
            order.extend(operation.answer.map(|(at, _)| (at, true, number)));
        }
        // At the same time calls come first: they are concurrent then.
        order.sort_unstable();
        let mut places = vec![(HEAD, None); operations.len()];
        let mut events = vec![(usize::MAX, false)];
        for (_, is_answer, number) in order {
            if is_answer {
                places[number].1 = Some(events.len());
            } else {
                places[number].0 = events.len();
            }
            events.push((number, !is_answer));
        }
        let count = events.len();
        let next = (0..count).map(|place| (place + 1) % count).collect();
        let previous = (0..count).map(|place| (place + count - 1) % count).collect();
        Events { events, next, previous, places }
    }

    fn take(&mut self, number: usize) {
        let (call, answer) = self.places[number];
        for place in [Some(call), answer].into_iter().flatten() {
            let (previous, next) = (self.previous[place], self.next[place]);
            (self.next[previous], self.previous[next]) = (next, previous);
        }
    }

    fn put_back(&mut self, number: usize) {
        let (call, answer) = self.places[number];
        for place in [answer, Some(call)].into_iter().flatten() {
            let (previous, next) = (self.previous[place], self.next[place]);
            (self.next[previous], self.previous[next]) = (place, place);
        }
    }
}

/// Judges the operations of one cell.
pub fn is_linearizable(operations: &[Operation]) -> bool {
    let mut events = Events::of(operations);
    let mut missing = operations.iter().filter(|operation| operation.answer.is_some()).count();
    let mut done = vec![0_u64; operations.len().div_ceil(64)];
    let mut tried: HashSet<(Vec<u64>, u64)> = HashSet::new();
    let mut steps: Vec<(usize, u64)> = Vec::new();
    let (mut cell, mut place) = (0, events.next[HEAD]);
    while missing > 0 {
        if place != HEAD && events.events[place].1 {
            let number = events.events[place].0;
            let operation = &operations[number];
            let (after, answer) = operation.call.apply(cell);
            let bit = 1 << (number % 64);
            if operation.answer.is_none_or(|(_, seen)| seen == answer) {
                done[number / 64] |= bit;
                if tried.insert((done.clone(), after)) {
                    steps.push((number, cell));
                    events.take(number);
                    missing -= usize::from(operation.answer.is_some());
                    (cell, place) = (after, events.next[HEAD]);
                    continue;
                }
                done[number / 64] &= !bit;
            }
            place = events.next[place];
        } else {
            // An answer whose operation must have taken effect by now, or the end: the last step was wrong.
            let Some((number, before)) = steps.pop() else { return false };
            events.put_back(number);
            done[number / 64] &= !(1 << (number % 64));
            missing += usize::from(operations[number].answer.is_some());
            (cell, place) = (before, events.next[events.places[number].0]);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn one(call: Call, called_us: u64, at: u64, answer: Answer) -> Operation {
        Operation { call, called_us, answer: Some((at, answer)) }
    }

    fn open(call: Call, called_us: u64) -> Operation {
        Operation { call, called_us, answer: None }
    }

    #[test]
    fn known_histories_are_judged_right() {
        use Answer::{Swapped, Value, Written};
        use Call::{Add, Read, Swap, Write};
        let good: &[&[Operation]] = &[
            &[],
            &[one(Write(1), 0, 1, Written), one(Read, 2, 3, Value(1))],
            // Concurrent: either order.
            &[one(Write(1), 0, 9, Written), one(Read, 2, 3, Value(0)), one(Read, 4, 5, Value(1))],
            // What was not answered took effect late, or never.
            &[open(Write(1), 0), one(Read, 2, 3, Value(0)), one(Read, 4, 5, Value(1))],
            &[open(Write(1), 0), one(Read, 2, 3, Value(0))],
            &[open(Add, 0), one(Add, 1, 2, Value(1)), one(Add, 3, 4, Value(3))],
            &[one(Swap(0, 5), 0, 3, Swapped(true)), one(Swap(0, 6), 1, 2, Swapped(false))],
        ];
        for history in good {
            assert!(is_linearizable(history), "{history:?}");
        }
        let bad: &[&[Operation]] = &[
            // Stale, lost, from nowhere.
            &[one(Write(1), 0, 1, Written), one(Read, 2, 3, Value(0))],
            &[one(Write(1), 0, 1, Written), one(Write(2), 2, 3, Written), one(Read, 4, 5, Value(1))],
            &[one(Read, 0, 1, Value(7))],
            // Back in time.
            &[one(Write(1), 0, 9, Written), one(Read, 2, 3, Value(1)), one(Read, 4, 5, Value(0))],
            // Twice, or not at all.
            &[one(Add, 0, 1, Value(1)), one(Add, 2, 3, Value(3))],
            &[one(Add, 0, 1, Value(1)), one(Add, 2, 3, Value(1))],
            // One that was not answered takes effect once at most, and not before its call.
            &[open(Add, 0), one(Add, 1, 2, Value(1)), one(Add, 3, 4, Value(4))],
            &[one(Read, 0, 1, Value(1)), open(Write(1), 2)],
            &[one(Swap(0, 5), 0, 3, Swapped(true)), one(Swap(0, 6), 1, 2, Swapped(true))],
        ];
        for history in bad {
            assert!(!is_linearizable(history), "{history:?}");
        }
    }

    /// Tries all orders.
    fn by_force(rest: &[Operation], cell: u64) -> bool {
        let earliest = rest.iter().filter_map(|operation| operation.answer).map(|(at, _)| at).min();
        let Some(earliest) = earliest else { return true };
        (0..rest.len()).any(|place| {
            let operation = rest[place];
            let (after, answer) = operation.call.apply(cell);
            let fits = operation.answer.is_none_or(|(_, seen)| seen == answer);
            let others: Vec<Operation> = [&rest[..place], &rest[place + 1..]].concat();
            operation.called_us <= earliest && fits && by_force(&others, after)
        })
    }

    #[test]
    fn small_histories_are_judged_as_by_trying_all_orders() {
        let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(6);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let operations: Vec<Operation> = (0..chance.random_range(1..7))
                .map(|_| {
                    let called_us = chance.random_range(0..12);
                    let (call, answer) = match chance.random_range(0..5) {
                        0 | 1 => (Call::Read, Answer::Value(chance.random_range(0..3))),
                        2 => (Call::Write(chance.random_range(1..3)), Answer::Written),
                        3 => (Call::Swap(chance.random_range(0..3), 2), Answer::Swapped(chance.random())),
                        _ => (Call::Add, Answer::Value(chance.random_range(1..4))),
                    };
                    let at = called_us + chance.random_range(0..6);
                    Operation { call, called_us, answer: chance.random_ratio(5, 6).then_some((at, answer)) }
                })
                .collect();
            let found = is_linearizable(&operations);
            assert_eq!(found, by_force(&operations, 0), "{operations:?}");
            if found { good += 1 } else { bad += 1 }
        }
        assert!(good > 2_000 && bad > 2_000, "{good} good ones, {bad} bad ones");
    }

    /// A long history of many clients is judged quickly, and one changed answer in it is seen.
    #[test]
    fn one_wrong_answer_among_thousands_is_seen() {
        let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut cell = 0;
        let mut operations: Vec<Operation> = (0..4_000)
            .map(|number| {
                let call = match chance.random_range(0..3) {
                    0 => Call::Read,
                    1 => Call::Write(number),
                    _ => Call::Add,
                };
                let (after, answer) = call.apply(cell);
                cell = after;
                let (at, early, late) = (number * 10, chance.random_range(0..40), chance.random_range(0..40));
                Operation { call, called_us: (at + 40) - early, answer: Some((at + 40 + late, answer)) }
            })
            .collect();
        assert!(is_linearizable(&operations));
        let place = operations.iter().rposition(|operation| operation.call == Call::Read).expect("reads");
        operations[place].answer = operations[place].answer.map(|(at, _)| (at, Answer::Value(u64::MAX)));
        assert!(!is_linearizable(&operations));
    }
}
