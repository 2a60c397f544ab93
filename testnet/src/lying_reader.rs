//! A host that lies to readers of what its vats publish. Its replicas are the product's and know nothing of it.

use bytes::Bytes;
use quorate_engine::abi::Value;
use quorate_net::{BoxFuture, Handler, HostId, Network, Purpose};
use quorate_node::run::Between;
use quorate_protocol::{
    codec,
    published::{Found, Reading},
    wire::{DirectoryReply, DirectoryRequest, ReadReply, ReadRequest},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How a host lies to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLie {
    /// Each value is another one.
    Forged,
    /// What was answered for a name for the first time is answered for ever.
    Stale,
    /// Nothing is published.
    Hidden,
    /// The vat is in a later epoch.
    Epoch,
}

/// A host that lies to readers.
pub struct LyingReader(ReadLie);

impl LyingReader {
    /// A host that lies so.
    pub fn new(lie: ReadLie) -> LyingReader {
        LyingReader(lie)
    }
}

impl Between for LyingReader {
    fn inbound(&self, handler: Arc<dyn Handler>) -> Arc<dyn Handler> {
        Arc::new(Answers { lie: self.0, first: Arc::default(), handler })
    }

    fn outbound(&self, network: Arc<dyn Network>) -> Arc<dyn Network> {
        network
    }
}

/// What was answered first, by the name.
type First = Arc<Mutex<BTreeMap<String, Bytes>>>;

struct Answers {
    lie: ReadLie,
    first: First,
    handler: Arc<dyn Handler>,
}

impl Handler for Answers {
    fn permits(&self, from: HostId, purpose: Purpose) -> bool {
        self.handler.permits(from, purpose)
    }

    fn handle(&self, from: HostId, purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let (lie, first) = (self.lie, self.first.clone());
        let asked = codec::decode::<DirectoryRequest>(&frame);
        let answer = self.handler.handle(from, purpose, frame);
        let Ok(DirectoryRequest::Read(request)) = asked else { return answer };
        Box::pin(async move { Ok(false_answer(lie, &first, &request, answer.await?)) })
    }

    fn own_key_met(&self, address: &str) {
        self.handler.own_key_met(address);
    }

    fn trusts(&self, from: HostId) -> bool {
        self.handler.trusts(from)
    }
}

fn false_answer(lie: ReadLie, first: &First, request: &ReadRequest, answer: Bytes) -> Bytes {
    if lie == ReadLie::Stale {
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        return first.entry(request.name.clone()).or_insert(answer).clone();
    }
    let Ok(DirectoryReply::Read(ReadReply::Reading { mut reading, epoch })) = codec::decode(&answer) else {
        return answer;
    };
    let epoch = if lie == ReadLie::Epoch { epoch + 1 } else { epoch };
    falsify(lie, &mut reading);
    codec::encode(&DirectoryReply::Read(ReadReply::Reading { reading, epoch })).into()
}

fn falsify(lie: ReadLie, reading: &mut Reading) {
    match (lie, &mut reading.found) {
        (ReadLie::Forged, Found::Value { value, .. }) => *value = Value::String("forged".into()).encode(),
        (ReadLie::Hidden, found) => *found = Found::Nothing { before: None, after: None },
        _ => {}
    }
}
