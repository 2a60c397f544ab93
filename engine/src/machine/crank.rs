//! What came of one delivery.

use crate::abi::Output;

pub struct Crank {
    pub outcome: CrankOutcome,
    pub fuel: u64,
    pub logs: Vec<LogLine>,
}

pub enum CrankOutcome {
    Done { outputs: Vec<Output> },
    StartFailed { message: String },
    RolledBack { limit: LimitKind },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    Fuel,
    Memory,
    Stack,
    Recursion,
    Abort,
}

impl LimitKind {
    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::Fuel => "fuel",
            LimitKind::Memory => "memory",
            LimitKind::Stack => "stack",
            LimitKind::Recursion => "recursion",
            LimitKind::Abort => "abort",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: LogLevel,
    pub text: String,
}
