//! What is known of the hosts at one moment.
//!
//! How hosts are found, and what a vat's members can still do together, the command line knows already; it gives both.

use crate::admin::LineView;
use futures::future::BoxFuture;
use quorate_admin::client::Endpoint;
use quorate_protocol::status::HostStatus;
use serde::Serialize;

/// Finds the hosts.
pub trait Hosts: Send + Sync + 'static {
    /// Looks at all of them. A host that hangs must not hold up the answer for long.
    ///
    /// # Errors
    /// In words for a person: the hosts are not known, for instance since the testnet is gone.
    fn look(&self) -> BoxFuture<'_, Result<Look, String>>;

    /// The newest lines that a vat has printed or a host has logged, the oldest first.
    ///
    /// # Errors
    /// In words for a person: there is no such vat or host.
    fn logs(&self, of: String) -> BoxFuture<'_, Result<Vec<LineView>, String>>;
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub hosts: Vec<SeenHost>,
    pub standings: Vec<Standing>,
    /// Vats that should be here, whether or not a host that runs carries them: name and id.
    pub expected: Vec<(String, String)>,
}

/// A host.
#[derive(Clone, Debug)]
pub struct SeenHost {
    pub name: String,
    /// Its public key in hex, if it is known.
    pub key: Option<String>,
    /// Where its home is, for people.
    pub home: String,
    pub endpoint: Endpoint,
    pub state: HostState,
    /// Why it does not run, where that is known.
    pub problem: Option<String>,
    /// What it says of itself, if it runs.
    pub status: Option<HostStatus>,
}

/// How a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    Up,
    Down,
    /// Its process runs and does not answer.
    Hung,
    /// Its home was moved away: it may run elsewhere.
    Exported,
    /// Its home is gone or damaged.
    Unusable,
}

/// What a vat can still do with the members that can be reached.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its id.
    pub vat: String,
    pub needed: u64,
    pub reachable: u64,
    /// Whether it can order anything.
    pub can_order: bool,
    /// Whether enough can sign what it says.
    pub can_speak: bool,
    /// What a person should know; unset where every member is there.
    pub complaint: Option<String>,
    pub members: Vec<MemberStanding>,
}

/// How a member stands.
#[derive(Clone, Debug)]
pub struct MemberStanding {
    pub name: String,
    pub key: String,
    pub state: MemberState,
    /// Why, where that is known.
    pub why: Option<String>,
}

/// See [`MemberStanding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    Up,
    Down,
    Hung,
    Unusable,
    /// Its replica has stopped, or could not be started.
    Faulty,
    /// No other member is connected with it.
    Unseen,
}
