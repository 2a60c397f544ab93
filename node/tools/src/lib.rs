//! Vats in one process, in memory, without hosts, network or disk: what `vat test` and `vat repl` run programs in.
//!
//! The machines are those of the engine, with the image and the tables that replicas run, and messages between them take the form that they have
//! between hosts. What is missing is what proves to others that a vat said something: nobody here lies.
//!
//! Invariants: a run is a function of the code, the seed and what the driver is told. Time is the log's: it stands still as long as anything can
//! happen without it. Nothing here reads a clock. A program that never ends is stopped by a bound on its deliveries and on its fuel.
//!
//! | module | uses | holds |
//! |---|---|---|
//! | [`world`] | | vats, and what is under way between them |
//! | [`driver`] | `source`, `world` | the one vat that drives the others: what it asks, and calls of its root |
//! | [`source`] | | bundles, and the lines of the author's files |
//! | [`suite`] | `driver`, `source`, `world` | a file of tests, and what became of each |
//! | [`line`] | | what a line of a session is |
//! | [`session`] | `driver`, `line`, `source`, `suite`, `world` | lines that are evaluated in a vat |

pub mod driver;
pub mod line;
pub mod session;
pub mod source;
pub mod suite;
pub mod world;

use quorate_engine::abi::Value;

/// Why a run could not go on, apart from what the program under test does.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The engine failed: a fault of this machine.
    #[error(transparent)]
    Engine(#[from] quorate_engine::EngineError),
    /// The code of the driver does not start.
    #[error("{0}")]
    Start(String),
    /// The program under test waits for what will never come.
    #[error("it waits for a promise that nothing will settle: no message is under way, and no timer is set")]
    Waits,
    /// What the program under test was stopped by.
    #[error("{0}")]
    Stopped(String),
}

/// The reason of a rejection, for people.
pub fn in_words(reason: &Value) -> String {
    match reason {
        Value::Error { name, message } if name.is_empty() || name == "Error" => message.clone(),
        Value::Error { name, message } => format!("{name}: {message}"),
        other => other.to_json().to_string(),
    }
}
