//! The tables of a checkpoint, beside the heap's pages, on disk and on the wire.
//!
//! The manifest has hashes only, so that it stays small however much waits in the streams. The tables come in pieces, so that
//! several fit a frame of a snapshot. Cuts depend on content, not on multiples of a size: an insertion, removal or
//! change at one place leaves the pieces before and after it as they were. So a checkpoint of a vat with very long streams costs
//! only what has come since the previous one.

use super::clients::Clients;
use fastcdc::v2020::{Chunk, FastCDC};
use quorate_consensus::Signers;
use quorate_engine::{Hash, VatId, comms::stream::StreamHead};
use quorate_protocol::{authority::CodeDigest, codec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Size of a piece of the tables: at least (but for the last one), in the mean, and at most. By FastCDC (W. Xia et al., "The Design of Fast
/// Content-Defined Chunking for Data Deduplication Based Storage Systems", IEEE TPDS 2020), as `fastcdc` implements it.
pub const PIECE_BYTES: [usize; 3] = [32 << 10, 64 << 10, 256 << 10];

/// A checkpoint's manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The pieces of an encoded [`Tables`], in order. They commit to everything: the engine's manifest is in them.
    #[serde(with = "quorate_ids::hash_list")]
    pub tables: Vec<Hash>,
    /// The pages of the heap: what else to fetch.
    #[serde(with = "quorate_ids::hash_list")]
    pub pages: Vec<Hash>,
}

impl Manifest {
    /// The root of the machine's state: it commits to the tables' pieces, which hold the engine's manifest, which names the
    /// pages.
    pub fn root(&self) -> Hash {
        let count = (self.tables.len() as u64).to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![b"quorate/vat-state/1", &count];
        parts.extend(self.tables.iter().map(|piece| &piece.0[..]));
        Hash::of_parts(&parts)
    }
}

/// What a checkpoint holds beside the heap's pages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tables {
    /// The engine's manifest.
    #[serde(with = "quorate_engine::wire::codec::bytes")]
    pub engine: Vec<u8>,
    /// Who signs for each vat that ever said anything here.
    pub known: BTreeMap<VatId, Signers>,
    /// Heads of the checkpoint's block.
    pub heads: Vec<StreamHead>,
    /// The clients among them, and those that have ended.
    pub clients: Clients,
    /// What the vat's code is.
    pub code: Option<CodeDigest>,
    /// How many changes of who may use what were carried out.
    pub access_orders: u64,
    /// How many upgrades were ordered, whatever came of them.
    pub upgrade_orders: u64,
    /// The hash of the last one's motion, and why it failed, if it did.
    pub last_upgrade: Option<(Hash, Option<String>)>,
}

impl Tables {
    /// The pieces with their hashes, in order.
    pub fn pieces(&self) -> Vec<(Hash, Vec<u8>)> {
        let encoded = codec::encode(self);
        let [least, mean, most] = PIECE_BYTES;
        let piece = |cut: Chunk| {
            let bytes = &encoded[cut.offset..cut.offset + cut.length];
            (Hash(Sha256::digest(bytes).into()), bytes.to_vec())
        };
        FastCDC::new(&encoded, least, mean, most).map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Tables in which these messages wait, among other things: as an engine's manifest holds them.
    fn tables(messages: std::ops::Range<u64>) -> Tables {
        let message = |number: u64| {
            (0..100_u64).flat_map(move |part| Sha256::digest([number.to_be_bytes(), part.to_be_bytes()].concat()))
        };
        let counts = [messages.start.to_be_bytes(), messages.end.to_be_bytes()].concat();
        Tables {
            engine: counts.into_iter().chain(messages.flat_map(message)).collect(),
            known: BTreeMap::new(),
            heads: Vec::new(),
            clients: Clients::default(),
            code: None,
            access_orders: 0,
            upgrade_orders: 0,
            last_upgrade: None,
        }
    }

    #[test]
    fn what_comes_and_goes_in_a_stream_leaves_the_other_pieces_as_they_were() {
        let before: BTreeSet<Hash> = tables(0..2_000).pieces().into_iter().map(|(hash, _)| hash).collect();
        assert!(before.len() > 50, "{}", before.len());
        for range in [10..2_000, 0..2_010, 7..2_005] {
            let after = tables(range.clone()).pieces();
            let new = after.iter().filter(|(hash, _)| !before.contains(hash)).count();
            assert!(new <= 4, "{range:?}: {new} of {} pieces are new", after.len());
        }
    }

    #[test]
    fn pieces_are_the_tables_in_order_and_neither_tiny_nor_huge() {
        let zeros = Tables { engine: vec![0; 3 << 20], ..tables(0..0) };
        for tables in [tables(0..0), tables(0..1), tables(0..2_000), zeros] {
            let pieces: Vec<Vec<u8>> = tables.pieces().into_iter().map(|(_, piece)| piece).collect();
            let [least, _, most] = PIECE_BYTES;
            assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() >= least));
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= most));
            assert_eq!(codec::decode(&pieces.concat()), Ok(tables));
        }
    }
}
