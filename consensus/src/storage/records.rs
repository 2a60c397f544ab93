//! The records of a store, in memory: for stores without a database. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::store::{Family, Write};

/// Values by family and key, in the order of a store.
pub type Records = BTreeMap<(Family, Vec<u8>), Vec<u8>>;

/// Applies a batch of writes in order.
pub fn apply(records: &mut Records, batch: &[Write]) {
    for write in batch {
        match write {
            Write::Put(family, key, value) => {
                records.insert((*family, key.clone()), value.clone());
            }
            Write::Delete(family, key) => {
                records.remove(&(*family, key.clone()));
            }
            Write::DeleteRange(family, from, to) => {
                let doomed: Vec<_> = range(records, *family, from, to).map(|(key, _)| key.clone()).collect();
                for key in doomed {
                    records.remove(&key);
                }
            }
        }
    }
}

/// The records of a family from `from` up to `to`, which is left out. None if `to` is before `from`.
pub fn range<'a>(
    records: &'a Records,
    family: Family,
    from: &[u8],
    to: &[u8],
) -> impl DoubleEndedIterator<Item = (&'a (Family, Vec<u8>), &'a Vec<u8>)> {
    let from = from.to_vec();
    let to = to.to_vec().max(from.clone());
    records.range((Bound::Included((family, from)), Bound::Excluded((family, to))))
}
