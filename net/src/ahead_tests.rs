#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn header(kind: u8, flags: u8, stream: u32, length: u32) -> Header {
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    let [l0, l1, l2, l3] = length.to_be_bytes();
    Header::decode(&[0, kind, 0, flags, s0, s1, s2, s3, l0, l1, l2, l3])
}

fn data(stream: u32, length: u32) -> Header {
    header(0, 0, stream, length)
}

#[test]
fn headers_say_what_comes() {
    let opening = Header { stream: 0x01020304, opens: true, resets: false, body: 70_000 };
    assert_eq!(header(0, 1, 0x01020304, 70_000), opening);
    assert_eq!(header(1, 1, 7, 70_000), Header { stream: 7, opens: true, resets: false, body: 0 });
    assert_eq!(header(0, 8, 7, 5), Header { stream: 7, opens: false, resets: true, body: 5 });
    assert_eq!(header(2, 1, 0, 5), Header { stream: 0, opens: false, resets: false, body: 0 });
}

#[test]
fn a_stream_holds_what_is_not_read_and_what_frames_cost() {
    let mut books = Books::default();
    books.come(&header(0, 1, 1, 100));
    assert_eq!(books.held, STREAM_COST + 100 + FRAME_COST);
    books.come(&data(1, 50));
    books.come(&data(1, 0));
    books.read(1, 120);
    assert_eq!(books.held, STREAM_COST + 30 + 2 * FRAME_COST);
    books.read(1, 30);
    assert_eq!(books.held, STREAM_COST);
    // Of a stream that is not there nothing is kept, nor of a frame that ends one.
    books.come(&data(3, 100));
    books.come(&header(0, 8, 1, 100));
    assert_eq!(books.held, STREAM_COST);
    // One that is opened twice is still one.
    books.come(&header(1, 1, 1, 0));
    books.come(&data(1, 10));
    books.gone(1);
    assert_eq!(books.held, 0);
    books.read(1, 10);
    books.gone(1);
    assert_eq!(books.held, 0);
}

#[test]
fn a_dropped_stream_counts_until_yamux_could_let_go_of_it() {
    let gauge = Arc::new(Counter::default());
    let ahead = Ahead::new(1000, Arc::new(|| 1000), Arc::clone(&gauge));
    ahead.open(2);
    ahead.change(|books| books.come(&data(2, 1000)));
    ahead.books().dropped.push(2);
    ahead.books().stuck = true;
    ahead.let_go(ahead.dropped());
    let context = Context::from_waker(Waker::noop());
    assert!(ahead.is_full(&context));
    assert_eq!(gauge.get(), (STREAM_COST + 1000 + FRAME_COST) as u64);
    ahead.books().stuck = false;
    ahead.let_go(ahead.dropped());
    assert!(!ahead.is_full(&context));
    assert_eq!(gauge.get(), 0);
}

#[test]
fn what_a_peer_may_hold_changes_with_who_it_is() {
    let known = Arc::new(std::sync::atomic::AtomicUsize::new(10_000));
    let asked = Arc::clone(&known);
    let allowance = Arc::new(move || asked.load(std::sync::atomic::Ordering::Relaxed));
    let ahead = Ahead::new(5_000, allowance, Arc::default());
    let context = Context::from_waker(Waker::noop());
    ahead.open(1);
    ahead.change(|books| books.come(&data(1, 6_000)));
    assert!(!ahead.is_full(&context));
    known.store(5_000, std::sync::atomic::Ordering::Relaxed);
    assert!(ahead.is_full(&context));
}
