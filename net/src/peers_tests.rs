//! Scripts of what happens to a peer table, with made-up connections and times.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

const SMALL: HostId = HostId([1; 32]);
const LARGE: HostId = HostId([2; 32]);

type Table = PeerTable<u32, &'static str>;

fn table(local: HostId) -> (Table, Instant) {
    (PeerTable::new(local, NetLimits::default()), Instant::now())
}

fn addresses() -> Vec<String> {
    vec!["/ip4/127.0.0.1/tcp/1".into()]
}

fn unreachable_in(asked: &Asked<u32, &'static str>) -> Option<Duration> {
    match asked {
        Asked::Fail(_, NetError::Unreachable { next_attempt_in, .. }) => *next_attempt_in,
        other => panic!("{other:?}"),
    }
}

#[test]
fn those_who_wait_get_the_connection_or_the_failure() {
    let (mut table, now) = table(SMALL);
    assert_eq!(unreachable_in(&table.ask(LARGE, "a", now)), None);
    assert!(table.infos(now).is_empty(), "strangers that were asked for in vain are not remembered");
    assert_eq!(table.set_addresses(LARGE, addresses(), now), Some(addresses()));
    assert_eq!(table.set_addresses(LARGE, addresses(), now), None, "one attempt at a time");
    assert_eq!(table.ask(LARGE, "b", now), Asked::Waits);
    assert_eq!(table.ask(LARGE, "c", now), Asked::Waits);
    let (waiting, error) = table.dial_failed(LARGE, "no".into(), now);
    assert_eq!(waiting, ["b", "c"]);
    assert!(matches!(error, NetError::Unreachable { next_attempt_in: Some(_), .. }));
    // In backoff: at once, with the time left.
    let wait = unreachable_in(&table.ask(LARGE, "d", now)).unwrap();
    assert!((75..=125).contains(&wait.as_millis()), "{wait:?}");
    assert_eq!(table.next_due(), Some(now + wait));
    assert!(table.due(now).is_empty());
    assert_eq!(table.due(now + wait), [(LARGE, addresses())]);
    assert_eq!(table.next_due(), None);
    assert_eq!(table.ask(LARGE, "e", now + wait), Asked::Waits);
    let done = table.connected(LARGE, 7, true, String::new(), now + wait);
    assert_eq!(done, Connected { opens: vec![("e", 7)], close_later: None });
    assert_eq!(table.ask(LARGE, "f", now + wait), Asked::Open("f", 7));
}

#[test]
fn waits_grow_and_are_cut_short_when_someone_asks() {
    let (mut table, mut now) = table(SMALL);
    table.set_addresses(LARGE, addresses(), now);
    let mut waits = Vec::new();
    for _ in 0..20 {
        table.dial_failed(LARGE, "no".into(), now);
        let due = table.next_due().unwrap();
        waits.push(due - now);
        now = due;
        assert_eq!(table.due(now).len(), 1);
    }
    assert!(waits[0] < waits[3] && waits[3] < waits[9]);
    assert!(waits.iter().all(|wait| *wait <= NetLimits::default().backoff_cap.mul_f64(1.25)));
    // Nobody asks for a long time: attempts become rare, and a request brings the next one near.
    now += ASKED_LATELY;
    table.dial_failed(LARGE, "no".into(), now);
    assert!(table.next_due().unwrap() - now > Duration::from_secs(40));
    assert_eq!(unreachable_in(&table.ask(LARGE, "a", now)), Some(NetLimits::default().backoff_cap));
    // New addresses bring it now, known ones do not.
    assert_eq!(table.set_addresses(LARGE, addresses(), now), None);
    assert!(table.set_addresses(LARGE, vec!["/ip4/127.0.0.1/tcp/2".into()], now).is_some());
}

#[test]
fn two_hosts_that_dial_each_other_keep_the_same_connection() {
    // Connection 1 was dialled by the small host, 2 by the large one; each host may see them in either order.
    for small_sees in [[1, 2], [2, 1]] {
        for large_sees in [[1, 2], [2, 1]] {
            let (mut small, now) = table(SMALL);
            let (mut large, _) = table(LARGE);
            small.set_addresses(LARGE, addresses(), now);
            large.set_addresses(SMALL, addresses(), now);
            let closes = small_sees.map(|id| small.connected(LARGE, id, id == 1, String::new(), now).close_later);
            assert_eq!(closes, [None, Some(2)], "the small host closes the large one's connection");
            for id in large_sees {
                assert_eq!(large.connected(SMALL, id, id == 2, String::new(), now).close_later, None);
            }
            for (table, host) in [(&mut small, LARGE), (&mut large, SMALL)] {
                assert_eq!(table.ask(host, "a", now), Asked::Open("a", 1));
                assert!(!table.retire_signal(host, 1).unwrap().is_cancelled());
                assert!(table.retire_signal(host, 2).unwrap().is_cancelled());
                assert!(!table.disconnected(host, 2, None, now));
                assert_eq!(table.next_due(), None);
            }
        }
    }
}

#[test]
fn a_new_connection_replaces_one_that_may_be_dead() {
    for (local, remote) in [(SMALL, LARGE), (LARGE, SMALL)] {
        let (mut table, now) = table(local);
        table.connected(remote, 1, true, String::new(), now);
        let later = now + 2 * RACE;
        assert_eq!(table.connected(remote, 2, false, String::new(), later).close_later, Some(1), "the peer restarted");
        assert_eq!(table.connected(remote, 3, false, String::new(), later).close_later, Some(2), "and again at once");
        assert_eq!(table.ask(remote, "a", later), Asked::Open("a", 3));
        assert!(!table.disconnected(remote, 1, None, later));
        assert!(!table.disconnected(remote, 2, None, later));
        assert!(table.disconnected(remote, 3, None, later));
        assert!(table.infos(later).is_empty(), "nobody wants it: it is forgotten");
    }
}

#[test]
fn a_wanted_host_is_dialled_again_and_a_forgotten_one_is_not() {
    let (mut table, now) = table(SMALL);
    let keep_alive = table.keep_alive(LARGE);
    table.set_addresses(LARGE, addresses(), now);
    assert!(keep_alive.load(Ordering::Relaxed));
    table.connected(LARGE, 1, true, "there".into(), now);
    assert!(table.infos(now)[0].connected);
    assert!(table.disconnected(LARGE, 1, Some("reset".into()), now));
    let info = table.infos(now).remove(0);
    assert_eq!((info.connected, info.failed_attempts, info.last_error.as_deref()), (false, 1, Some("reset")));
    let due = table.next_due().unwrap();
    assert_eq!(table.due(due).len(), 1);
    table.connected(LARGE, 2, true, String::new(), due);
    // It lasted, so that the next failure is the first again.
    table.disconnected(LARGE, 2, None, due + PROVEN);
    assert_eq!(table.infos(now)[0].failed_attempts, 1);
    let due = table.next_due().unwrap();
    table.due(due);
    assert_eq!(table.ask(LARGE, "a", due), Asked::Waits);
    assert_eq!(table.forget(LARGE, due), Forgotten { close: true, waiting: vec!["a"] });
    table.dial_failed(LARGE, "no".into(), due);
    assert_eq!(table.next_due(), None);
    assert!(table.infos(due).is_empty());
    assert!(!keep_alive.load(Ordering::Relaxed));
}

#[test]
fn a_peer_that_connects_to_us_serves_those_who_wait_for_our_own_attempt() {
    let (mut table, now) = table(LARGE);
    table.set_addresses(SMALL, addresses(), now);
    assert_eq!(table.ask(SMALL, "a", now), Asked::Waits);
    assert_eq!(table.connected(SMALL, 1, false, String::new(), now).opens, [("a", 1)]);
    // Our own attempt fails afterwards: nobody is told, nothing is planned.
    assert!(table.dial_failed(SMALL, "late".into(), now).0.is_empty());
    assert_eq!((table.next_due(), table.infos(now)[0].failed_attempts), (None, 0));
}

fn hints() -> Vec<String> {
    vec!["/ip4/127.0.0.2/tcp/2".into()]
}

#[test]
fn a_hint_serves_those_who_ask_and_nobody_else() {
    let (mut table, now) = table(SMALL);
    table.hint(LARGE, vec![], now);
    assert_eq!(unreachable_in(&table.ask(LARGE, "a", now)), None, "an empty hint is none");
    table.hint(LARGE, hints(), now);
    assert!(!table.is_wanted(LARGE) && table.infos(now).is_empty());
    assert_eq!(table.ask(LARGE, "a", now), Asked::Dial(hints()));
    table.dial_failed(LARGE, "no".into(), now);
    // Those who ask wait for the backoff; when it is over, nothing is dialled before someone asks.
    let wait = unreachable_in(&table.ask(LARGE, "b", now)).unwrap();
    assert!(table.due(now + wait).is_empty());
    assert_eq!(table.ask(LARGE, "c", now + wait), Asked::Dial(hints()));
    assert_eq!(table.connected(LARGE, 1, true, String::new(), now + wait).opens, [("c", 1)]);
    assert!(!table.keep_alive(LARGE).load(Ordering::Relaxed));
    // The connection ends; nobody asks any more, and the hint goes.
    table.disconnected(LARGE, 1, None, now + wait);
    let end = now + wait + ASKED_LATELY;
    assert!(table.due(end - Duration::from_millis(1)).is_empty());
    assert_eq!(table.ask(LARGE, "d", end - Duration::from_millis(1)), Asked::Dial(hints()));
    table.dial_failed(LARGE, "no".into(), end);
    assert!(table.due(end + ASKED_LATELY).is_empty());
    assert_eq!(table.next_due(), None);
    assert!(matches!(table.ask(LARGE, "e", end + ASKED_LATELY), Asked::Fail(..)));
    assert!(table.peers.is_empty() && table.hinted == 0);
}

#[test]
fn set_addresses_come_before_hints_and_an_empty_list_changes_none() {
    let (mut table, now) = table(SMALL);
    table.hint(LARGE, hints(), now);
    assert_eq!(table.set_addresses(LARGE, addresses(), now), Some(addresses()));
    table.hint(LARGE, vec!["/ip4/127.0.0.3/tcp/3".into()], now);
    table.set_addresses(LARGE, vec![], now);
    assert_eq!(table.infos(now)[0].addresses, addresses());
    table.dial_failed(LARGE, "no".into(), now);
    let due = table.next_due().unwrap();
    assert_eq!(table.due(due), [(LARGE, addresses())]);
    table.connected(LARGE, 1, true, String::new(), due);
    // Whoever hinted still uses the connection; the rest is as it is with any stranger.
    assert_eq!(table.forget(LARGE, due), Forgotten { close: false, waiting: vec![] });
    assert!(!table.is_wanted(LARGE));
    assert_eq!(table.ask(LARGE, "a", due), Asked::Open("a", 1));
    table.disconnected(LARGE, 1, None, due);
    assert!(table.due(due + Duration::from_secs(60)).is_empty());
    // The same when it is not in use any more: the connection goes, too.
    table.set_addresses(LARGE, addresses(), due);
    table.connected(LARGE, 2, true, String::new(), due);
    assert_eq!(table.forget(LARGE, due + ASKED_LATELY), Forgotten { close: true, waiting: vec![] });
    assert_eq!(table.forget(LARGE, due + ASKED_LATELY), Forgotten { close: false, waiting: vec![] }, "once");
}

#[test]
fn hints_are_bounded_and_the_oldest_go() {
    let (mut table, now) = table(SMALL);
    let host = |number: usize| {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        HostId(key)
    };
    let later = |number: usize| now + Duration::from_millis(number as u64);
    for number in 0..MAX_HINTED + 10 {
        table.hint(host(number), hints(), later(number));
    }
    assert_eq!((table.peers.len(), table.hinted, table.timers.len()), (MAX_HINTED, MAX_HINTED, MAX_HINTED));
    let end = later(MAX_HINTED + 10);
    assert!(matches!(table.ask(host(9), "a", end), Asked::Fail(..)));
    assert_eq!(table.ask(host(10), "a", end), Asked::Dial(hints()));
}

/// What the timers say is what a search through all peers would find.
#[test]
fn timers_follow_every_change() {
    use rand::{RngExt as _, SeedableRng as _};
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let (mut table, mut now) = table(SMALL);
    let (mut next_id, mut open) = (0, Vec::new());
    for _ in 0..5_000 {
        let host = HostId([chance.random_range(2..8); 32]);
        now += Duration::from_millis(chance.random_range(0..120_000));
        match chance.random_range(0..8) {
            0 => drop(table.set_addresses(host, addresses(), now)),
            1 => table.hint(host, hints(), now),
            2 => drop(table.forget(host, now)),
            3 => drop(table.ask(host, "a", now)),
            4 => drop(table.dial_failed(host, "no".into(), now)),
            5 => {
                next_id += 1;
                open.push((host, next_id));
                table.connected(host, next_id, true, String::new(), now);
            }
            6 if !open.is_empty() => {
                let (host, id) = open.swap_remove(chance.random_range(0..open.len()));
                table.disconnected(host, id, None, now);
            }
            _ => drop(table.due(now)),
        }
        let timers: BTreeSet<(Instant, HostId)> =
            table.peers.iter().filter_map(|(host, peer)| Some((peer.timer?, *host))).collect();
        assert_eq!(timers, table.timers);
        for peer in table.peers.values() {
            let wanted = peer.next_attempt.into_iter().chain(peer.hints_end()).min();
            // Asking moves the end of hints without moving the timer, which is early then.
            assert!(peer.timer.is_some() == wanted.is_some() && peer.timer <= wanted);
        }
        assert_eq!(table.hinted, table.peers.values().filter(|peer| !peer.hints.is_empty()).count());
    }
}
