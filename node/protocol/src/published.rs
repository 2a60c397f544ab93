//! Published data, and proofs that a value is, or is not, published under a name.
//!
//! A vat's publications are a map from names to data. The members sign its root with every statement, so a certified statement and a
//! path of a few hashes prove a value without a message to the vat. The tree is that of RFC 6962 over the names in the order of their bytes,
//! and the root commits to their number. So two adjacent leaves prove that there is no name between them.
//!
//! Invariants: equal publications have equal roots. A reading counts by its statement's root and signatures alone. Its size bounds the work
//! of its reader. Absent: deciding whether a reading is new enough.

use ct_merkle::{InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use quorate_ids::Canonical;
use quorate_ids::{Hash, VatId};
use quorate_proof::{Certificate, Signers};
use quorate_streams::{
    abi::{MAX_PUBLISHED, Value},
    publication::{Publications, is_name, is_publishable},
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::sync::Arc;

/// All that a vat publishes, and the tree over it.
#[derive(Clone, Debug, Default)]
pub struct PublishedTree {
    publications: Publications,
    names: Vec<Arc<str>>,
    tree: MemoryBackedTree<Sha256, Vec<u8>>,
    /// Of the tree, without the number of names.
    tree_root: Hash,
    root: Hash,
}

/// What was found under a name, with its way into a certified statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Of the block after which that was published.
    pub certificate: Certificate,
    /// What was asked for.
    pub name: String,
    /// How many names there are.
    pub names: u64,
    /// Root of the tree over them.
    pub tree: Hash,
    pub found: Found,
}

/// What is under a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Found {
    /// An encoded value.
    Value {
        #[serde(with = "quorate_streams::wire::codec::bytes")]
        value: Vec<u8>,
        place: Place,
    },
    /// Nothing: here are the names next to it, where there are any.
    Nothing { before: Option<Neighbour>, after: Option<Neighbour> },
}

/// A leaf's place in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub index: u64,
    /// The sibling hashes, from the leaf upwards.
    #[serde(with = "quorate_streams::wire::codec::bytes")]
    pub siblings: Vec<u8>,
}

/// A name next to one under which there is nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    pub name: String,
    pub value_hash: Hash,
    pub place: Place,
}

/// Why a reading isn't believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    #[error("it is of vat {found}, not of {wanted}")]
    OtherVat { found: VatId, wanted: VatId },
    #[error("it answers for the name {found:?}, not for {wanted:?}")]
    OtherName { found: String, wanted: String },
    #[error("its certificate is not good: {0}")]
    Certificate(String),
    #[error("what it shows is not the whole of what was certified: the root is another one")]
    Root,
    #[error("the value is not in the certified tree under this name")]
    Path,
    #[error("it does not prove that nothing is published under this name")]
    Absence,
    #[error("what is in the tree is no value that a vat can publish")]
    Value,
}

/// The leaf of a name.
fn leaf(name: &str, value_hash: &Hash) -> Vec<u8> {
    let mut writer = Canonical::new("quorate/publication/1");
    writer.bytes(name.as_bytes()).fixed(&value_hash.0);
    writer.finish()
}

/// Returns what a statement carries for a tree of so many names.
fn published_root(names: u64, tree: &Hash) -> Hash {
    if names == 0 {
        return Hash::ZERO;
    }
    let mut writer = Canonical::new("quorate/published/1");
    writer.number(names).fixed(&tree.0);
    Hash::of(&writer.finish())
}

impl PublishedTree {
    /// The tree over these publications.
    pub fn new(publications: Publications) -> PublishedTree {
        let mut tree = MemoryBackedTree::new();
        for (name, value) in publications.iter() {
            tree.push(leaf(name, &Hash::of(value)));
        }
        let names: Vec<Arc<str>> = publications.keys().cloned().collect();
        let tree_root = if names.is_empty() { Hash::ZERO } else { Hash((*tree.root().as_bytes()).into()) };
        let root = published_root(names.len() as u64, &tree_root);
        PublishedTree { publications, names, tree, tree_root, root }
    }

    /// Returns what the block's statement carries: zero if nothing is published.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Returns how many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns whether nothing is published.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns what is under a name, by a certificate whose statement carries this tree's root.
    pub fn read(&self, name: &str, certificate: Certificate) -> Reading {
        let found = match self.names.binary_search_by(|other| (**other).cmp(name)) {
            Ok(index) => {
                let value = self.publications.get(name).map(|value| value.to_vec()).unwrap_or_default();
                Found::Value { value, place: self.place(index) }
            }
            Err(index) => Found::Nothing {
                before: index.checked_sub(1).map(|index| self.neighbour(index)),
                after: (index < self.names.len()).then(|| self.neighbour(index)),
            },
        };
        Reading { certificate, name: name.to_owned(), names: self.names.len() as u64, tree: self.tree_root, found }
    }

    fn place(&self, index: usize) -> Place {
        Place { index: index as u64, siblings: self.tree.prove_inclusion(index).as_bytes().to_vec() }
    }

    fn neighbour(&self, index: usize) -> Neighbour {
        let name = &self.names[index];
        let value_hash = self.publications.get(name).map_or(Hash::ZERO, |value| Hash::of(value));
        Neighbour { name: name.to_string(), value_hash, place: self.place(index) }
    }
}

impl Reading {
    /// The block after which that was published.
    pub fn block(&self) -> u64 {
        self.certificate.statement.block
    }

    /// Checks that this answers for the name, by a certificate of the vat's members, and returns what is published there.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(&self, vat: &VatId, name: &str, signers: &Signers) -> Result<Option<Value>, ReadingError> {
        let found = self.certificate.statement.vat;
        if found != *vat {
            return Err(ReadingError::OtherVat { found, wanted: *vat });
        }
        if self.name != name {
            return Err(ReadingError::OtherName { found: self.name.clone(), wanted: name.to_owned() });
        }
        // What is cheap comes before the signatures.
        let value = self.check()?;
        let verified = signers.verify_certificate(&self.certificate);
        verified.map_err(|error| ReadingError::Certificate(error.to_string()))?;
        Ok(value)
    }

    /// Returns what the statement says of the name, if its signatures are good: nobody has checked those.
    ///
    /// # Errors
    /// The statement does not say it.
    pub fn check(&self) -> Result<Option<Value>, ReadingError> {
        let is_whole = published_root(self.names, &self.tree) == self.certificate.statement.published_root;
        if !is_whole || self.names > MAX_PUBLISHED as u64 {
            return Err(ReadingError::Root);
        }
        match &self.found {
            Found::Value { value, place } => {
                if !is_name(&self.name) || !self.has_leaf(&self.name, &Hash::of(value), place) {
                    return Err(ReadingError::Path);
                }
                let decoded = Value::decode(value).ok().filter(|_| is_publishable(value));
                decoded.map(Some).ok_or(ReadingError::Value)
            }
            Found::Nothing { before, after } => {
                let proven = self.proves_absence(before.as_ref(), after.as_ref());
                proven.then_some(None).ok_or(ReadingError::Absence)
            }
        }
    }

    fn has_leaf(&self, name: &str, value_hash: &Hash, place: &Place) -> bool {
        if place.index >= self.names {
            return false;
        }
        let root = RootHash::<Sha256>::new(self.tree.0.into(), self.names);
        InclusionProof::<Sha256>::try_from_bytes(place.siblings.clone())
            .is_ok_and(|proof| root.verify_inclusion(&leaf(name, value_hash), place.index, &proof).is_ok())
    }

    /// Returns whether these are the names next to the one that is asked for, with nothing between them.
    fn proves_absence(&self, before: Option<&Neighbour>, after: Option<&Neighbour>) -> bool {
        let is_leaf = |neighbour: &Neighbour| self.has_leaf(&neighbour.name, &neighbour.value_hash, &neighbour.place);
        let is_in_order = before.is_none_or(|before| *before.name < *self.name && is_leaf(before))
            && after.is_none_or(|after| *self.name < *after.name && is_leaf(after));
        // The first place behind the name before, and the place of the name after: the tree's ends where there is none.
        let next = before.map_or(0, |before| before.place.index + 1);
        let place = after.map_or(self.names, |after| after.place.index);
        is_in_order && next == place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_proof::Statement;
    use std::collections::BTreeMap;

    fn tree(names: &[&str]) -> PublishedTree {
        let entry = |name: &&str| (Arc::from(*name), Arc::from(Value::String(format!("of {name}")).encode()));
        PublishedTree::new(Arc::new(names.iter().map(entry).collect::<BTreeMap<Arc<str>, Arc<[u8]>>>()))
    }

    fn certificate(root: Hash) -> Certificate {
        let statement = Statement {
            vat: VatId([1; 32]),
            epoch: 0,
            block: 7,
            previous: Hash::ZERO,
            chain: Hash::ZERO,
            outbox_root: Hash::ZERO,
            published_root: root,
            state_root: None,
        };
        Certificate { statement, signatures: vec![] }
    }

    const NAMES: [&str; 9] = ["b", "bb", "d", "e", "é", "f", "g", "h", "z"];

    #[test]
    fn what_is_published_and_what_is_not_is_proven_in_trees_of_every_size() {
        let asked = NAMES.iter().copied().chain(["", "a", "ba", "bbb", "c", "zz", "\u{10ffff}"]);
        for count in 0..=NAMES.len() {
            let tree = tree(&NAMES[..count]);
            for name in asked.clone() {
                let reading = tree.read(name, certificate(tree.root()));
                let expected = NAMES[..count].contains(&name).then(|| Value::String(format!("of {name}")));
                assert_eq!(reading.check(), Ok(expected), "{name:?} of {count}");
                let other = Reading { certificate: certificate(Hash([9; 32])), ..reading };
                assert_eq!(other.check(), Err(ReadingError::Root), "{name:?} of {count}");
            }
        }
        assert_eq!(tree(&[]).root(), Hash::ZERO);
    }

    #[test]
    fn a_reading_that_was_changed_anywhere_is_refused() {
        let tree = tree(&NAMES);
        let reading = tree.read("d", certificate(tree.root()));
        let Found::Value { value, place } = reading.found.clone() else { panic!("{reading:?}") };
        let with = |found: Found| Reading { found, ..reading.clone() };
        let value_with = |value: Vec<u8>, place: Place| with(Found::Value { value, place });
        let mut flipped = value.clone();
        flipped[3] ^= 1;
        let mut siblings = place.siblings.clone();
        siblings[0] ^= 1;
        let cases = [
            (value_with(flipped, place.clone()), ReadingError::Path),
            (value_with(value.clone(), Place { siblings, ..place.clone() }), ReadingError::Path),
            (value_with(value.clone(), Place { index: 3, ..place.clone() }), ReadingError::Path),
            (value_with(value.clone(), Place { index: 9, ..place.clone() }), ReadingError::Path),
            (value_with(value.clone(), Place { siblings: vec![1; 7], ..place.clone() }), ReadingError::Path),
            (Reading { name: "e".into(), ..reading.clone() }, ReadingError::Path),
            (Reading { names: 8, ..reading.clone() }, ReadingError::Root),
            (Reading { names: 0, ..reading.clone() }, ReadingError::Root),
            (Reading { tree: Hash([3; 32]), ..reading.clone() }, ReadingError::Root),
            (with(Found::Nothing { before: None, after: None }), ReadingError::Absence),
        ];
        for (changed, error) in cases {
            assert_eq!(changed.check(), Err(error), "{changed:?}");
        }
    }

    #[test]
    fn what_is_there_cannot_be_hidden_behind_other_names() {
        let tree = tree(&NAMES);
        let nothing = |name: &str, before: Option<usize>, after: Option<usize>| Reading {
            name: name.to_owned(),
            found: Found::Nothing {
                before: before.map(|index| tree.neighbour(index)),
                after: after.map(|index| tree.neighbour(index)),
            },
            ..tree.read("", certificate(tree.root()))
        };
        assert_eq!(nothing("c", Some(1), Some(2)).check(), Ok(None));
        for hidden in [
            // "d" has place 2.
            nothing("d", Some(1), Some(3)),
            nothing("d", Some(1), Some(2)),
            nothing("d", Some(2), Some(3)),
            nothing("d", Some(1), None),
            nothing("d", None, Some(3)),
            nothing("d", None, None),
            nothing("c", Some(3), Some(4)),
            nothing("b", None, Some(0)),
            nothing("z", Some(8), None),
        ] {
            assert_eq!(hidden.check(), Err(ReadingError::Absence), "{hidden:?}");
        }
        // A neighbour that is not in the tree.
        let mut made_up = nothing("c", Some(1), Some(2));
        if let Found::Nothing { before: Some(before), .. } = &mut made_up.found {
            before.value_hash = Hash([7; 32]);
        }
        assert_eq!(made_up.check(), Err(ReadingError::Absence));
    }

    #[test]
    fn what_no_vat_can_publish_is_no_answer_though_it_is_in_the_tree() {
        let slot = Value::Array(vec![Value::Slot(0)]).encode();
        let publications = BTreeMap::from([(Arc::from("x"), Arc::from(slot))]);
        let tree = PublishedTree::new(Arc::new(publications));
        assert_eq!(tree.read("x", certificate(tree.root())).check(), Err(ReadingError::Value));
    }
}
