//! Native stack for guest code.
//!
//! wasmtime lets a guest use [`MAX_WASM_STACK_BYTES`] below the point of entry and trusts that the thread has them. On a
//! smaller thread a deep guest would kill the process. So guest code runs only on threads with
//! [`ENGINE_STACK_BYTES`], and every delivery checks the remaining stack.

use crate::error::EngineError;

/// What a guest may use of the native stack. Far above what the image's own, deterministic limiter admits.
pub const MAX_WASM_STACK_BYTES: usize = 16 << 20;

/// Stack size for a thread that delivers to heaps: the guest's share and room for the host's own frames.
pub const ENGINE_STACK_BYTES: usize = 24 << 20;

/// What must be left when a delivery begins: the guest's share and what the host's imports need below it.
const NEEDED_BYTES: usize = MAX_WASM_STACK_BYTES + (1 << 20);

/// Runs `work` on a fresh thread with [`ENGINE_STACK_BYTES`] and returns its result; a panic goes on in the caller. For
/// tests and short tools: a node keeps one such thread for each vat.
pub fn with_engine_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .stack_size(ENGINE_STACK_BYTES)
            .spawn_scoped(scope, work)
            .expect("the system gives this process a thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Errs if this thread has too little stack left for a guest.
pub(crate) fn check() -> Result<(), EngineError> {
    thread_local! {
        /// Lowest usable address of this thread's stack, if the system tells.
        static LOWEST: Option<usize> = lowest_stack_address();
    }
    let Some(lowest) = LOWEST.with(|lowest| *lowest) else { return Ok(()) };
    let local = 0u8;
    let have = std::hint::black_box(std::ptr::from_ref(&local)).addr().saturating_sub(lowest);
    if have < NEEDED_BYTES { Err(EngineError::ThreadStack { have, need: NEEDED_BYTES }) } else { Ok(()) }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn lowest_stack_address() -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: `pthread_getattr_np` initialises the attributes when it returns 0; only then are they read, and destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let mut attributes = attributes.assume_init();
        let (mut address, mut size, mut guard) = (std::ptr::null_mut(), 0, 0);
        let stack = libc::pthread_attr_getstack(&attributes, &mut address, &mut size);
        let guarded = libc::pthread_attr_getguardsize(&attributes, &mut guard);
        libc::pthread_attr_destroy(&mut attributes);
        (stack == 0 && guarded == 0).then(|| address.addr() + guard)
    }
}

#[cfg(target_vendor = "apple")]
fn lowest_stack_address() -> Option<usize> {
    // SAFETY: both calls only read what the system keeps about the calling thread.
    unsafe {
        let thread = libc::pthread_self();
        let top = libc::pthread_get_stackaddr_np(thread).addr();
        top.checked_sub(libc::pthread_get_stacksize_np(thread))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn lowest_stack_address() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_threads_are_refused_and_large_ones_are_not() {
        with_engine_stack(|| check().expect("a thread of the right size"));
        let small = std::thread::Builder::new().stack_size(2 << 20).spawn(check).expect("thread");
        assert!(matches!(small.join().expect("no panic"), Err(EngineError::ThreadStack { .. })));
    }
}
