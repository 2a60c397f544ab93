//! What every `Network` must do. Each test is a function of a world; `conformance!` makes them tests of one kind of world.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use quorate_net::{HostId, NetError, Network, PeerName, Purpose};

use super::{LONG, SHORT, Script, World, ask, eventually, introduce};

/// Makes the suite's tests: `conformance!(new_world, start_paused = true)`.
#[macro_export]
macro_rules! conformance {
    ($world:expr $(, $option:ident = $value:tt)*) => {
        $crate::conformance!(@each $world, [$($option = $value),*],
            request_and_response, pipelined_both_ways, frames_up_to_the_limit, frames_over_the_limit, refusals,
            forbidden_purposes, permission_withdrawn, restart_and_reconnect, deadline, backpressure, call_back,
            shut_down, panicking_handler, bulk_both_ways, nobody_there, callers_that_give_up, all_dial_all, late_address,
            hinted_address);
    };
    (@each $world:expr, $options:tt, $($name:ident),*) => {
        $($crate::conformance!(@one $world, $options, $name);)*
    };
    (@one $world:expr, [$($option:ident = $value:tt),*], $name:ident) => {
        #[tokio::test($($option = $value),*)]
        async fn $name() {
            let world = $world;
            $crate::common::conformance::$name(&world).await;
        }
    };
}

/// Two hosts that know each other's addresses.
async fn pair(world: &dyn World) -> (Arc<dyn Network>, Arc<Script>, Arc<dyn Network>, Arc<Script>) {
    let (script_one, script_two) = (Script::new(), Script::new());
    let one = world.start(1, script_one.clone()).await;
    let two = world.start(2, script_two.clone()).await;
    introduce(&one, &two);
    introduce(&two, &one);
    (one, script_one, two, script_two)
}

/// The same, with one connection for good: two that dial each other at once keep one of two, and what is asked on the other is lost if it is not
/// answered soon.
async fn connected_pair(world: &dyn World) -> (Arc<dyn Network>, Arc<dyn Network>, Arc<Script>) {
    let script = Script::new();
    let one = world.start(1, Script::new()).await;
    let two = world.start(2, script.clone()).await;
    introduce(&one, &two);
    eventually("connected", async || ask(&one, two.local(), "echo").await.is_ok()).await;
    introduce(&two, &one);
    (one, two, script)
}

pub async fn request_and_response(world: &dyn World) {
    let (one, _, two, script_two) = pair(world).await;
    assert_eq!(one.local(), HostId::of_secret(&[1; 32]));
    for purpose in Purpose::ALL {
        let response = one.request(two.local(), purpose, Bytes::from_static(b"echo"), LONG).await;
        assert_eq!(response, Ok(Bytes::from_static(b"echo")), "{purpose}");
    }
    assert_eq!(one.request(two.local(), Purpose::Vote, Bytes::new(), LONG).await, Ok(Bytes::new()));
    assert_eq!(ask(&one, two.local(), "from").await.unwrap()[..], one.local().0);
    assert_eq!(ask(&two, one.local(), "from").await.unwrap()[..], two.local().0);
    assert_eq!(script_two.handled(), Purpose::COUNT + 2);
    let (sent, received) = (one.stats(), two.stats());
    assert_eq!(sent.purpose(Purpose::Append).frames_out, 1);
    assert_eq!(sent.purpose(Purpose::Append).frames_in, 1);
    assert_eq!(sent.purpose(Purpose::Append).bytes_out, 14 + 4);
    assert_eq!(sent.purpose(Purpose::Append).bytes_in, 14 + 4);
    assert_eq!(received.purpose(Purpose::Append).bytes_in, 14 + 4);
    assert_eq!(received.purpose(Purpose::Append).handled, 1);
    assert_eq!(sent.purpose(Purpose::Append).requests_answered, 1);
    assert_eq!(sent.connections.connected_peers, 1);
    let peers = one.peers();
    assert_eq!(peers.len(), 1);
    assert!(peers[0].connected && peers[0].host == two.local() && !peers[0].addresses.is_empty(), "{peers:?}");
}

pub async fn pipelined_both_ways(world: &dyn World) {
    let (one, _, two, _) = pair(world).await;
    let mut requests = Vec::new();
    for number in 0..4000u32 {
        let (from, to) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let kind = if number % 3 == 0 { "slow" } else { "echo" };
        let text = Bytes::from(format!("{kind} {number}"));
        let purpose = [Purpose::Share, Purpose::Append][number as usize / 2 % 2];
        let request = from.request(to.local(), purpose, text.clone(), LONG);
        requests.push(async move { assert_eq!(request.await, Ok(text)) });
    }
    join_all(requests).await;
}

pub async fn frames_up_to_the_limit(world: &dyn World) {
    let (one, _, two, _) = pair(world).await;
    for purpose in Purpose::ALL {
        let frame = Bytes::from(vec![9; purpose.max_frame_bytes()]);
        let response = one.request(two.local(), purpose, frame.clone(), LONG).await;
        assert!(response.as_ref() == Ok(&frame), "{purpose}: {:?}", response.map(|response| response.len()));
    }
}

pub async fn frames_over_the_limit(world: &dyn World) {
    let (one, _, two, script_two) = pair(world).await;
    for purpose in Purpose::ALL {
        let limit = purpose.max_frame_bytes();
        let frame = Bytes::from(vec![9; limit + 1]);
        let response = one.request(two.local(), purpose, frame, LONG).await;
        assert_eq!(response, Err(NetError::TooLarge { purpose, size: limit + 1, limit }));
    }
    assert_eq!(script_two.handled(), 0);
    assert_eq!(one.stats().purpose(Purpose::Vote).requests_too_large, 1);
    // A response over the limit is its host's mistake; the requester learns of it, and the stream goes on.
    let response = one.request(two.local(), Purpose::Vote, Bytes::from_static(b"huge"), LONG).await;
    assert!(matches!(response, Err(NetError::Unavailable(_))), "{response:?}");
    assert!(one.request(two.local(), Purpose::Vote, Bytes::from_static(b"echo"), LONG).await.is_ok());
}

pub async fn refusals(world: &dyn World) {
    let (one, _, two, _) = pair(world).await;
    assert_eq!(ask(&one, two.local(), "refuse so: ünwilling").await, Err(NetError::Refused("so: ünwilling".into())));
    assert_eq!(ask(&one, two.local(), "refuse ").await, Err(NetError::Refused(String::new())));
    // Texts are for people: long ones are cut, between characters.
    let Err(NetError::Refused(text)) = ask(&one, two.local(), &format!("refuse {}", "é".repeat(100_000))).await else {
        panic!("not refused");
    };
    assert_eq!(text, "é".repeat(2048));
    assert_eq!(two.stats().purpose(Purpose::Propose).refused_by_handler, 3);
    assert_eq!(one.stats().purpose(Purpose::Propose).requests_refused, 3);
}

pub async fn forbidden_purposes(world: &dyn World) {
    let (one, _, two, script_two) = pair(world).await;
    script_two.forbid(one.local(), Purpose::Append);
    let (host, purpose) = (two.local(), Purpose::Append);
    for _ in 0..3 {
        let response = one.request(host, purpose, Bytes::from_static(b"echo"), LONG).await;
        assert_eq!(response, Err(NetError::Forbidden { host, purpose }));
    }
    assert_eq!(script_two.handled(), 0);
    assert!(two.stats().purpose(Purpose::Append).refused_forbidden > 0);
    assert!(one.request(host, Purpose::Vote, Bytes::from_static(b"echo"), LONG).await.is_ok());
    script_two.permit_all();
    eventually("permitted", async || one.request(host, purpose, Bytes::from_static(b"echo"), LONG).await.is_ok()).await;
}

pub async fn permission_withdrawn(world: &dyn World) {
    let (one, _, two, script_two) = pair(world).await;
    assert!(ask(&one, two.local(), "echo").await.is_ok());
    script_two.forbid(one.local(), Purpose::Propose);
    let forbidden = NetError::Forbidden { host: two.local(), purpose: Purpose::Propose };
    assert_eq!(ask(&one, two.local(), "echo").await, Err(forbidden));
    assert_eq!(script_two.handled(), 1);
    script_two.permit_all();
    eventually("permitted again", async || ask(&one, two.local(), "echo").await.is_ok()).await;
}

pub async fn restart_and_reconnect(world: &dyn World) {
    let (one, _, two, script_two) = pair(world).await;
    assert!(ask(&one, two.local(), "echo first").await.is_ok());
    let stuck = one.request(two.local(), Purpose::Vote, Bytes::from_static(b"stuck"), LONG);
    let stuck = tokio::spawn(stuck);
    eventually("stuck", async || script_two.handled() == 2).await;
    two.shutdown().await;
    // What was under way is lost or answered as unavailable, well before its deadline.
    let lost = stuck.await.unwrap();
    assert!(matches!(lost, Err(NetError::Lost { .. } | NetError::Unavailable(_))), "{lost:?}");
    let unreachable = async || {
        let response = one.request(two.local(), Purpose::Propose, Bytes::from_static(b"echo down"), LONG).await;
        matches!(response, Err(NetError::Unreachable { next_attempt_in: Some(_), .. }))
    };
    eventually("unreachable", unreachable).await;

    let script_new = Script::new();
    let new = world.start(2, script_new.clone()).await;
    let mut number = 0;
    let answered = async || {
        number += 1;
        ask(&one, new.local(), &format!("echo {number}")).await.is_ok()
    };
    eventually("reconnected", answered).await;
    assert!(script_new.times().values().all(|times| *times == 1), "{:?}", script_new.times());
    assert_eq!(script_new.handled(), 1, "requests that failed as unreachable were not sent");
}

pub async fn deadline(world: &dyn World) {
    let (one, _, two, script_two) = pair(world).await;
    let (host, purpose) = (two.local(), Purpose::Propose);
    assert!(ask(&one, host, "echo").await.is_ok());
    let response = one.request(host, purpose, Bytes::from_static(b"stuck"), SHORT).await;
    assert_eq!(response, Err(NetError::Timeout { host, purpose, deadline: SHORT }));
    assert!(ask(&one, host, "echo").await.is_ok(), "others are not affected");
    script_two.release.add_permits(1);
    assert!(ask(&one, host, "echo").await.is_ok(), "nor by the late response");
    assert_eq!(one.stats().purpose(purpose).requests_timed_out, 1);
}

pub async fn backpressure(world: &dyn World) {
    let (one, two, script_two) = connected_pair(world).await;
    let (host, purpose) = (two.local(), Purpose::Snapshot);
    let limit = purpose.max_in_flight();
    let before = script_two.handled();
    let stuck: Vec<_> = (0..limit + 10)
        .map(|number| tokio::spawn(one.request(host, purpose, Bytes::from(format!("stuck {number}")), LONG)))
        .collect();
    eventually("full", async || script_two.handled() == before + limit).await;
    let response = one.request(host, purpose, Bytes::from_static(b"echo"), SHORT).await;
    assert_eq!(response, Err(NetError::Overloaded { host, purpose, deadline: SHORT }));
    assert_eq!(script_two.handled(), before + limit, "no more than the limit is handled at a time");
    assert!(ask(&one, host, "echo").await.is_ok(), "other purposes have their own window");
    script_two.release.add_permits(limit + 10);
    for (number, response) in join_all(stuck).await.into_iter().enumerate() {
        assert_eq!(response.unwrap(), Ok(Bytes::from(format!("stuck {number}"))));
    }
    assert!(script_two.running.lock().unwrap().1 <= limit + 1);
    assert!(one.request(host, purpose, Bytes::from_static(b"echo"), LONG).await.is_ok());
}

pub async fn call_back(world: &dyn World) {
    let client = world.start(1, Script::new()).await;
    let server = world.start(2, Script::new()).await;
    let unknown = ask(&server, client.local(), "echo").await;
    assert!(matches!(unknown, Err(NetError::Unreachable { next_attempt_in: None, .. })), "{unknown:?}");
    introduce(&client, &server);
    assert!(ask(&client, server.local(), "echo").await.is_ok());
    assert_eq!(ask(&server, client.local(), "from").await.unwrap()[..], server.local().0);
}

pub async fn shut_down(world: &dyn World) {
    let (one, _, two, script_two) = pair(world).await;
    let stuck = tokio::spawn(one.request(two.local(), Purpose::Vote, Bytes::from_static(b"stuck"), LONG));
    eventually("stuck", async || script_two.handled() == 1).await;
    one.shutdown().await;
    assert_eq!(stuck.await.unwrap(), Err(NetError::Closed));
    assert_eq!(ask(&one, two.local(), "echo").await, Err(NetError::Closed));
    one.shutdown().await;
    eventually("gone", async || ask(&two, one.local(), "echo").await.is_err()).await;
}

pub async fn panicking_handler(world: &dyn World) {
    let (one, _, two, _) = pair(world).await;
    let response = ask(&one, two.local(), "panic").await;
    assert!(matches!(response, Err(NetError::Unavailable(_))), "{response:?}");
    assert!(ask(&one, two.local(), "echo").await.is_ok());
    assert_eq!(two.stats().purpose(Purpose::Propose).refused_unavailable, 1);
    assert_eq!(two.stats().connections.handlers_running, 0);
}

pub async fn bulk_both_ways(world: &dyn World) {
    // Both send more than any buffer holds before they read a response, on several streams that nobody has confirmed yet: neither may
    // wait for the other for ever.
    let (one, _, two, _) = pair(world).await;
    assert!(ask(&one, two.local(), "echo").await.is_ok(), "connected");
    let frame = Bytes::from(vec![7; 1024 * 1024]);
    let mut requests = Vec::new();
    for purpose in [Purpose::Snapshot, Purpose::Propose, Purpose::Slice, Purpose::Append] {
        for number in 0..8 {
            let (from, to) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
            let (frame, request) = (frame.clone(), from.request(to.local(), purpose, frame.clone(), LONG));
            requests.push(async move { assert!(request.await.unwrap() == frame, "{purpose}") });
        }
    }
    join_all(requests).await;
}

pub async fn nobody_there(world: &dyn World) {
    let one = world.start(1, Script::new()).await;
    let nobody = HostId::of_secret(&[77; 32]);
    let response = ask(&one, nobody, "echo").await;
    assert!(matches!(response, Err(NetError::Unreachable { next_attempt_in: None, .. })), "{response:?}");
    assert_eq!(ask(&one, one.local(), "echo").await, Err(NetError::ToSelf));
    // An address that is no address is the same as none.
    one.set_addresses(nobody, vec!["nonsense".into(), "/ip4/127.0.0.1/tcp/1/p2p/nonsense".into()]);
    assert!(matches!(ask(&one, nobody, "echo").await, Err(NetError::Unreachable { .. })));
    one.forget(nobody);
    assert!(matches!(ask(&one, nobody, "echo").await, Err(NetError::Unreachable { .. })));
}

pub async fn callers_that_give_up(world: &dyn World) {
    let (one, _, two, script_two) = pair(world).await;
    assert!(ask(&one, two.local(), "echo").await.is_ok());
    let request = tokio::spawn(one.request(two.local(), Purpose::Propose, Bytes::from_static(b"stuck"), LONG));
    eventually("begun", async || script_two.handled() == 2).await;
    request.abort();
    one.shutdown().await;
    script_two.release.add_permits(1);
    // The handler goes on to its end though its requester and even the stream are gone.
    eventually("finished", async || two.stats().purpose(Purpose::Propose).handled == 2).await;
}

pub async fn all_dial_all(world: &dyn World) {
    // Everyone dials everyone at once; whatever connections survive, no request is lost.
    let mut hosts = Vec::new();
    for seed in 1..=4 {
        hosts.push(world.start(seed, Script::new()).await);
    }
    for one in &hosts {
        for other in &hosts {
            introduce(one, other);
        }
    }
    let mut requests = Vec::new();
    for one in &hosts {
        for other in hosts.iter().filter(|other| other.local() != one.local()) {
            requests.push(async move {
                for number in 0..300 {
                    let text = format!("slow {number}");
                    assert_eq!(ask(one, other.local(), &text).await, Ok(Bytes::from(text)));
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            });
        }
    }
    join_all(requests).await;
}

pub async fn late_address(world: &dyn World) {
    let one = world.start(1, Script::new()).await;
    let two = world.start(2, Script::new()).await;
    assert!(ask(&one, two.local(), "echo").await.is_err());
    introduce(&one, &two);
    // An earlier failure does not stand in the way.
    assert_eq!(ask(&one, two.local(), "echo").await, Ok(Bytes::from_static(b"echo")));
    one.forget(two.local());
    eventually("forgotten", async || ask(&one, two.local(), "echo").await.is_err()).await;
}

pub async fn hinted_address(world: &dyn World) {
    let one = world.start(1, Script::new()).await;
    let two = world.start(2, Script::new()).await;
    let (host, addresses) = (two.local(), two.listen_addresses());
    one.hint_addresses(host, vec![]);
    assert!(matches!(ask(&one, host, "echo").await, Err(NetError::Unreachable { next_attempt_in: None, .. })));
    one.hint_addresses(host, addresses.clone());
    assert!(one.peers().is_empty(), "a hint is no wish for a connection");
    assert!(ask(&one, host, "echo").await.is_ok());
    // What was set lasts though a list is empty, and what was hinted though it is forgotten.
    one.set_addresses(host, addresses);
    one.set_addresses(host, vec![]);
    assert!(!one.peers()[0].addresses.is_empty());
    one.forget(host);
    assert!(ask(&one, host, "echo").await.is_ok());
}
