//! The manifest of a heap's checkpoint: the hash of every page, and the state outside of pages.
//!
//! Invariants: the root covers everything in the manifest, the number of pages included, so equal roots mean equal heaps.
//! Leaves, inner nodes and the root are hashed under different prefixes (as in RFC 6962), so none passes for another. Bytes
//! from elsewhere are checked by the hash of their page before they are used.

use crate::sandbox::GlobalValue;
use quorate_ids::Hash;
use serde::{Deserialize, Serialize};

const ROOT_PREFIX: &[u8] = b"quorate/heap/1";
const LEAF_PREFIX: &[u8] = &[0];
const NODE_PREFIX: &[u8] = &[1];

/// A heap, page by page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapManifest {
    /// The image whose heap it is.
    pub image: Hash,
    /// Exported mutable globals, in the order of their names.
    pub globals: Vec<GlobalValue>,
    /// SHA-256 of each page of 4 KiB, in order; their number is the size of the memory.
    pub pages: Vec<Hash>,
}

impl HeapManifest {
    /// The hash that stands for the whole heap.
    pub fn root(&self) -> Hash {
        let count = (self.pages.len() as u64).to_le_bytes();
        let globals: Vec<u8> = self.globals.iter().flat_map(|value| value.canonical()).collect();
        let global_count = (self.globals.len() as u64).to_le_bytes();
        let tree = merkle_root(&self.pages);
        Hash::of_parts(&[ROOT_PREFIX, self.image.as_bytes(), &global_count, &globals, &count, tree.as_bytes()])
    }
}

/// Root of the binary Merkle tree over `leaves`; an odd one at the end of a level is carried up.
fn merkle_root(leaves: &[Hash]) -> Hash {
    let mut level: Vec<Hash> = leaves.iter().map(|leaf| Hash::of_parts(&[LEAF_PREFIX, leaf.as_bytes()])).collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => Hash::of_parts(&[NODE_PREFIX, left.as_bytes(), right.as_bytes()]),
                _ => pair[0],
            })
            .collect();
    }
    level.first().copied().unwrap_or_else(|| Hash::of_parts(&[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(pages: usize) -> HeapManifest {
        let pages = (0..pages).map(|index| Hash::of_parts(&[&index.to_le_bytes()])).collect();
        HeapManifest { image: Hash([7; 32]), globals: vec![GlobalValue::I32(-1)], pages }
    }

    #[test]
    fn every_part_is_in_the_root() {
        let whole = manifest(5);
        let mut roots = vec![whole.root(), manifest(4).root(), manifest(6).root(), manifest(0).root()];
        for page in 0..5 {
            let mut other = whole.clone();
            other.pages[page].0[31] ^= 1;
            roots.push(other.root());
        }
        roots.push(HeapManifest { image: Hash([8; 32]), ..whole.clone() }.root());
        roots.push(HeapManifest { globals: vec![], ..whole.clone() }.root());
        roots.push(HeapManifest { globals: vec![GlobalValue::I64(-1)], ..whole.clone() }.root());
        let mut swapped = whole.clone();
        swapped.pages.swap(0, 1);
        roots.push(swapped.root());
        let count = roots.len();
        roots.sort();
        roots.dedup();
        assert_eq!(roots.len(), count);
    }

    #[test]
    fn a_level_of_the_tree_does_not_pass_for_its_leaves() {
        let whole = manifest(2);
        let inner = HeapManifest { pages: vec![merkle_root(&whole.pages)], ..whole.clone() };
        assert_ne!(whole.root(), inner.root());
        assert_ne!(merkle_root(&whole.pages), merkle_root(&inner.pages));
    }
}
