//! The threads that execute blocks: as many as the machine has cores, for all replicas of the process together.
//!
//! Tasks that have something to do wait in one queue, and each thread takes the one that has waited longest. A task goes to the end of the queue after each block
//! (see [`turn_over`]), so a vat with a long queue of its own holds up no other vat by it.
//!
//! A block may take seconds, and a replica may wait for an engine image for as long as its members do not give it. If no task has left the queue for
//! [`STUCK_AFTER`], one more thread is started, which ends when there is nothing left for it to do. So tasks that hold all threads delay others, and stop none.
//!
//! Invariants: a task runs on one thread at a time. A task that panics is dropped, and takes no thread with it.

use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// In production, how long tasks wait until there is one more thread.
pub(crate) const STUCK_AFTER: Duration = Duration::from_millis(50);
/// Threads at most. Beyond them tasks wait however long it takes.
const MAX_THREADS: usize = 512;
/// Stack of a thread. The engine runs wasm frames on it up to its own inline limit, which lies below this on every
/// host and in every build; Rust's default of 2 MiB is far too small.
const STACK_BYTES: usize = 32 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A task was told to wake it.
    Waits,
    Queued,
    Runs,
    /// It was woken while it ran.
    RunsAgain,
}

struct Task {
    pool: Arc<Shared>,
    stage: Mutex<Stage>,
    /// `None` when it has ended.
    future: Mutex<Option<BoxFuture<'static, ()>>>,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Arc<Task>>,
    threads: usize,
    /// Threads that wait for a task.
    idle: usize,
    /// How often a task was taken.
    taken: u64,
    /// There is a thread that looks after a queue that is stuck.
    is_watched: bool,
}

struct Shared {
    /// Threads that stay.
    width: usize,
    /// How long tasks wait, while no thread takes one, until there is one more thread.
    stuck_after: Duration,
    begin: Option<fn()>,
    queue: Mutex<Queue>,
    /// For threads that wait for tasks.
    filled: Condvar,
    /// For the watching thread.
    watch: Condvar,
}

/// See the head of the module. A clone is the same pool.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Shared>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool that keeps so many threads. They start as they are needed.
    /// `stuck_after`: how long tasks wait, while no thread takes one, until there is one more. `begin`: what each thread does first.
    pub(crate) fn new(width: usize, stuck_after: Duration, begin: Option<fn()>) -> Pool {
        let (queue, filled, watch) = Default::default();
        Pool(Arc::new(Shared { width: width.max(1), stuck_after, begin, queue, filled, watch }))
    }

    /// Runs a task to its end.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn spawn(&self, future: BoxFuture<'static, ()>) -> io::Result<()> {
        let task = Task { pool: self.0.clone(), stage: Mutex::new(Stage::Waits), future: Mutex::new(Some(future)) };
        {
            let mut queue = lock(&self.0.queue);
            if queue.threads == 0 {
                self.0.start_thread(&mut queue)?;
            }
            if !queue.is_watched {
                let shared = self.0.clone();
                std::thread::Builder::new().name("vat-watch".into()).spawn(move || shared.watch())?;
                queue.is_watched = true;
            }
        }
        Arc::new(task).wake();
        Ok(())
    }
}

impl Shared {
    fn start_thread(self: &Arc<Self>, queue: &mut Queue) -> io::Result<()> {
        let shared = self.clone();
        let thread = std::thread::Builder::new().name("vat-executor".into()).stack_size(STACK_BYTES);
        thread.spawn(move || {
            if let Some(begin) = shared.begin {
                begin();
            }
            shared.work();
        })?;
        queue.threads += 1;
        Ok(())
    }

    fn put(self: &Arc<Self>, task: Arc<Task>) {
        let mut queue = lock(&self.queue);
        queue.tasks.push_back(task);
        if queue.tasks.len() > queue.idle && queue.threads < self.width {
            // Without it the threads that are there do the work.
            let _ = self.start_thread(&mut queue);
        }
        self.filled.notify_one();
        if queue.tasks.len() == 1 {
            self.watch.notify_one();
        }
    }

    /// What a thread does. It ends if there are more than are kept and nothing is to be done.
    fn work(self: Arc<Self>) {
        loop {
            let task = {
                let mut queue = lock(&self.queue);
                loop {
                    if let Some(task) = queue.tasks.pop_front() {
                        queue.taken += 1;
                        break task;
                    }
                    if queue.threads > self.width {
                        queue.threads -= 1;
                        return;
                    }
                    queue.idle += 1;
                    queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    queue.idle -= 1;
                }
            };
            task.run();
        }
    }

    /// Starts one more thread whenever the queue is stuck.
    fn watch(self: Arc<Self>) {
        let mut queue = lock(&self.queue);
        loop {
            while queue.tasks.is_empty() {
                queue = self.watch.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let taken = queue.taken;
            drop(queue);
            std::thread::sleep(self.stuck_after);
            queue = lock(&self.queue);
            if queue.taken == taken && !queue.tasks.is_empty() && queue.threads < MAX_THREADS {
                // Without it tasks wait longer.
                let _ = self.start_thread(&mut queue);
            }
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        {
            let mut stage = lock(&self.stage);
            match *stage {
                Stage::Waits => *stage = Stage::Queued,
                Stage::Runs => {
                    *stage = Stage::RunsAgain;
                    return;
                }
                Stage::Queued | Stage::RunsAgain => return,
            }
        }
        let pool = self.pool.clone();
        pool.put(self);
    }
}

impl Task {
    fn run(self: Arc<Self>) {
        *lock(&self.stage) = Stage::Runs;
        let waker = Waker::from(self.clone());
        let mut future = lock(&self.future);
        let Some(running) = future.as_mut() else { return };
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(&mut Context::from_waker(&waker))));
        if !matches!(polled, Ok(Poll::Pending)) {
            // What it holds may panic, too.
            let ended = future.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(ended)));
            return;
        }
        drop(future);
        let again = {
            let mut stage = lock(&self.stage);
            let again = *stage == Stage::RunsAgain;
            *stage = if again { Stage::Queued } else { Stage::Waits };
            again
        };
        if again {
            let pool = self.pool.clone();
            pool.put(self);
        }
    }
}

/// Lets other tasks have their turn.
pub(crate) fn turn_over() -> impl Future<Output = ()> {
    struct TurnOver(bool);
    impl Future for TurnOver {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }
    TurnOver(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn tasks_take_turns_and_share_the_threads() {
        let (pool, (said, heard)) = (Pool::new(1, PATIENCE, None), mpsc::channel());
        let (gate, opened) = tokio::sync::watch::channel(false);
        for name in 0..3 {
            let (said, mut opened) = (said.clone(), opened.clone());
            let task = async move {
                opened.wait_for(|open| *open).await.expect("it opens");
                for step in 0..3 {
                    said.send((step, name, thread::current().id())).expect("somebody listens");
                    turn_over().await;
                }
            };
            pool.spawn(Box::pin(task)).expect("a thread");
        }
        drop(said);
        gate.send(true).expect("somebody waits");
        let steps: Vec<(u32, u32, ThreadId)> = heard.iter().collect();
        let order: Vec<u32> = steps.iter().map(|(step, _, _)| *step).collect();
        assert_eq!(order, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
        assert!(steps.windows(2).all(|pair| pair[0].2 == pair[1].2), "one thread");
    }

    #[test]
    fn a_task_that_holds_its_thread_stops_no_other() {
        let (pool, (said, heard)) = (Pool::new(1, Duration::from_millis(1), None), mpsc::channel());
        let (release, held) = mpsc::channel::<()>();
        let holds = async move {
            let _ = held.recv();
        };
        pool.spawn(Box::pin(holds)).expect("a thread");
        pool.spawn(Box::pin(async move { said.send(()).expect("somebody listens") })).expect("a thread");
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(()));
        drop(release);
    }

    #[test]
    fn a_task_that_panics_takes_no_thread_with_it() {
        let (pool, (said, heard)) = (Pool::new(1, PATIENCE, None), mpsc::channel());
        pool.spawn(Box::pin(async { panic!("of the test") })).expect("a thread");
        pool.spawn(Box::pin(async move { said.send(()).expect("somebody listens") })).expect("a thread");
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(()));
    }
}
