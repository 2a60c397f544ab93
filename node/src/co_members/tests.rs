//! What the network is told of hosts, by whom they are named.

use super::*;
use bytes::Bytes;
use quorate_consensus::HostId;
use quorate_net::{NetStats, NetworkLayer, PeerInfo};

const LOCAL: HostId = HostId([0; 32]);

/// Writes down what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn note(&self, what: &str, host: HostId, addresses: &[String]) {
        let line = format!("{what} {} {}", host.0[0], addresses.join(" "));
        self.0.lock().expect("no panic holds it").push(line.trim_end().to_owned());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic holds it"))
    }
}

impl Network for Told {
    fn request(
        &self,
        to: HostId,
        purpose: Purpose,
        _frame: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        self.note(purpose.name(), to, &[]);
        Box::pin(async { Ok(Bytes::new()) })
    }

    fn set_addresses(&self, host: HostId, addresses: Vec<String>) {
        self.note("set", host, &addresses);
    }

    fn hint_addresses(&self, host: HostId, addresses: Vec<String>) {
        self.note("hint", host, &addresses);
    }

    fn forget(&self, host: HostId) {
        self.note("forget", host, &[]);
    }

    fn local(&self) -> HostId {
        LOCAL
    }

    fn listen_addresses(&self) -> Vec<String> {
        vec![]
    }

    fn stats(&self) -> NetStats {
        NetStats::default()
    }

    fn peers(&self) -> Vec<PeerInfo> {
        vec![]
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

fn member(number: u8, addresses: &[&str]) -> Member {
    let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
    Member { key: HostId([number; 32]), name: format!("m{number}"), addresses }
}

fn told() -> (Arc<Told>, Arc<CoMembers>) {
    let network = Arc::new(Told::default());
    (network.clone(), CoMembers::new(network))
}

#[test]
fn whoever_leaves_the_last_shared_vat_is_forgotten_a_while_later() {
    let (told, co_members) = told();
    let (one, two) = (VatId([1; 32]), VatId([2; 32]));
    let start = Instant::now();
    let (own, first, second) = (member(0, &["/own"]), member(1, &["/first"]), member(2, &["/second"]));
    co_members.set(one, &[own.clone(), first.clone(), second.clone()], start);
    assert_eq!(told.take(), ["set 1 /first", "set 2 /second"]);
    co_members.set(two, &[own.clone(), member(1, &["/first", "/elsewhere"])], start);
    assert_eq!(
        told.take(),
        ["set 1 /first /elsewhere"],
        "where several vats list a host, it may be at any of the places"
    );
    co_members.set(one, &[own.clone(), first.clone(), second.clone()], start);
    assert_eq!(told.take(), [""; 0], "nothing is new");

    // Both leave one vat; one of them is in the other vat still.
    co_members.set(one, std::slice::from_ref(&own), start);
    assert_eq!(told.take(), ["set 1 /first /elsewhere"]);
    assert!(co_members.contains(&HostId([1; 32])) && !co_members.contains(&HostId([2; 32])));
    co_members.sweep(start + FAREWELL / 2);
    assert_eq!(told.take(), [""; 0], "it may have to be told");
    co_members.sweep(start + FAREWELL);
    assert_eq!(told.take(), ["forget 2"]);

    // A vat that is not carried any more has no members here; whoever comes back in time stays.
    co_members.set(two, &[], start);
    co_members.set(one, &[own, first], start + FAREWELL / 2);
    told.take();
    co_members.sweep(start + FAREWELL * 2);
    assert_eq!(told.take(), [""; 0]);
}

#[tokio::test]
async fn frames_to_others_than_co_members_say_where_and_no_more() {
    let (told, co_members) = told();
    let (vat, inside, outside) = (VatId([1; 32]), member(1, &["/inside"]), member(2, &["/outside"]));
    co_members.set(vat, std::slice::from_ref(&inside), Instant::now());
    told.take();
    let transport = co_members.transport(vat);
    for to in [&inside, &outside] {
        let answer = transport.request(to, Channel::Share, vec![], Duration::from_secs(1)).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert_eq!(told.take(), ["share 1", "hint 2 /outside", "share 2"]);
}

/// A network on which every request ends in the same way.
struct Failing(Told, NetError);

impl NetworkLayer for Failing {
    fn beneath(&self) -> &dyn Network {
        &self.0
    }

    fn send(
        &self,
        _to: HostId,
        _purpose: Purpose,
        _frame: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        let error = self.1.clone();
        Box::pin(async move { Err(error) })
    }
}

/// Who hands on a proposal makes it again if it was not sent, and must not if it may have been ordered.
#[tokio::test]
async fn what_may_have_arrived_is_not_called_unsent() {
    let (host, purpose) = (HostId([1; 32]), Purpose::Propose);
    let deadline = Duration::from_secs(1);
    let ask = async |error: NetError| {
        let co_members = CoMembers::new(Arc::new(Failing(Told::default(), error)));
        let transport = co_members.transport(VatId([1; 32]));
        transport.request(&member(1, &[]), Channel::Propose, vec![], deadline).await
    };
    for error in [NetError::Lost { host, purpose, reason: "cut".into() }, NetError::Unavailable("it stops".into())] {
        assert!(matches!(ask(error).await, Err(TransportError::Lost(_))));
    }
    assert_eq!(ask(NetError::Timeout { host, purpose, deadline }).await, Err(TransportError::Timeout));
    for error in [NetError::Overloaded { host, purpose, deadline }, NetError::Forbidden { host, purpose }] {
        assert!(matches!(ask(error).await, Err(TransportError::Unreachable(_))));
    }
}
