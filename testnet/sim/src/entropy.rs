//! The randomness of the operating system, from the seed.
//!
//! Maps of the standard library, the timers of Raft, tokio's own choices and the names of a replica's lives all begin with
//! random bytes of the system. The standard library and the crate `getrandom` both take them from the C function of that name, if
//! the program has one. This is it. Only the program of the simulation is linked with it.
//!
//! Some of those generators also count, in the whole process, how often they were begun. Therefore a process runs one seed.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static SEEDED: AtomicBool = AtomicBool::new(false);
static STATE: AtomicU64 = AtomicU64::new(0);

/// From now on the system's random bytes follow from a seed. Called before anything else.
pub fn seed(seed: u64) {
    STATE.store(seed, Ordering::SeqCst);
    SEEDED.store(true, Ordering::SeqCst);
}

fn next() -> u64 {
    let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
    let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Stands in for the C library's function.
///
/// # Safety
/// `buffer` has room for `length` bytes, as for the C library's function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if !SEEDED.load(Ordering::SeqCst) {
        // SAFETY: the same arguments go to the system call, which has the same contract.
        let read = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return isize::try_from(read).unwrap_or(-1);
    }
    let bytes = buffer.cast::<u8>();
    let mut word = [0; 8];
    for place in 0..length {
        if place % 8 == 0 {
            word = next().to_le_bytes();
        }
        // SAFETY: the caller gives room for `length` bytes.
        unsafe { bytes.add(place).write(word[place % 8]) };
    }
    isize::try_from(length).unwrap_or(-1)
}
