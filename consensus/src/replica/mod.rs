//! One replica of one vat: everything between the network, the store and the machine.
//!
//! The tasks (`tasks/`), the channels between them, and what each channel holds at most. All but the executor are tokio tasks;
//! `=>` is a bounded channel whose sender waits for room, `->` one whose sender goes on without (what is dropped is asked for
//! again, or answered with a refusal), `~>` is a watched value.
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
//!                  │ executor thread │ Applied, Restored        │      │
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
//!  complaints looks whether what was given to the leader is in the log (64 -> proposer, for what goes first), and tells all members of
//!  what is not, and of a leader that proves nothing.
//!  own_key asks each member in turn; nobody sends to it. approvals asks all of them about the change and the motion that this member proposes,
//!  and clock what time it is, when the machine waits for one (~> from the executor); the proposer does so before commands that want to know.
//! ```
//!
//! The log's flush, not its append, lets the signer sign: it then writes its watermark, and signs when that is on disk.

mod applier;
pub(crate) mod approval;
pub(crate) mod clock;
pub(crate) mod event;
pub(crate) mod handle;
mod identity;
mod intake;
mod leader;
mod lifecycle;
mod membership_view;
pub(crate) mod options;
mod recovery;
mod scrub;
mod service;
pub(crate) mod status;
mod stored;
pub(crate) mod tasks;
pub(crate) mod wants;
pub(crate) mod wire;

/// Where the running Raft is: nothing until it has started, and it starts once.
type RaftCell = tokio::sync::OnceCell<crate::raft::RaftNode>;

pub use approval::{Approve, Motions, NoMotions, WaitingChange, WaitingMatter};
pub use clock::{Clock, SystemClock};
pub use event::Event;
pub use handle::{CheckpointSummary, Proposed, Replica, ReplicaHandle, evidence_of, remove_vat};
pub use options::{MAX_UNCERTIFIED, ReplicaOptions};
pub use recovery::{RecoveryOffer, agree_to_recovery, carry_out_recovery, recovery_of, recovery_offer};
pub use scrub::{ScrubPace, VatScrub};
pub use status::ReplicaStatus;
