//! Lanes over made-up streams, in virtual time.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio_util::codec::Encoder as _;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::*;
use crate::{Handler, NetLimits};

const LOCAL: HostId = HostId([1; 32]);
const PEER: HostId = HostId([2; 32]);

struct Nobody;

impl Handler for Nobody {
    fn permits(&self, _: HostId, _: Purpose) -> bool {
        false
    }

    fn handle(&self, _: HostId, _: Purpose, _: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async { Err("nobody".into()) })
    }
}

/// A peer that closes every stream as forbidden.
struct ClosedDoor {
    known: bool,
    knocks: Mutex<Vec<Instant>>,
}

impl Connector for ClosedDoor {
    type Stream = Compat<DuplexStream>;

    fn is_known(&self, _: HostId) -> bool {
        self.known
    }

    fn open(&self, _: HostId, purpose: Purpose) -> BoxFuture<'_, Result<Opened<Self::Stream>, NetError>> {
        self.knocks.lock().unwrap().push(Instant::now());
        let (ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut bytes = BytesMut::new();
            let closing = Frame::Closing { reason: ClosingReason::Forbidden };
            FrameCodec::new(purpose).encode(closing, &mut bytes).unwrap();
            theirs.write_all(&bytes).await.unwrap();
        });
        let (retire, ended) = Default::default();
        Box::pin(async move { Ok(Opened { stream: ours.compat(), retire, ended }) })
    }
}

/// Asks again and again for a minute; the waits between streams.
async fn waits(known: bool) -> Vec<Duration> {
    let door = Arc::new(ClosedDoor { known, knocks: Mutex::default() });
    let lanes = Lanes::new(Shared::new(LOCAL, Arc::new(Nobody), NetLimits::default()), Arc::clone(&door));
    for _ in 0..6_000 {
        let answer = lanes.request(PEER, Purpose::Append, Bytes::new(), Duration::from_secs(1)).await;
        assert_eq!(answer, Err(NetError::Forbidden { host: PEER, purpose: Purpose::Append }));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let knocks = door.knocks.lock().unwrap();
    knocks.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_known_host_that_forbids_is_asked_again_soon_and_not_at_once() {
    let slack = Duration::from_millis(20);
    let known = waits(true).await;
    assert!(known.iter().all(|wait| *wait <= FORBIDDEN_HOLD.mul_f64(1.25) + slack), "{known:?}");
    assert!(known[2..].iter().all(|wait| *wait >= FORBIDDEN_HOLD.mul_f64(0.75)), "{known:?}");
    assert!(known.iter().min() < known.iter().max(), "with jitter");
    let stranger = waits(false).await;
    assert!(stranger.iter().max().unwrap() > &Duration::from_secs(3), "{stranger:?}");
}
