//! Hosts on real loopback sockets.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use libp2p::swarm::{StreamProtocol, SwarmEvent};
use libp2p::{Multiaddr, PeerId, SwarmBuilder, identity, noise, yamux};
use quorate_net::frame::{ClosingReason, Frame, FrameCodec, HEADER_BYTES, LENGTH_BYTES};
use quorate_net::{BoxFuture, Handler, HostId, Libp2pNetwork, NetLimits, NetOptions, NetReach, Network, PeerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, tcp};
use tokio_util::codec::Encoder as _;
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};
use tokio_util::sync::CancellationToken;

use crate::common::World;

/// Hosts on one kind of socket; a host that is started again listens where it did.
pub struct Sockets {
    listen: &'static str,
    limits: NetLimits,
    known: Mutex<BTreeMap<u8, Vec<String>>>,
}

impl Sockets {
    pub fn tcp() -> Sockets {
        Sockets::new("/ip4/127.0.0.1/tcp/0", NetLimits::default())
    }

    pub fn quic() -> Sockets {
        Sockets::new("/ip4/127.0.0.1/udp/0/quic-v1", NetLimits::default())
    }

    pub fn new(listen: &'static str, limits: NetLimits) -> Sockets {
        Sockets { listen, limits, known: Mutex::default() }
    }
}

impl World for Sockets {
    fn start(&self, seed: u8, handler: Arc<dyn Handler>) -> BoxFuture<'_, Arc<dyn Network>> {
        Box::pin(async move {
            let known = self.known.lock().unwrap().get(&seed).cloned();
            let listen = known.unwrap_or_else(|| vec![self.listen.into()]);
            let options = NetOptions {
                secret: [seed; 32],
                listen,
                reach: NetReach::default(),
                handler,
                limits: self.limits.clone(),
            };
            let network = Libp2pNetwork::start(options).await.unwrap();
            self.known.lock().unwrap().insert(seed, network.listen_addresses());
            network as Arc<dyn Network>
        })
    }
}

/// A client that speaks libp2p but none of our framing.
pub struct Raw {
    pub local: HostId,
    server: PeerId,
    control: libp2p_stream::Control,
}

impl Raw {
    pub async fn connect(server: &Arc<dyn Network>) -> Raw {
        Raw::connect_as(identity::Keypair::generate_ed25519(), server).await
    }

    pub async fn connect_as(keypair: identity::Keypair, server: &Arc<dyn Network>) -> Raw {
        Raw::connect_prepared(keypair, server, |_| {}).await
    }

    /// One that answers who it is and what addresses it knows: of itself, and of the host that asks.
    pub async fn connect_identified(own: &[Multiaddr], observed: &Multiaddr, server: &Arc<dyn Network>) -> Raw {
        fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
            [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
        }
        let keypair = identity::Keypair::generate_ed25519();
        let own = own.iter().flat_map(|address| field(2, &address.to_vec())).collect();
        let message = [field(1, &keypair.public().encode_protobuf()), own, field(4, &observed.to_vec())].concat();
        let message = [&[u8::try_from(message.len()).unwrap()], &message[..]].concat();
        let prepare = |control: &mut libp2p_stream::Control| {
            let mut asked = control.accept(StreamProtocol::new("/ipfs/id/1.0.0")).unwrap();
            tokio::spawn(async move {
                while let Some((_, stream)) = asked.next().await {
                    let mut stream = stream.compat();
                    let _ = stream.write_all(&message).await;
                    let _ = stream.shutdown().await;
                }
            });
        };
        Raw::connect_prepared(keypair, server, prepare).await
    }

    async fn connect_prepared(
        keypair: identity::Keypair,
        server: &Arc<dyn Network>,
        prepare: impl FnOnce(&mut libp2p_stream::Control),
    ) -> Raw {
        let mut swarm = SwarmBuilder::with_existing_identity(keypair)
            .with_tokio()
            .with_tcp(libp2p::tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .build();
        let mut control = swarm.behaviour().new_control();
        prepare(&mut control);
        let address: Multiaddr = server.listen_addresses()[0].parse().unwrap();
        let server = server.local().peer_id();
        swarm.dial(address.with_p2p(server).unwrap()).unwrap();
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
        let local = HostId::from_peer_id(swarm.local_peer_id()).unwrap();
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Raw { local, server, control }
    }

    pub async fn open(&mut self, protocol: &'static str) -> Compat<libp2p::Stream> {
        self.control.open_stream(self.server, StreamProtocol::new(protocol)).await.unwrap().compat()
    }
}

/// Bytes of [`Frame::Ready`], with which an accepting end begins.
pub const READY_BYTES: usize = LENGTH_BYTES + HEADER_BYTES;

/// All that an accepting end says that only closes the stream.
pub fn closed(reason: ClosingReason) -> Vec<u8> {
    [encoded(Frame::Ready), encoded(Frame::Closing { reason })].concat()
}

/// Bytes of a frame on the wire.
pub fn encoded(frame: Frame) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    FrameCodec::with_limit(usize::MAX / 2).encode(frame, &mut bytes).unwrap();
    bytes.to_vec()
}

pub fn request(id: u64, payload: &'static [u8]) -> Vec<u8> {
    encoded(Frame::Request { id, payload: Bytes::from_static(payload) })
}

/// The port of a host that listens on TCP.
pub fn port(server: &Arc<dyn Network>) -> u16 {
    server.listen_addresses()[0].rsplit('/').next().unwrap().parse().unwrap()
}

/// A connection from one of the machine's own addresses.
pub async fn connect_from(source: Ipv4Addr, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap()
}

/// A line to a host: it seems to come from another address, and may go dead without a word.
pub struct Proxy {
    port: u16,
    /// Of the connections that are open.
    line: Mutex<CancellationToken>,
}

impl Proxy {
    pub async fn start(source: Ipv4Addr, target: u16) -> Arc<Proxy> {
        let socket = TcpSocket::new_v4().unwrap();
        // Small pieces and a small buffer, so that a dead line is soon full: the sender's buffer is a multiple of the piece.
        socket.set_recv_buffer_size(4096).unwrap();
        socket2::SockRef::from(&socket).set_tcp_mss(536).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(16).unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Arc::new(Proxy { port, line: Mutex::default() });
        tokio::spawn(proxy.clone().run(listener, source, target));
        proxy
    }

    async fn run(self: Arc<Proxy>, listener: TcpListener, source: Ipv4Addr, target: u16) {
        while let Ok((here, _)) = listener.accept().await {
            let line = self.line.lock().unwrap().clone();
            let (here_in, here_out) = here.into_split();
            let (there_in, there_out) = connect_from(source, target).await.into_split();
            tokio::spawn(Proxy::forward(here_in, there_out, line.clone()));
            tokio::spawn(Proxy::forward(there_in, here_out, line));
        }
    }

    async fn forward(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, line: CancellationToken) {
        let mut buffer = [0; 16 * 1024];
        loop {
            tokio::select! {
                biased;
                // Both sockets stay open and silent.
                () = line.cancelled() => return std::future::pending().await,
                read = from.read(&mut buffer) => match read {
                    Ok(size @ 1..) if to.write_all(&buffer[..size]).await.is_ok() => {}
                    _ => return,
                },
            }
        }
    }

    /// From now on nothing passes on the connections that are open; new ones are not affected.
    pub fn go_dead(&self) {
        std::mem::take(&mut *self.line.lock().unwrap()).cancel();
    }

    pub fn address(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.port)
    }
}
