//! A host's network as its vats see it: requests to the host itself are answered here, all others go out.
//!
//! Vats on one host talk like any others: by slices to members, some of which are this very host. The network between hosts refuses
//! requests to itself. Invariant: a local frame passes the same handler, limits and deadline as one that travels.

use bytes::Bytes;
use quorate_net::{BoxFuture, Handler, HostId, NetError, Network, NetworkLayer, Purpose};
use std::{sync::Arc, time::Duration};

/// A network and the handler behind it.
pub struct WithSelf {
    network: Arc<dyn Network>,
    handler: Arc<dyn Handler>,
}

impl WithSelf {
    /// `handler` is the one that `network` was started with.
    pub fn new(network: Arc<dyn Network>, handler: Arc<dyn Handler>) -> WithSelf {
        WithSelf { network, handler }
    }

    fn answer(
        &self,
        purpose: Purpose,
        frame: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, NetError>> {
        let (handler, host) = (self.handler.clone(), self.network.local());
        Box::pin(async move {
            let (size, limit) = (frame.len(), purpose.max_frame_bytes());
            if size > limit {
                return Err(NetError::TooLarge { purpose, size, limit });
            }
            if !handler.permits(host, purpose) {
                return Err(NetError::Forbidden { host, purpose });
            }
            // A task of its own: it runs to its end, even if the caller stops waiting.
            let answer = tokio::spawn(async move { handler.handle(host, purpose, frame).await });
            match tokio::time::timeout(deadline, answer).await {
                Ok(Ok(answer)) => answer.map_err(NetError::Refused),
                Ok(Err(error)) => Err(NetError::Unavailable(error.to_string())),
                Err(_) => Err(NetError::Timeout { host, purpose, deadline }),
            }
        })
    }
}

impl NetworkLayer for WithSelf {
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
        if to == self.network.local() {
            return self.answer(purpose, frame, deadline);
        }
        self.network.request(to, purpose, frame, deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_net::MemoryNetwork;

    /// Answers questions about vats, and panics when it is told to.
    struct Echo;

    impl Handler for Echo {
        fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
            purpose == Purpose::Directory
        }

        fn handle(&self, from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
            Box::pin(async move {
                match &frame[..] {
                    b"from" => Ok(Bytes::copy_from_slice(&from.0)),
                    b"never" => std::future::pending().await,
                    b"panic" => panic!("told to"),
                    _ => Err("no".to_owned()),
                }
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_to_oneself_are_like_any_others() {
        let world = MemoryNetwork::new(1);
        let (me, other) = (HostId([1; 32]), HostId([2; 32]));
        let network = WithSelf::new(world.join(me, Arc::new(Echo)), Arc::new(Echo));
        let _other = world.join(other, Arc::new(Echo));
        network.set_addresses(other, vec!["/memory/2".to_owned()]);
        let deadline = Duration::from_secs(5);
        for host in [me, other] {
            let ask = |purpose, text: &'static [u8]| network.request(host, purpose, Bytes::from_static(text), deadline);
            assert_eq!(ask(Purpose::Directory, b"from").await.as_deref(), Ok(&me.0[..]));
            assert_eq!(ask(Purpose::Directory, b"else").await, Err(NetError::Refused("no".into())));
            assert_eq!(
                ask(Purpose::Append, b"from").await,
                Err(NetError::Forbidden { host, purpose: Purpose::Append })
            );
            let timeout = NetError::Timeout { host, purpose: Purpose::Directory, deadline };
            assert_eq!(ask(Purpose::Directory, b"never").await, Err(timeout));
            assert!(matches!(ask(Purpose::Directory, b"panic").await, Err(NetError::Unavailable(_))));
            let large = Bytes::from(vec![0; Purpose::Directory.max_frame_bytes() + 1]);
            let refused = network.request(host, Purpose::Directory, large, deadline).await;
            assert!(matches!(refused, Err(NetError::TooLarge { .. })));
        }
    }
}
