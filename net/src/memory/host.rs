//! One host's end of the in-memory network: the requesting side, and what is known of others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Node, World, lock, unreachable};
use crate::frame::Frame;
use crate::network::BoxFuture;
use crate::window::Window;
use crate::{HostId, NetError, NetStats, Network, PeerInfo, PeerName, Purpose};

/// One host's view of the network.
pub(super) struct MemoryHost {
    pub(super) world: Arc<World>,
    pub(super) node: Arc<Node>,
}

impl MemoryHost {
    /// Sends one request and waits for its response.
    async fn ask(
        world: Arc<World>,
        node: Arc<Node>,
        to: HostId,
        purpose: Purpose,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, NetError> {
        node.shared.check(to, purpose, payload.len())?;
        let until = Instant::now() + deadline;
        let window = {
            let mut links = lock(&node.links);
            if !links.ask(to, Instant::now()) {
                return Err(unreachable(to, "not connected, and no address is known"));
            }
            Arc::clone(links.windows.entry((to, purpose)).or_insert_with(|| Arc::new(Window::new(purpose))))
        };
        let Ok(admission) = tokio::time::timeout_at(until, window.enter(payload.len())).await else {
            return Err(NetError::Overloaded { host: to, purpose, deadline });
        };
        if !lock(&world.state).hosts.contains_key(&to) {
            let next_attempt_in = Some(node.shared.limits.backoff_base);
            return Err(NetError::Unreachable { host: to, next_attempt_in, reason: "the host is not there".into() });
        }
        let (reply, response) = oneshot::channel();
        let id = {
            let mut links = lock(&node.links);
            links.next_id += 1;
            let id = links.next_id;
            links.pending.insert(id, reply);
            id
        };
        let _entry = PendingEntry { node: &node, id };
        let (from, requester) = (node.shared.local, Arc::clone(&node));
        world
            .send(from, to, purpose, Frame::Request { id, payload }, requester, Some(admission))
            .map_err(|error| NetError::Lost { host: to, purpose, reason: error.to_string() })?;
        match tokio::time::timeout_at(until, response).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(NetError::Closed),
            Err(_) => Err(NetError::Timeout { host: to, purpose, deadline }),
        }
    }
}

impl MemoryHost {
    /// Ends everything. Another host that has joined under the same name since stays.
    fn leave(&self) {
        self.node.close();
        let mut state = lock(&self.world.state);
        let local = self.node.shared.local;
        if state.hosts.get(&local).is_some_and(|node| Arc::ptr_eq(node, &self.node)) {
            state.hosts.remove(&local);
            for other in state.hosts.values() {
                lock(&other.links).connected.remove(&local);
            }
        }
    }
}

/// Forgets a request when its caller is gone.
struct PendingEntry<'a> {
    node: &'a Node,
    id: u64,
}

impl Drop for PendingEntry<'_> {
    fn drop(&mut self) {
        lock(&self.node.links).pending.remove(&self.id);
    }
}

impl Network for MemoryHost {
    fn request(
        &self,
        to: HostId,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        let (world, node) = (Arc::clone(&self.world), Arc::clone(&self.node));
        async move {
            let started = Instant::now();
            let result = MemoryHost::ask(world, Arc::clone(&node), to, purpose, frame, deadline).await;
            node.shared.counters.purpose(purpose).count_request(&result, started.elapsed());
            result
        }
        .boxed()
    }

    fn set_addresses(&self, host: HostId, addresses: Vec<String>) {
        if host != self.node.shared.local && !addresses.is_empty() {
            lock(&self.node.links).addresses.insert(host, addresses);
        }
    }

    fn hint_addresses(&self, host: HostId, addresses: Vec<String>) {
        if host != self.node.shared.local && !addresses.is_empty() {
            lock(&self.node.links).hints.insert(host, (addresses, Instant::now()));
        }
    }

    fn forget(&self, host: HostId) {
        let state = lock(&self.world.state);
        let mut links = lock(&self.node.links);
        if links.addresses.remove(&host).is_none() || links.is_hinted(host, Instant::now()) {
            return;
        }
        links.connected.remove(&host);
        drop(links);
        // A connection ends at both ends.
        if let Some(other) = state.hosts.get(&host) {
            lock(&other.links).connected.remove(&self.node.shared.local);
        }
    }

    fn local(&self) -> HostId {
        self.node.shared.local
    }

    fn listen_addresses(&self) -> Vec<String> {
        vec![format!("/p2p/{}", self.node.shared.local.peer_id())]
    }

    fn stats(&self) -> NetStats {
        let mut stats = self.node.shared.counters.read();
        stats.connections.connected_peers = self.peers().iter().filter(|peer| peer.connected).count() as u64;
        stats
    }

    fn peers(&self) -> Vec<PeerInfo> {
        let local = self.node.shared.local;
        let state = lock(&self.world.state);
        let links = lock(&self.node.links);
        let hosts: BTreeSet<HostId> = links.addresses.keys().chain(&links.connected).copied().collect();
        let info = |host: HostId| {
            let dark = state.cut.contains(&(local, host)) || state.cut.contains(&(host, local));
            let connected = state.hosts.contains_key(&host) && !dark;
            let addresses = links.addresses.get(&host).cloned().unwrap_or_default();
            PeerInfo {
                host,
                remote_address: connected.then(|| format!("/p2p/{}", host.peer_id())),
                dialled: !addresses.is_empty(),
                addresses,
                connected,
                connected_for: None,
                round_trip: None,
                version: None,
                failed_attempts: u32::from(!connected),
                next_attempt_in: None,
                last_error: None,
            }
        };
        hosts.into_iter().map(info).collect()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.leave();
        async {}.boxed()
    }
}

impl Drop for MemoryHost {
    fn drop(&mut self) {
        self.leave();
    }
}
