//! Complaints, in a network that is timely between honest members: how many leaders it takes until a starved command is ordered, and
//! that no complaint keeps the vat from having a leader (C12).

use super::keys::{Symbolic, key};
use crate::chain::Point;
use crate::epoch::Epoch;
use crate::member::{Durable, Member, Message, Output, Stand, Step};
use crate::plants::{Plant, plant};
use crate::signed::{Complaint, Reason};
use crate::signing::Signed;
use quorate_ids::{Hash, VatId};
use std::collections::VecDeque;
use std::sync::Arc;

const COMMAND: Hash = Hash([1; 32]);

/// Honest members whose messages all arrive, and liars that lead, vote for every candidate, and order no starved command.
struct Timely {
    members: Vec<Member>,
    lies: Vec<bool>,
    down: Vec<bool>,
}

impl Timely {
    fn new(count: usize, threshold: usize, liars: &[usize]) -> Self {
        let root = Point { term: 0, index: 0, chain: Hash([7; 32]) };
        let members = (0..count).map(key).collect();
        let epoch = Arc::new(Epoch::fixed(VatId([5; 32]), 0, members, threshold, root));
        let member = |number| Member::new(key(number), Arc::clone(&epoch), Durable::new(&epoch, 0));
        let lies = (0..count).map(|number| liars.contains(&number)).collect();
        Self { members: (0..count).map(member).collect(), lies, down: vec![false; count] }
    }

    /// Has a member do something, and delivers all messages that follow.
    fn act(&mut self, number: usize, act: impl FnOnce(&mut Member, &mut Step<'_>)) -> Vec<Stand> {
        let mut queue: VecDeque<(usize, Output)> = VecDeque::new();
        let mut stands = Vec::new();
        let mut outputs = Vec::new();
        act(&mut self.members[number], &mut Step { signing: &Symbolic(key(number)), outputs: &mut outputs });
        queue.extend(outputs.into_iter().map(|output| (number, output)));
        while let Some((from, output)) = queue.pop_front() {
            let message = match output {
                Output::Send { message, .. } => message,
                Output::Elected(_) => {
                    let mut outputs = Vec::new();
                    let mut step = Step { signing: &Symbolic(key(from)), outputs: &mut outputs };
                    let member = &mut self.members[from];
                    let _ = member.propose(Hash([b'h'; 32]), &mut step);
                    let last = member.durable.log.last().index;
                    member.flushed(last, &mut step);
                    queue.extend(outputs.into_iter().map(|output| (from, output)));
                    continue;
                }
                _ => continue,
            };
            for to in (0..self.members.len()).filter(|to| *to != from && !self.down[*to]) {
                let mut outputs = Vec::new();
                let mut step = Step { signing: &Symbolic(key(to)), outputs: &mut outputs };
                let member = &mut self.members[to];
                match message.clone() {
                    Message::Complaint(complaint) if !self.lies[to] => drop(member.complaint(complaint, &mut step)),
                    Message::Grant(grant) => drop(member.granted(grant, &mut step)),
                    Message::Refused(refused) => drop(member.refused(refused, &mut step)),
                    Message::Order(order) => drop(member.learn(order, &mut step)),
                    Message::Ack(ack) => drop(member.acked(ack, &mut step)),
                    Message::Stand(stand) => {
                        drop(member.vote(&key(from), &stand, false, &mut step));
                        stands.push(stand);
                    }
                    _ => {}
                }
                queue.extend(outputs.into_iter().map(|output| (to, output)));
            }
        }
        stands
    }

    /// Has a member stand; if it is elected, the others follow it.
    fn elect(&mut self, number: usize) -> bool {
        self.act(number, |member, step| drop(member.stand(member.next_term(), step)));
        if !self.members[number].leads() {
            return false;
        }
        let step = Step { signing: &Symbolic(key(number)), outputs: &mut Vec::new() };
        let append = self.members[number].append_from(1, usize::MAX, true, &step).unwrap();
        let up: Vec<usize> = (0..self.members.len()).filter(|to| *to != number && !self.down[*to]).collect();
        for to in up {
            let append = append.clone();
            self.act(to, |member, step| {
                let _ = member.append(&key(number), append, step);
                let last = member.durable.log.last().index;
                member.flushed(last, step);
            });
        }
        true
    }

    fn honest(&self) -> impl Iterator<Item = usize> + use<> {
        let (lies, down) = (self.lies.clone(), self.down.clone());
        (0..self.members.len()).filter(move |number| !lies[*number] && !down[*number])
    }

    /// All honest members complain of the present leader.
    fn complain(&mut self) {
        for number in self.honest() {
            self.act(number, |member, step| drop(member.complain(Reason::Starved(COMMAND), step)));
        }
    }

    /// The next leader: the member whose turn comes first; members that were complained of come one patience later.
    fn next(&mut self, leader: usize) -> Option<usize> {
        let view = self.honest().next()?;
        let count = self.members.len();
        let wait = |number: usize| {
            let turn = (number + count - leader + count - 1) % count;
            turn + count * self.members[view].delay(&key(number)) as usize
        };
        let mut order: Vec<usize> = (0..count).filter(|number| *number != leader && !self.down[*number]).collect();
        order.push(leader);
        order.sort_by_key(|number| wait(*number));
        order.into_iter().find(|number| self.elect(*number))
    }
}

#[test]
fn c12_a_starved_command_is_ordered_within_as_many_leaders_as_may_lie_and_one() {
    for (count, threshold, liars) in [(4, 3, vec![vec![0], vec![2]]), (7, 5, vec![vec![0, 1], vec![0, 3], vec![5, 6]])]
    {
        for lying in liars {
            for first in 0..count {
                let mut world = Timely::new(count, threshold, &lying);
                assert!(world.elect(first));
                let (mut leader, mut changes) = (first, 0);
                while world.lies[leader] {
                    world.complain();
                    for number in world.honest() {
                        let term = world.members[number].term().0;
                        assert_eq!(world.members[number].complaints.left, Some(term), "{number} has not left");
                    }
                    leader = world.next(leader).expect("a leader");
                    changes += 1;
                }
                assert!(
                    changes <= count - threshold + 1,
                    "{count}@{threshold}, {lying:?} lie, {first} first: {changes}"
                );
            }
        }
    }
}

#[test]
fn c12_one_complaint_joins_nobody_and_no_liar_alone_ends_a_term() {
    let mut world = Timely::new(4, 3, &[3]);
    assert!(world.elect(0));
    world.act(3, |member, step| drop(member.complain(Reason::NoOrder, step)));
    assert!(world.honest().all(|number| world.members[number].complaints.left.is_none()));
    // A second one joins the others: then a threshold has complained.
    world.act(1, |member, step| drop(member.complain(Reason::NoOrder, step)));
    assert!(world.honest().all(|number| world.members[number].complaints.left.is_some()));
}

/// 2 alone has an order certificate of the log, so nobody else can lead, and it was complained of.
fn the_only_one_is_complained_of() -> bool {
    let mut world = Timely::new(4, 3, &[]);
    assert!(world.elect(2));
    world.complain();
    // Nobody else has the certificate, or the log that it is of.
    let order = crate::proofs::OrderCertificate::root(world.members[0].epoch());
    for number in [0, 1, 3] {
        let durable = &mut world.members[number].durable;
        durable.order = order.clone();
        durable.log.replace(1, &[]);
    }
    world.down[3] = true;
    assert!(!world.elect(0), "2 has a higher order, whose log 0 lacks");
    // The first try tells it the term.
    world.elect(2) || world.elect(2)
}

#[test]
fn c12_a_leader_that_was_complained_of_can_lead_again() {
    assert!(the_only_one_is_complained_of());
    let _planted = plant(Plant::BanAsRefusal);
    assert!(!the_only_one_is_complained_of());
}

fn patience_after_another_command() -> (u32, u32) {
    let mut world = Timely::new(4, 3, &[0]);
    assert!(world.elect(0));
    world.complain();
    let member = &mut world.members[1];
    member.ordered(&Hash([2; 32]));
    let after_another = member.doublings();
    member.ordered(&COMMAND);
    (after_another, member.doublings())
}

#[test]
fn c12_progress_is_of_the_starved_command() {
    assert_eq!(patience_after_another_command(), (1, 0));
    let _planted = plant(Plant::AnyProgress);
    assert_eq!(patience_after_another_command(), (0, 0));
}

/// Where all must sign, one complaint shows by the numbers that an honest member complains. It changes nothing all the same.
#[test]
fn c12_one_member_that_is_slow_ends_no_term_where_all_must_sign() {
    let mut world = Timely::new(3, 3, &[]);
    assert!(world.elect(0));
    world.act(2, |member, step| drop(member.complain(Reason::NoOrder, step)));
    assert!(world.honest().all(|number| !world.members[number].has_left()));
    world.act(1, |member, step| drop(member.complain(Reason::NoOrder, step)));
    assert!(world.honest().all(|number| world.members[number].has_left()));
}

/// A liar shows its complaint to one member alone. That one leaves, and shows the others why: else they would go on without it.
#[test]
fn c12_a_member_that_has_left_shows_the_others_what_ended_the_term() {
    let mut world = Timely::new(4, 3, &[]);
    assert!(world.elect(0));
    world.down[3] = true;
    world.act(1, |member, step| drop(member.complain(Reason::NoOrder, step)));
    // Two of them see the vat go on.
    [0, 1].iter().for_each(|number| world.members[*number].progressed());
    let mut liar = world.members[3].clone();
    let mut outputs = Vec::new();
    liar.complain(Reason::NoOrder, &mut Step { signing: &Symbolic(key(3)), outputs: &mut outputs }).unwrap();
    let told = outputs.into_iter().find_map(|output| match output {
        Output::Send { message: Message::Complaint(complaint), .. } => Some(complaint),
        _ => None,
    });
    let told = told.unwrap();
    world.act(2, |member, step| member.complaint(told, step).unwrap());
    let left = |world: &Timely| [0, 1, 2].map(|number| world.members[number].has_left());
    assert_eq!(left(&world), [false, false, true]);
    // The vat goes on without it, so that nobody has a reason any more.
    world.members.iter_mut().for_each(Member::progressed);
    assert_eq!(world.members[1].complains(), None);
    let shown = world.members[2].ended_by().to_vec();
    assert_eq!(shown.len(), 3);
    assert!(world.members[1].ended_by().is_empty());
    let end = |world: &mut Timely, shown: Vec<Signed<Complaint>>| {
        let step = &mut Step { signing: &Symbolic(key(1)), outputs: &mut Vec::new() };
        world.members[1].ended(shown, step)
    };
    let [first, second, third] = [0, 1, 2].map(|place| shown[place]);
    let few = vec![first, second];
    let same = vec![first, second, second];
    let mut of_another = third;
    of_another.content.leader = key(2);
    let mut unsigned = third;
    unsigned.content.reason = Reason::Starved(COMMAND);
    for wrong in [few, same, vec![first, second, of_another], vec![first, second, unsigned]] {
        assert!(end(&mut world, wrong).is_err());
    }
    assert_eq!(left(&world), [false, false, true]);
    end(&mut world, shown.clone()).unwrap();
    end(&mut world, shown).unwrap();
    assert_eq!(left(&world), [false, true, true]);
    assert_eq!(world.members[1].ended_by().len(), 3);
}

#[test]
fn c12_a_complaint_ends_with_its_reason() {
    let mut world = Timely::new(4, 3, &[]);
    assert!(world.elect(0));
    world.act(1, |member, step| drop(member.complain(Reason::NoOrder, step)));
    assert_eq!(world.members[1].complains(), Some(Reason::NoOrder));
    for member in &mut world.members {
        member.ordered(&COMMAND);
    }
    assert_eq!(world.members[1].complains(), Some(Reason::NoOrder), "what was ordered has nothing to do with it");
    for member in &mut world.members {
        member.progressed();
    }
    assert_eq!(world.members[1].complains(), None);
    world.act(1, |member, step| drop(member.complain(Reason::Starved(COMMAND), step)));
    for member in &mut world.members {
        member.progressed();
    }
    assert_eq!(world.members[1].complains(), Some(Reason::Starved(COMMAND)), "progress is of the starved command");
    for member in &mut world.members {
        member.ordered(&COMMAND);
    }
    // None of them counts any more.
    world.act(2, |member, step| drop(member.complain(Reason::NoOrder, step)));
    assert!(world.honest().all(|number| !world.members[number].has_left()));
}

#[test]
fn c12_patience_becomes_shorter_while_nothing_is_wanted() {
    let mut world = Timely::new(4, 3, &[0]);
    assert!(world.elect(0));
    world.complain();
    let member = &mut world.members[1];
    assert_eq!(member.doublings(), 1);
    member.eased();
    assert_eq!((member.doublings(), member.starved().len()), (0, 0));
}

/// A member that stood for election is in a later term. It can't acknowledge anything of the earlier one, nor go back to complain.
#[test]
fn c12_a_member_in_a_later_term_counts_against_the_leader_of_an_earlier_one() {
    let mut world = Timely::new(4, 3, &[0]);
    assert!(world.elect(0));
    let of = (world.members[1].term().0, key(0));
    let step = &mut Step { signing: &Symbolic(key(3)), outputs: &mut Vec::new() };
    let complain = |member: &Member, step: &Step<'_>| member.complain_of_earlier(of, Reason::NoOrder, step);
    assert!(complain(&world.members[3], step).is_err(), "it is in that term");
    world.members[3].stand(of.0 + 1, step).unwrap();
    for number in [1, 2] {
        world.act(number, |member, step| drop(member.complain(Reason::NoOrder, step)));
    }
    assert!([1, 2].iter().all(|number| !world.members[*number].has_left()), "two of three that must");
    let complaint = complain(&world.members[3], step).unwrap();
    for number in [1, 2] {
        world.act(number, |member, step| member.complaint(complaint, step).unwrap());
        assert!(world.members[number].has_left());
    }
    assert!(!world.members[3].has_left(), "its own term goes on");
    // One that follows a leader shows the others who that is.
    assert!(world.elect(1) || world.elect(1));
    assert!(complain(&world.members[3], step).is_err());
}

#[test]
fn c12_a_complaint_of_a_change_that_is_due_ends_when_the_change_goes_on() {
    let mut world = Timely::new(4, 3, &[]);
    assert!(world.elect(0));
    world.act(1, |member, step| drop(member.complain(Reason::NoChange, step)));
    for member in &mut world.members {
        member.progressed();
        member.ordered(&COMMAND);
    }
    assert_eq!(world.members[1].complains(), Some(Reason::NoChange), "that others are served is no change");
    world.members.iter_mut().for_each(Member::changed);
    assert_eq!(world.members[1].complains(), None);
    world.act(2, |member, step| drop(member.complain(Reason::NoChange, step)));
    assert!(world.honest().all(|number| !world.members[number].has_left()), "one is left");
}
