//! What a checkpoint of a vat's machine holds beside the heap's pages, as it lies on disk and travels to other members.
//!
//! The manifest has hashes only, so that it stays small however much waits in the streams; the tables come in pieces, so that
//! several fit a frame of a snapshot.

use super::clients::Clients;
use crate::{authority::CodeDigest, codec};
use quorate_consensus::Signers;
use quorate_engine::{Hash, VatId, comms::stream::StreamHead};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Size of a piece of the tables.
pub const PIECE_BYTES: usize = 64 * 1024;

/// A checkpoint's manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The pieces of an encoded [`Tables`], in order. They commit to everything: the engine's manifest is in them.
    pub tables: Vec<Hash>,
    /// The pages of the heap: what else to fetch.
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
}

impl Tables {
    /// The pieces with their hashes, in order.
    pub fn pieces(&self) -> Vec<(Hash, Vec<u8>)> {
        let piece = |bytes: &[u8]| (Hash(Sha256::digest(bytes).into()), bytes.to_vec());
        codec::encode(self).chunks(PIECE_BYTES).map(piece).collect()
    }
}
