//! The job queue: promise jobs first in, first out, until none is left. Timers are the host's: see `timers`.

use crate::outputs::TOO_MANY_OUTPUTS;
use boa_engine::error::{EngineError, RuntimeLimitError};
use boa_engine::job::{GenericJob, Job, JobExecutor, NativeAsyncJob, PromiseJob};
use boa_engine::{Context, JsError, JsResult};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Runs jobs in the order in which they were queued; one that fails ends the delivery.
#[derive(Default)]
pub struct Queue {
    promise: RefCell<VecDeque<PromiseJob>>,
    generic: RefCell<VecDeque<GenericJob>>,
    native: RefCell<VecDeque<NativeAsyncJob>>,
}

impl Queue {
    /// Whether no job is left.
    pub fn is_empty(&self) -> bool {
        self.promise.borrow().is_empty() && self.generic.borrow().is_empty() && self.native.borrow().is_empty()
    }
}

impl JobExecutor for Queue {
    fn enqueue_job(self: Rc<Self>, job: Job, _: &mut Context) {
        match job {
            Job::PromiseJob(job) => self.promise.borrow_mut().push_back(job),
            Job::GenericJob(job) => self.generic.borrow_mut().push_back(job),
            Job::AsyncJob(job) => self.native.borrow_mut().push_back(job),
            // Timers and finalisation are out of reach of guests: what would queue them was removed.
            _ => {}
        }
    }

    fn run_jobs(self: Rc<Self>, context: &mut Context) -> JsResult<()> {
        loop {
            let next = self.promise.borrow_mut().pop_front();
            if let Some(job) = next {
                job.call(context)?;
                continue;
            }
            let next = self.generic.borrow_mut().pop_front();
            if let Some(job) = next {
                job.call(context)?;
                continue;
            }
            let next = self.native.borrow_mut().pop_front();
            let Some(job) = next else { break };
            run_to_end(job, context)?;
        }
        context.clear_kept_objects();
        Ok(())
    }
}

/// Polls a native future, of which the module loader's are the only ones: they never wait. One that did would be lost with its job.
fn run_to_end(job: NativeAsyncJob, context: &mut Context) -> JsResult<()> {
    let context = RefCell::new(context);
    let mut future = pin!(job.call(&context));
    let mut task = std::task::Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut task) {
        Poll::Ready(result) => result.map(drop),
        Poll::Pending => panic!("a native job waits for something outside of the delivery"),
    }
}

/// Whether all jobs have run.
pub fn none_left(context: &Context) -> bool {
    context.downcast_job_executor::<Queue>().is_some_and(|queue| queue.is_empty())
}

/// The name of the guest's own limit that `error` stands for.
pub fn limit_name(error: &JsError) -> &'static str {
    match error.as_engine() {
        Some(EngineError::RuntimeLimit(RuntimeLimitError::StackSize)) => "stack",
        Some(EngineError::RuntimeLimit(limit)) if *limit == TOO_MANY_OUTPUTS => "outputs",
        Some(EngineError::RuntimeLimit(_)) => "recursion",
        _ => "abort",
    }
}
