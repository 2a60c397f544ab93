//! Where a replica runs its machine, and the work that waits for the disk.
//!
//! In production both run in threads of their own, since both take long. A simulation runs them in its only thread, so that
//! a run depends on its seed alone. Nothing else in this crate starts a thread.

use futures::future::BoxFuture;
use std::io;
use std::num::NonZero;
use std::sync::{LazyLock, OnceLock};
use tokio::sync::oneshot;

use crate::execution::pool::{Pool, STUCK_AFTER};

/// Work that may take long: it computes, or waits for the disk.
pub type Work = Box<dyn FnOnce() + Send>;

/// See the head of the module.
pub trait Execution: Send + Sync + 'static {
    /// Runs the task that executes blocks, until it ends by itself. It holds up whatever runs it for as long as a block takes.
    ///
    /// # Errors
    /// Why the task could not be started.
    fn execute(&self, task: BoxFuture<'static, ()>) -> io::Result<()>;

    /// Does work, and resolves when it is done. Work that panics is dropped.
    fn block(&self, work: Work) -> BoxFuture<'static, ()>;
}

static BEGIN: OnceLock<fn()> = OnceLock::new();

/// Has each thread for blocks begin with this: the program's own way to give it a lower priority than what keeps leaders in office. It counts once, before the first
/// replica starts.
pub fn threads_begin_with(begin: fn()) {
    // The first one stays.
    let _ = BEGIN.set(begin);
}

/// The threads that all replicas of the process share for blocks (see [`super::pool`]), and tokio's for the disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Execution for Threads {
    fn execute(&self, task: BoxFuture<'static, ()>) -> io::Result<()> {
        static POOL: LazyLock<Pool> = LazyLock::new(|| {
            let width = std::thread::available_parallelism().map_or(1, NonZero::get);
            Pool::new(width, STUCK_AFTER, BEGIN.get().copied())
        });
        POOL.spawn(task)
    }

    fn block(&self, work: Work) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // The caller of `blocking` notices a panic.
            let _ = tokio::task::spawn_blocking(work).await;
        })
    }
}

/// Does work there and returns its result; the error says that it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    execution: &dyn Execution,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        // The caller is gone only if the replica is stopping.
        let _ = sender.send(work());
    };
    execution.block(Box::new(work)).await;
    receiver.await.map_err(|_| "a storage task died".to_owned())
}
