//! A host that lies about what its replicas sign. Its replicas are the product's and know nothing of it: the lie is made between
//! them and the network.

use bytes::Bytes;
use quorate_consensus::{Channel, HostId, testing::FalseSigner};
use quorate_net::{BoxFuture, Handler, NetError, Network, NetworkLayer, Purpose};
use quorate_node::run::Between;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Bytes of the VatId before each frame of the agreement.
pub(crate) const VAT_BYTES: usize = 32;

/// A host that lies.
#[derive(Clone)]
pub struct Liar(Arc<Story>);

struct Story {
    signer: FalseSigner,
    /// Whether only one member hears the false story.
    is_two_faced: bool,
    /// That member: the first one that was told anything.
    deceived: OnceLock<HostId>,
}

impl Liar {
    /// Tells everybody the same false story. It ships no slices, since their certificates would hold its true signatures.
    pub fn consistent(signer: FalseSigner) -> Liar {
        Liar(Arc::new(Story { signer, is_two_faced: false, deceived: OnceLock::new() }))
    }

    /// Tells the first member that it tells anything a false story, and the rest the true one.
    pub fn two_faced(signer: FalseSigner) -> Liar {
        Liar(Arc::new(Story { signer, is_two_faced: true, deceived: OnceLock::new() }))
    }
}

impl Story {
    fn deceives(&self, host: HostId) -> bool {
        !self.is_two_faced || *self.deceived.get_or_init(|| host) == host
    }

    /// The frame of a request that leaves.
    fn request(&self, to: HostId, purpose: Purpose, frame: Bytes) -> Bytes {
        if purpose != Purpose::Share || !self.deceives(to) {
            return frame;
        }
        let Some((vat, body)) = frame.split_at_checked(VAT_BYTES) else { return frame };
        [vat, &self.signer.request(Channel::Share, body.to_vec())].concat().into()
    }

    fn answer(&self, to: HostId, purpose: Purpose, answer: Bytes) -> Bytes {
        if purpose != Purpose::Share || !self.deceives(to) {
            return answer;
        }
        self.signer.answer(Channel::Share, answer.to_vec()).into()
    }
}

impl Between for Liar {
    fn inbound(&self, handler: Arc<dyn Handler>) -> Arc<dyn Handler> {
        Arc::new(Answers { story: self.0.clone(), handler })
    }

    fn outbound(&self, network: Arc<dyn Network>) -> Arc<dyn Network> {
        Arc::new(Requests { story: self.0.clone(), network })
    }
}

struct Answers {
    story: Arc<Story>,
    handler: Arc<dyn Handler>,
}

impl Handler for Answers {
    fn permits(&self, from: HostId, purpose: Purpose) -> bool {
        self.handler.permits(from, purpose)
    }

    fn handle(&self, from: HostId, purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let (story, answer) = (self.story.clone(), self.handler.handle(from, purpose, frame));
        Box::pin(async move { answer.await.map(|answer| story.answer(from, purpose, answer)) })
    }

    fn own_key_met(&self, address: &str) {
        self.handler.own_key_met(address);
    }

    fn trusts(&self, from: HostId) -> bool {
        self.handler.trusts(from)
    }
}

/// Returns what becomes of a request that is kept back: it times out.
pub(crate) fn unanswered(
    host: HostId,
    purpose: Purpose,
    deadline: Duration,
) -> BoxFuture<'static, Result<Bytes, NetError>> {
    Box::pin(async move {
        tokio::time::sleep(deadline).await;
        Err(NetError::Timeout { host, purpose, deadline })
    })
}

struct Requests {
    story: Arc<Story>,
    network: Arc<dyn Network>,
}

impl NetworkLayer for Requests {
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
        if purpose == Purpose::Slice && !self.story.is_two_faced {
            return unanswered(to, purpose, deadline);
        }
        self.network.request(to, purpose, self.story.request(to, purpose, frame), deadline)
    }
}
