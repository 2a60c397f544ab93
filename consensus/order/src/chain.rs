//! The chain over the log (A.3 CHAIN), and the log as far as the order needs it: terms, hashes of contents, and the chain.
//!
//! Invariants: `c(i)` stands for entry `i` and all before it; terms never go back along a log; a log begins at a root that is
//! certified (or follows from the genesis), and is never cut at it or below.

use quorate_ids::{Canonical, Hash};
use serde::{Deserialize, Serialize};

/// An entry of the log, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// The term whose leader made it.
    pub term: u64,
    /// Hash of what it holds.
    pub content: Hash,
}

/// A place in a log that says what is at it and before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// The term of the entry.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// The chain up to it.
    pub chain: Hash,
}

/// The chain after an entry at `index` that follows `previous`.
pub fn next_chain(previous: &Hash, index: u64, head: &Head) -> Hash {
    let mut writer = Canonical::new("quorate/log/1");
    writer.fixed(&previous.0).number(head.term).number(index).fixed(&head.content.0);
    writer.hash()
}

impl Point {
    /// The point of an entry that follows this one.
    pub fn next(&self, head: &Head) -> Point {
        let index = self.index.saturating_add(1);
        Point { term: head.term, index, chain: next_chain(&self.chain, index, head) }
    }

    /// The point after several entries.
    pub fn after(&self, heads: &[Head]) -> Point {
        heads.iter().fold(*self, |point, head| point.next(head))
    }
}

/// A log from its root on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    root: Point,
    links: Vec<(Head, Hash)>,
}

impl Log {
    /// A log that holds nothing beyond its root.
    pub fn new(root: Point) -> Self {
        Self { root, links: Vec::new() }
    }

    /// Returns where it begins.
    pub fn root(&self) -> Point {
        self.root
    }

    /// Its last point.
    pub fn last(&self) -> Point {
        self.point(self.root.index + self.links.len() as u64).unwrap_or(self.root)
    }

    fn offset(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.root.index)?).ok()
    }

    /// The point at an index from the root on.
    pub fn point(&self, index: u64) -> Option<Point> {
        match self.offset(index)? {
            0 => Some(self.root),
            offset => {
                let (head, chain) = self.links.get(offset - 1)?;
                Some(Point { term: head.term, index, chain: *chain })
            }
        }
    }

    /// Returns whether its chain at an index is this one.
    pub fn holds(&self, index: u64, chain: &Hash) -> bool {
        self.point(index).is_some_and(|point| point.chain == *chain)
    }

    /// The entries from an index on, at most `most`.
    pub fn heads(&self, from: u64, most: usize) -> Vec<Head> {
        let Some(offset) = self.offset(from) else { return Vec::new() };
        self.links.iter().skip(offset.saturating_sub(1)).take(most).map(|(head, _)| *head).collect()
    }

    /// Adds an entry and returns its point.
    pub fn push(&mut self, head: Head) -> Point {
        let point = self.last().next(&head);
        self.links.push((head, point.chain));
        point
    }

    /// Replaces what is from an index on. The root stays.
    pub fn replace(&mut self, from: u64, heads: &[Head]) {
        let keep = self.offset(from).unwrap_or(0).saturating_sub(1);
        self.links.truncate(keep);
        for head in heads {
            self.push(*head);
        }
    }

    /// Forgets what is before a point. What follows stays if the log holds the point, and goes if it does not.
    pub fn purge(&mut self, root: Point) {
        if self.holds(root.index, &root.chain)
            && let Some(offset) = self.offset(root.index)
        {
            self.links.drain(..offset);
        } else {
            self.links.clear();
        }
        self.root = root;
    }

    /// The first of these entries, which follow `prev`, that the log does not hold: how many before it are the same. The log holds
    /// `prev`.
    pub fn common(&self, prev: &Point, heads: &[Head]) -> usize {
        let mut point = *prev;
        for (count, head) in heads.iter().enumerate() {
            point = point.next(head);
            if !self.holds(point.index, &point.chain) {
                return count;
            }
        }
        heads.len()
    }
}
