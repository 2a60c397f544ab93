//! Names of hosts, and the closed list of purposes of requests, with the limits of each.
//!
//! A [`HostId`] is an Ed25519 public key; libp2p's `PeerId` of such a key contains the key itself, so both directions of the
//! conversion are exact and need no lookup. Adding a [`Purpose`] changes the wire: old hosts refuse its protocol name.

use std::fmt;

use libp2p::PeerId;
use libp2p::swarm::StreamProtocol;
use quorate_ids::HostId;

/// One mebibyte, in bytes.
const MIB: usize = 1024 * 1024;
/// One kibibyte, in bytes.
const KIB: usize = 1024;

/// A `PeerId` of an Ed25519 key is this prefix and the key: multihash code 0 (identity), length 36, then the protobuf
/// message of the public key (field 1 = type 1, Ed25519; field 2 = 32 bytes).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A host in libp2p's terms.
pub trait PeerName: Sized {
    /// The host whose key pair is made from this 32-byte secret seed.
    fn of_secret(secret: &[u8; 32]) -> Self;

    /// The same host in libp2p's terms.
    fn peer_id(&self) -> PeerId;

    /// The host behind a libp2p peer; `None` if its key is not Ed25519.
    fn from_peer_id(peer: &PeerId) -> Option<Self>;

    /// The host of a peer id in libp2p's text form, as it ends multiaddrs after `/p2p/`.
    fn from_peer_id_text(text: &str) -> Option<Self> {
        Self::from_peer_id(&text.parse().ok()?)
    }
}

impl PeerName for HostId {
    fn of_secret(secret: &[u8; 32]) -> HostId {
        let mut seed = *secret;
        let secret = libp2p::identity::ed25519::SecretKey::try_from_bytes(&mut seed)
            .expect("every 32 bytes are a valid Ed25519 secret seed");
        HostId(libp2p::identity::ed25519::Keypair::from(secret).public().to_bytes())
    }

    fn peer_id(&self) -> PeerId {
        let mut bytes = [0u8; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        PeerId::from_bytes(&bytes).expect("an identity multihash of 36 bytes is a valid PeerId")
    }

    fn from_peer_id(peer: &PeerId) -> Option<HostId> {
        let bytes = peer.to_bytes();
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(HostId(key.try_into().ok()?))
    }
}

/// What a stream is for. Each purpose has its own stream per pair of hosts, so that a snapshot never delays a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Raft log entries.
    Append,
    /// Raft votes, heartbeats, and the handing over of the lead: what a batch of entries must not delay.
    Vote,
    /// Chunks of checkpoints for a member that is far behind.
    Snapshot,
    /// Signature shares and certificates among members. Strangers may introduce themselves as such.
    Share,
    /// Commands forwarded to the leader.
    Propose,
    /// Slices of streams between vats, with their evidence. Open to strangers.
    Slice,
    /// Questions about vats: introductions, heads, status. Open to strangers.
    Directory,
    /// Requests of operators to a host's administrative interface.
    Admin,
}

impl Purpose {
    /// How many purposes there are.
    pub const COUNT: usize = 8;

    /// All purposes, in the order of [`Purpose::index`].
    pub const ALL: [Purpose; Purpose::COUNT] = [
        Purpose::Append,
        Purpose::Vote,
        Purpose::Snapshot,
        Purpose::Share,
        Purpose::Propose,
        Purpose::Slice,
        Purpose::Directory,
        Purpose::Admin,
    ];

    /// Position in [`Purpose::ALL`], for tables.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word used in protocol names, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Purpose::Append => "append",
            Purpose::Vote => "vote",
            Purpose::Snapshot => "snapshot",
            Purpose::Share => "share",
            Purpose::Propose => "propose",
            Purpose::Slice => "slice",
            Purpose::Directory => "directory",
            Purpose::Admin => "admin",
        }
    }

    /// The libp2p protocol of this purpose's streams.
    pub const fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Purpose::Append => "/quorate/append/1",
            Purpose::Vote => "/quorate/vote/1",
            Purpose::Snapshot => "/quorate/snapshot/1",
            Purpose::Share => "/quorate/share/1",
            Purpose::Propose => "/quorate/propose/1",
            Purpose::Slice => "/quorate/slice/1",
            Purpose::Directory => "/quorate/directory/1",
            Purpose::Admin => "/quorate/admin/1",
        })
    }

    /// The purpose of a protocol name.
    pub fn from_protocol(protocol: &str) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|purpose| purpose.protocol().as_ref() == protocol)
    }

    /// Largest payload of one frame, request or response, in bytes.
    pub const fn max_frame_bytes(self) -> usize {
        match self {
            // One block may hold an `Install` with a whole bundle (bound by Propose), and a catch-up batch holds many blocks.
            Purpose::Append => 16 * MIB,
            // A vote or a heartbeat is a few numbers.
            Purpose::Vote => 64 * KIB,
            // One batch of chunks; larger would gain nothing over pipelining several.
            Purpose::Snapshot => 4 * MIB,
            // Statements and signatures of at most 31 members, batched over many blocks.
            Purpose::Share => MIB,
            // One command; the largest is an `Install` with its bundle.
            Purpose::Propose => 8 * MIB,
            // A run of messages of at most 512 KiB each, with their evidence. Strangers may send it, so it is the smallest
            // that still batches well.
            Purpose::Slice => 4 * MIB,
            // An introduction with its chain of memberships.
            Purpose::Directory => MIB,
            // A bundle of code, in hex.
            Purpose::Admin => 16 * MIB,
        }
    }

    /// Returns how many requests of one host to another may be unanswered at a time; more wait for their turn.
    pub const fn max_in_flight(self) -> usize {
        match self {
            // One stream carries what all vats that two hosts share have to say.
            Purpose::Append | Purpose::Vote | Purpose::Propose => 256,
            // Bulk: enough to fill a wide-area link, few enough to stay out of memory.
            Purpose::Snapshot => 16,
            // Small and many: one for each block of each shared vat.
            Purpose::Share => 1024,
            // Strangers: enough to pipeline.
            Purpose::Slice => 64,
            Purpose::Directory => 32,
            // A person, or a script.
            Purpose::Admin => 4,
        }
    }

    /// Returns how many bytes of unanswered requests of one host to another there may be; more wait for their turn. It bounds the
    /// memory that a peer can make us hold where frames are large and the number in flight alone would not.
    pub const fn max_in_flight_bytes(self) -> usize {
        // Two of the largest frames, and never less than a round of small ones: one can be sent while the other is handled.
        let two = 2 * self.max_frame_bytes();
        if two < MIB { MIB } else { two }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn host_ids_and_peer_ids_convert_both_ways() {
        for seed in 0..32u8 {
            let host = HostId::of_secret(&[seed; 32]);
            let mut secret = [seed; 32];
            let keypair = libp2p::identity::Keypair::ed25519_from_bytes(&mut secret).unwrap();
            assert_eq!(host.peer_id(), keypair.public().to_peer_id());
            assert_eq!(HostId::from_peer_id(&host.peer_id()), Some(host));
        }
        // Also for 32 bytes that are no point of the curve: a made-up id is harmless, nobody can prove to be it.
        let nobody = HostId([0xff; 32]);
        assert_eq!(HostId::from_peer_id(&nobody.peer_id()), Some(nobody));
        assert_eq!(HostId::from_peer_id(&PeerId::random()), None);
    }

    #[test]
    fn purposes_have_distinct_protocols() {
        for (index, purpose) in Purpose::ALL.into_iter().enumerate() {
            assert_eq!(purpose.index(), index);
            assert_eq!(purpose.protocol().as_ref(), format!("/quorate/{}/1", purpose.name()));
            assert_eq!(Purpose::from_protocol(purpose.protocol().as_ref()), Some(purpose));
            assert!(purpose.max_in_flight_bytes() >= purpose.max_frame_bytes());
        }
        assert_eq!(Purpose::from_protocol("/quorate/append/2"), None);
    }
}
