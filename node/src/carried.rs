//! Clients whose frames come by this host's gateway instead of the network. The host's vats send to their keys through the gateway.
//!
//! Invariants: a client gets slices and nothing else. Of two connections with one key, the newer one gets them.

use bytes::Bytes;
use quorate_gateway::carry::ForClient;
use quorate_net::{BoxFuture, HostId, NetError, Network, NetworkLayer, Purpose};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// The clients that are connected so. Cheap to clone.
#[derive(Clone, Default)]
pub struct CarriedClients(Arc<Mutex<BTreeMap<HostId, mpsc::Sender<ForClient>>>>);

/// As long as it is there, a client's slices go to its connection.
pub struct Attached {
    clients: CarriedClients,
    client: HostId,
    slices: mpsc::Sender<ForClient>,
}

impl CarriedClients {
    /// Has the slices for this client go to `slices` from now on.
    pub fn attach(&self, client: HostId, slices: mpsc::Sender<ForClient>) -> Attached {
        self.lock().insert(client, slices.clone());
        Attached { clients: self.clone(), client, slices }
    }

    fn of(&self, client: &HostId) -> Option<mpsc::Sender<ForClient>> {
        self.lock().get(client).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostId, mpsc::Sender<ForClient>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut clients = self.clients.lock();
        if clients.get(&self.client).is_some_and(|slices| slices.same_channel(&self.slices)) {
            clients.remove(&self.client);
        }
    }
}

/// A network that hands slices for such clients to their connections.
pub struct WithCarried {
    network: Arc<dyn Network>,
    clients: CarriedClients,
}

impl WithCarried {
    /// All else goes to `network`.
    pub fn new(network: Arc<dyn Network>, clients: CarriedClients) -> WithCarried {
        WithCarried { network, clients }
    }
}

impl NetworkLayer for WithCarried {
    fn beneath(&self) -> &dyn Network {
        self.network.as_ref()
    }

    fn send(
        &self,
        to: HostId,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        let slices = self.clients.of(&to).filter(|_| purpose == Purpose::Slice);
        let Some(slices) = slices else { return self.network.request(to, purpose, frame, deadline) };
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let lost = |_| NetError::Unavailable("the client's connection is busy or gone".to_owned());
            slices.try_send(ForClient { frame, answer }).map_err(lost)?;
            match tokio::time::timeout(deadline, answered).await {
                Ok(Ok(answer)) => answer.map_err(NetError::Refused),
                Ok(Err(_)) => Err(NetError::Unavailable("the client's connection is gone".to_owned())),
                Err(_) => Err(NetError::Timeout { host: to, purpose, deadline }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_net::{Handler, MemoryNetwork};

    struct Nobody;

    impl Handler for Nobody {
        fn permits(&self, _from: HostId, _purpose: Purpose) -> bool {
            false
        }

        fn handle(&self, _from: HostId, _purpose: Purpose, _frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
            Box::pin(async { Err("nobody".to_owned()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slices_go_to_the_connection_that_came_last_as_long_as_it_is_there() {
        let (host, client) = (HostId([1; 32]), HostId([2; 32]));
        let clients = CarriedClients::default();
        let network = WithCarried::new(MemoryNetwork::new(1).join(host, Arc::new(Nobody)), clients.clone());
        let deadline = Duration::from_secs(1);
        let ask = |purpose| network.request(client, purpose, Bytes::from_static(b"a slice"), deadline);
        let unreachable = |answer| matches!(answer, Err(NetError::Unreachable { .. }));
        assert!(unreachable(ask(Purpose::Slice).await));
        let (first, mut first_slices) = mpsc::channel(1);
        let first = clients.attach(client, first);
        let (second, mut second_slices) = mpsc::channel(1);
        let second = clients.attach(client, second);
        // The first one's end changes nothing.
        drop(first);
        let (answer, ()) = tokio::join!(ask(Purpose::Slice), async {
            let ForClient { frame, answer } = second_slices.recv().await.expect("it comes here");
            assert_eq!(&frame[..], b"a slice");
            answer.send(Ok(Bytes::from_static(b"taken"))).expect("it is waited for");
        });
        assert_eq!(answer.as_deref(), Ok(&b"taken"[..]));
        assert!(first_slices.try_recv().is_err());
        // One that does not answer, one that has enough to do, other purposes, and one that has gone.
        assert_eq!(
            ask(Purpose::Slice).await,
            Err(NetError::Timeout { host: client, purpose: Purpose::Slice, deadline })
        );
        assert!(matches!(ask(Purpose::Slice).await, Err(NetError::Unavailable(_))));
        assert!(unreachable(ask(Purpose::Append).await));
        drop(second);
        assert!(unreachable(ask(Purpose::Slice).await));
    }
}
