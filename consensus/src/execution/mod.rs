//! Executes the log: the machine, the executor, and the place where the executor runs.

pub(crate) mod executor;
pub(crate) mod machine;
pub(crate) mod place;
pub(crate) mod pool;
