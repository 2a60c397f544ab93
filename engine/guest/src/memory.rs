//! The allocator of the image: the standard one, which also tells the collector how much memory is in use.
//!
//! By itself the collector sees only objects. What they hold (texts, buffers, tables) is counted here, or garbage that holds much would
//! fill the memory before any is collected.

use boa_engine::gc::allocated_bytes;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::Ordering;

struct Counting;

#[cfg_attr(target_arch = "wasm32", global_allocator)]
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "native builds keep the allocator of their program"))]
static ALLOCATOR: Counting = Counting;

fn add(size: usize) {
    let counter = allocated_bytes();
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(size), Ordering::Relaxed);
}

fn subtract(size: usize) {
    let counter = allocated_bytes();
    counter.store(counter.load(Ordering::Relaxed).wrapping_sub(size), Ordering::Relaxed);
}

// SAFETY: all requests go to the system's allocator as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        subtract(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        subtract(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
