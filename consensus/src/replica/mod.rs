//! One replica of one vat: everything between the network, the store and the machine.
//!
//! The picture shows the tasks (`tasks/`), the channels between them, and the capacity of each channel. All but the executor are tokio tasks. While the replica is asleep (`rest`) their timers stand still.
//! `=>` is a bounded channel whose sender waits for room. `->` is one whose sender does not wait: dropped items are asked for
//! again, or refused. `~>` is a watched value.
//!
//! ```text
//!  propose()             frames of members: handle()
//!     │                    │ propose  │ append, vote   │ snapshot      │ share
//!     │ 16,384 ->          │ 16,384 ->│                │               │
//!     ▼                    ▼          ▼                ▼               │
//!  ┌──────────┐ submit  ┌─────────────────────┐ install ┌─────────────┐│
//!  │ proposer ├────────>│ openraft  (`raft/`) │<────────┤ checkpoints ││
//!  │ 6 blocks │         │ log => store, flush │         │ in the store││
//!  │ in flight│         └───┬──────────────┬──┘         └───────▲─────┘│
//!  └──────────┘             │ 64 entries,  │ ~> RaftView        │      │
//!                           │ then waits   ├─> election         │      │
//!                           ▼              └─> membership       │      │
//!                  ┌─────────────────┐                          │      │
//!                  │ executor (pool) │ Applied, Restored        │      │
//!                  │ machine, state  ├════════> node's events   │      │
//!                  └───┬─────────┬───┘          (node's bound)  │      │
//!          statement   │         │ draft                  stage,│      │
//!            4,096 =>  ▼         ▼ 4 =>                  promote│      │
//!               ┌────────┐ 4 =>  ┌──────────────┐               │      │
//!               │ signer ├──────>│ checkpointer ├───────────────┘      │
//!               │ shares │<──────┤              │                      │
//!               └─┬──▲─▲─┘ floor └──────────────┘                      │
//!     Certified … │  │ │ 4,096 -> (shares), => (questions)             │
//!  node's events <┘  │ └───────────────────────────────────────────────┘
//!                    │ ~> flushed (the log is on disk through here)
//!       each share => outbox, one task for each member: 4,096 ->
//!  complaints checks that the log has the commands given to the leader (64 -> proposer, for those that go first). It tells all members of
//!  missing commands, and of a leader that proves nothing.
//!  own_key asks each member in turn; nobody sends to it. approvals asks all members about the change and the motion that this member proposes.
//!  clock asks them for the time, when the machine waits for one (~> from the executor); the proposer does so before commands that want the time.
//! ```
//!
//! The signer waits for the log's flush, not its append. Then it writes its watermark, and signs when that is on disk.

mod applier;
pub(crate) mod approval;
mod awaited;
pub(crate) mod clock;
pub(crate) mod event;
pub(crate) mod handle;
mod identity;
mod intake;
mod leader;
mod lifecycle;
mod membership_view;
pub(crate) mod options;
mod pace;
mod recovery;
pub(crate) mod rest;
mod scrub;
mod service;
pub(crate) mod status;
mod stored;
pub(crate) mod tasks;
pub(crate) mod wants;
mod watched;
pub(crate) mod wire;

/// Where the running Raft is: nothing until it has started, and it starts once.
type RaftCell = tokio::sync::OnceCell<crate::raft::RaftNode>;

pub use approval::{Approve, Motions, NoMotions, WaitingChange, WaitingMatter};
pub use clock::{Clock, SystemClock};
pub use event::Event;
pub use handle::{
    CheckpointSummary, MemberFigures, Proposed, Receiving, Replica, ReplicaFigures, ReplicaHandle, evidence_of,
    has_promised, remove_vat,
};
pub use options::{MAX_UNCERTIFIED, ReplicaOptions};
pub use pace::Pace;
pub use recovery::{RecoveryOffer, agree_to_recovery, carry_out_recovery, recovery_of, recovery_offer};
pub use scrub::{ScrubPace, VatScrub};
pub use status::ReplicaStatus;
