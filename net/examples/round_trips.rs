//! Measures requests between two hosts in one process over loopback TCP and QUIC: round trips one at a time, and pipelined.
//!
//! `cargo run -p quorate-net --example round_trips [-- <payload bytes>]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use quorate_net::{
    BoxFuture, Handler, HostId, Libp2pNetwork, NetError, NetLimits, NetOptions, NetReach, Network, Purpose,
};

const DEADLINE: Duration = Duration::from_secs(10);
const WARM_UP: usize = 2_000;
const ONE_AT_A_TIME: usize = 20_000;
const PIPELINED: usize = 200_000;

struct Echo;

impl Handler for Echo {
    fn permits(&self, _: HostId, _: Purpose) -> bool {
        true
    }

    fn handle(&self, _: HostId, _: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move { Ok(frame) })
    }
}

async fn host(seed: u8, listen: &str) -> Result<Arc<Libp2pNetwork>, NetError> {
    Libp2pNetwork::start(NetOptions {
        reach: NetReach::default(),
        secret: [seed; 32],
        listen: vec![listen.into()],
        handler: Arc::new(Echo),
        limits: NetLimits::default(),
    })
    .await
}

#[tokio::main]
async fn main() -> Result<(), NetError> {
    let size = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(256);
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        measure(listen, size).await?;
    }
    Ok(())
}

async fn measure(listen: &str, size: usize) -> Result<(), NetError> {
    let (client, server) = (host(1, listen).await?, host(2, listen).await?);
    client.set_addresses(server.local(), server.listen_addresses());
    let payload = Bytes::from(vec![7; size]);
    let to = server.local();
    for _ in 0..WARM_UP {
        client.request(to, Purpose::Append, payload.clone(), DEADLINE).await?;
    }
    let mut times = Vec::with_capacity(ONE_AT_A_TIME);
    for _ in 0..ONE_AT_A_TIME {
        let started = Instant::now();
        client.request(to, Purpose::Append, payload.clone(), DEADLINE).await?;
        times.push(started.elapsed());
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{listen}: {size} bytes, one at a time: median {:?}, 99% {:?}", at(0.5), at(0.99));
    for in_flight in [16, 128] {
        let started = Instant::now();
        let requests = (0..PIPELINED).map(|_| client.request(to, Purpose::Append, payload.clone(), DEADLINE));
        let failed = futures::stream::iter(requests)
            .buffer_unordered(in_flight)
            .filter(|result| futures::future::ready(result.is_err()))
            .count()
            .await;
        let rate = PIPELINED as f64 / started.elapsed().as_secs_f64();
        println!("{listen}: {size} bytes, {in_flight} in flight: {rate:.0} a second, {failed} failed");
    }
    client.shutdown().await;
    server.shutdown().await;
    Ok(())
}
