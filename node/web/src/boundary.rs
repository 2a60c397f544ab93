//! [`Page`] for WebAssembly: numbers and bytes in linear memory.
//!
//! ```text
//! quorate_alloc(length) -> place          room for what is handed in; `quorate_start` and `quorate_take` free it
//! quorate_start(place, hosts)             32 random bytes; once
//! quorate_take(kind, place, length, now)  0: text  1: frame  2: opened  3: closed  4: tick; `now` in milliseconds
//! quorate_next() -> place << 32 | length  the next thing to do: a byte that says what, and what goes with it; 0 if there is none
//!                                         0: text  1: frame  2: leave  3: end  4: leave a liar
//! ```
//!
//! Invariant: what `quorate_next` gave is there until the next call of anything here.

use crate::page::{Input, Output, Page};
use std::cell::RefCell;
use std::collections::VecDeque;

#[derive(Default)]
struct State {
    page: Option<Page>,
    out: VecDeque<Output>,
    /// What was given last.
    given: Vec<u8>,
}

thread_local! {
    /// A module has one session; a page that wants another makes another instance.
    static STATE: RefCell<State> = RefCell::default();
}

/// Room for so many bytes.
#[unsafe(no_mangle)]
pub extern "C" fn quorate_alloc(length: usize) -> *mut u8 {
    Box::leak(vec![0_u8; length].into_boxed_slice()).as_mut_ptr()
}

/// Takes back what `quorate_alloc` gave.
///
/// # Safety
/// `place` and `length` are those of one such call, and nothing uses the room any more.
unsafe fn taken_back(place: *mut u8, length: usize) -> Vec<u8> {
    // SAFETY: the caller says that it is ours, of this length, and used no more.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(place, length)) }.into_vec()
}

/// Begins the session.
///
/// # Safety
/// `place` is from `quorate_alloc(32)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quorate_start(place: *mut u8, hosts: usize) {
    // SAFETY: as this function's own.
    let entropy = unsafe { taken_back(place, 32) };
    let entropy = entropy.try_into().expect("32 bytes were taken back");
    STATE.with_borrow_mut(|state| *state = State { page: Some(Page::new(entropy, hosts)), ..State::default() });
}

/// Takes in what comes.
///
/// # Safety
/// `place` is from `quorate_alloc(length)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quorate_take(kind: u32, place: *mut u8, length: usize, now_ms: f64) {
    // SAFETY: as this function's own.
    let bytes = unsafe { taken_back(place, length) };
    let text;
    let input = match kind {
        0 => {
            text = String::from_utf8_lossy(&bytes).into_owned();
            Input::Text(&text)
        }
        1 => Input::Frame(&bytes),
        2 => Input::Opened,
        3 => Input::Closed,
        _ => Input::Tick,
    };
    STATE.with_borrow_mut(|state| {
        if let Some(page) = &mut state.page {
            let out = page.take(now_ms as u64, input);
            state.out.extend(out);
        }
    });
}

/// The next thing to do.
#[unsafe(no_mangle)]
pub extern "C" fn quorate_next() -> u64 {
    STATE.with_borrow_mut(|state| {
        let (kind, content) = match state.out.pop_front() {
            None => return 0,
            Some(Output::Text(text)) => (0, text.into_bytes()),
            Some(Output::Frame(frame)) => (1, frame),
            Some(Output::Leave { why, has_lied: false }) => (2, why.into_bytes()),
            Some(Output::End(why)) => (3, why.into_bytes()),
            Some(Output::Leave { why, has_lied: true }) => (4, why.into_bytes()),
        };
        state.given.clear();
        state.given.push(kind);
        state.given.extend(content);
        (state.given.as_ptr() as usize as u64) << 32 | state.given.len() as u64
    })
}
