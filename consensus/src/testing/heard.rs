//! Frames that a liar has received: frames and controls to send again, and the facts that it needs to lie about Raft.

use std::collections::VecDeque;

use super::liar::Fabrication;
use crate::codec;
use crate::order::frames::{RaftFrame, RaftMessage, WireContent};
use crate::proof::clock::ClockStatement;
use crate::replica::wire::snapshot::{SnapshotFrame, SnapshotStep};
use crate::state::LogPosition;
use crate::state::block::{Block, Control};
use crate::storage::checkpoints::CheckpointRecord;
use crate::transport::Channel;

/// Frames that are kept: so many of the first ones, which are of the first epoch, and so many of the last.
const KEPT: (usize, usize) = (32, 64);
/// Controls that are kept, likewise.
const KEPT_CONTROLS: (usize, usize) = (4, 4);

/// The first and the last of a row.
struct Ends<T> {
    first: Vec<T>,
    last: VecDeque<T>,
    kept: (usize, usize),
}

impl<T: Clone> Ends<T> {
    fn new(kept: (usize, usize)) -> Self {
        Ends { first: Vec::new(), last: VecDeque::new(), kept }
    }

    fn push(&mut self, item: T) {
        if self.first.len() < self.kept.0 {
            return self.first.push(item);
        }
        self.last.push_back(item);
        if self.last.len() > self.kept.1 {
            self.last.pop_front();
        }
    }

    fn any(&self, throw: &mut dyn FnMut(u64) -> u64) -> Option<T> {
        let count = self.first.len() + self.last.len();
        let place = usize::try_from(throw(count as u64)).ok()?;
        self.first.get(place).or_else(|| self.last.get(place.checked_sub(self.first.len())?)).cloned()
    }
}

/// See the head of the module.
pub(super) struct Heard {
    frames: Ends<Fabrication>,
    controls: Ends<Control>,
    /// The statements of the last tick.
    clocks: Vec<ClockStatement>,
    /// The id of its replica in Raft, once a leader has called it.
    pub(super) own_raft_id: u64,
    /// The last leader's term, and its last entry.
    pub(super) term: u64,
    pub(super) last: Option<LogPosition>,
    /// The block that recorded a change last.
    pub(super) admitted: Option<u64>,
    /// A checkpoint that it was sent.
    pub(super) checkpoint: Option<CheckpointRecord>,
    /// A checkpoint that it has made up and offered: its block.
    pub(super) offered: Option<u64>,
}

impl Default for Heard {
    fn default() -> Self {
        Heard {
            frames: Ends::new(KEPT),
            controls: Ends::new(KEPT_CONTROLS),
            clocks: Vec::new(),
            own_raft_id: 0,
            term: 0,
            last: None,
            admitted: None,
            checkpoint: None,
            offered: None,
        }
    }
}

impl Heard {
    /// Takes note of a request of another member.
    pub(super) fn note(&mut self, channel: Channel, request: &[u8]) {
        self.frames.push((channel, request.to_vec()));
        match channel {
            Channel::Vote | Channel::Append => {
                if let Ok(frame) = codec::decode::<RaftFrame>(request) {
                    self.note_raft(frame);
                }
            }
            Channel::Snapshot => {
                if let Ok(SnapshotFrame { step: SnapshotStep::Begin { record, .. }, .. }) = codec::decode(request) {
                    self.checkpoint = Some(*record);
                }
            }
            Channel::Share | Channel::Propose => {}
        }
    }

    fn note_raft(&mut self, frame: RaftFrame) {
        let RaftMessage::Append { vote, prev, entries, .. } = frame.message else { return };
        self.own_raft_id = frame.target;
        self.term = vote.term;
        self.last = entries.last().map(|entry| entry.log).or(prev).max(self.last);
        for entry in &entries {
            let WireContent::Block(bytes) = &entry.content else { continue };
            let Some(control) = Block::decode(bytes).control else { continue };
            if matches!(control, Control::Admit(_)) {
                self.admitted = Some(entry.log.index);
            }
            match control {
                Control::Tick(tick) => self.clocks = tick.clocks,
                control => self.controls.push(control),
            }
        }
    }

    /// Returns what another member said of the time.
    pub(super) fn clock(&self, throw: &mut dyn FnMut(u64) -> u64) -> Option<ClockStatement> {
        let place = usize::try_from(throw(self.clocks.len() as u64)).ok()?;
        self.clocks.get(place).copied()
    }

    /// One of the frames.
    pub(super) fn frame(&self, throw: &mut dyn FnMut(u64) -> u64) -> Option<Fabrication> {
        self.frames.any(throw)
    }

    /// One of the controls.
    pub(super) fn control(&self, throw: &mut dyn FnMut(u64) -> u64) -> Option<Control> {
        self.controls.any(throw)
    }
}
