//! The checks that every store must pass, whatever it keeps its records in.
#![allow(clippy::unwrap_used)]

use std::sync::mpsc;

use crate::storage::{Family, Flushed, Store, Write};

pub(crate) fn put(family: Family, key: &str, value: &str) -> Write {
    Write::Put(family, key.into(), value.into())
}

pub(crate) fn keys(store: &dyn Store, family: Family, from: &str, to: &str) -> Vec<String> {
    let keys = store.keys(family, from.as_bytes(), to.as_bytes(), usize::MAX).unwrap();
    keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect()
}

/// Checks all of it on stores that `open` makes, each empty.
///
/// # Panics
/// If a store does something else.
pub fn store_conforms(open: impl Fn() -> std::sync::Arc<dyn Store>) {
    let checks: [fn(&dyn Store); 4] = [
        ranges_are_ordered_bounded_and_per_family,
        writes_of_a_batch_take_effect_in_order,
        callbacks_come_in_order,
        the_host_notes_things,
    ];
    for check in checks {
        check(&*open());
    }
}

fn ranges_are_ordered_bounded_and_per_family(store: &dyn Store) {
    let batch = ["b", "a", "d", "c"].map(|key| put(Family::Log, key, key)).to_vec();
    store.write(batch).unwrap();
    store.write(vec![put(Family::Chunk, "b", "other")]).unwrap();
    assert_eq!(keys(store, Family::Log, "a", "z"), ["a", "b", "c", "d"]);
    assert_eq!(keys(store, Family::Log, "b", "d"), ["b", "c"]);
    assert_eq!(keys(store, Family::Log, "d", "b"), Vec::<String>::new());
    assert_eq!(keys(store, Family::State, "a", "z"), Vec::<String>::new());
    assert_eq!(store.scan(Family::Log, b"a", b"z", 2).unwrap().len(), 2);
    let within = |bytes| store.scan_bytes(Family::Log, b"a", b"d", bytes).unwrap().len();
    assert_eq!([within(0), within(1), within(2), within(9)], [1, 1, 2, 3], "values are of one byte");
    assert_eq!(store.get(Family::Chunk, b"b").unwrap().unwrap(), b"other");
    assert_eq!(store.last(Family::Log, b"a", b"d").unwrap().unwrap().0, b"c");
    assert_eq!(store.last(Family::Log, b"a", b"dd").unwrap().unwrap().0, b"d");
    assert_eq!(store.last(Family::Log, b"e", b"z").unwrap(), None);
    assert_eq!(store.last(Family::Log, b"z", b"a").unwrap(), None);
}

fn writes_of_a_batch_take_effect_in_order(store: &dyn Store) {
    store.write(vec![put(Family::Log, "a", "1"), put(Family::Log, "b", "1")]).unwrap();
    let range = Write::DeleteRange(Family::Log, b"a".to_vec(), b"c".to_vec());
    store.write(vec![range, put(Family::Log, "b", "2")]).unwrap();
    assert_eq!(keys(store, Family::Log, "a", "z"), ["b"]);
    assert_eq!(store.get(Family::Log, b"b").unwrap().unwrap(), b"2");
    let nothing = Write::DeleteRange(Family::Log, b"c".to_vec(), b"a".to_vec());
    store.write(vec![nothing, Write::Delete(Family::Log, b"absent".to_vec())]).unwrap();
    assert_eq!(keys(store, Family::Log, "a", "z"), ["b"]);
}

fn callbacks_come_in_order(store: &dyn Store) {
    let (sender, receiver) = mpsc::channel();
    for number in 0..200u32 {
        let sender = sender.clone();
        let flushed: Flushed = Box::new(move |result| sender.send((number, result.is_ok())).unwrap());
        store.write_then(vec![put(Family::Log, &number.to_string(), "x")], flushed).unwrap();
    }
    store.sync().unwrap();
    let order: Vec<_> = receiver.try_iter().collect();
    assert_eq!(order, (0..200).map(|number| (number, true)).collect::<Vec<_>>());
}

fn the_host_notes_things(store: &dyn Store) {
    store.put_meta("vat/1", b"one").unwrap();
    store.put_meta("vat/2", b"two").unwrap();
    store.put_meta("wat", b"three").unwrap();
    assert_eq!(store.get_meta("vat/1").unwrap().unwrap(), b"one");
    let listed = store.list_meta("vat/").unwrap();
    assert_eq!(listed, [("vat/1".to_owned(), b"one".to_vec()), ("vat/2".to_owned(), b"two".to_vec())]);
    store.delete_meta("vat/1").unwrap();
    assert_eq!(store.list_meta("").unwrap().len(), 2, "the store's own records are not notes");
}
