//! The machine and the work of the disk in the one thread of a world, a random while after they are asked for.

use futures::future::BoxFuture;
use quorate_consensus::{Execution, Work};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::dice::Dice;

/// See the head of the module.
pub struct Inline {
    dice: Mutex<Dice>,
    /// Longest pause before work of the disk, in milliseconds.
    pause_ms: u64,
}

impl Inline {
    /// Work begins up to `pause_ms` after it is asked for.
    pub fn new(dice: Dice, pause_ms: u64) -> Arc<Inline> {
        Arc::new(Inline { dice: Mutex::new(dice), pause_ms })
    }
}

impl Execution for Inline {
    fn execute(&self, task: BoxFuture<'static, ()>) -> io::Result<()> {
        tokio::spawn(task);
        Ok(())
    }

    fn block(&self, work: Work) -> BoxFuture<'static, ()> {
        let pause = self.dice.lock().unwrap_or_else(PoisonError::into_inner).between(0, self.pause_ms);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            work();
        })
    }
}
