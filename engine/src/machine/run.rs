//! Deliveries: turns a peer's messages into cranks, and cranks into the guest's outputs.

use super::{CommandResult, CrankKind, CrankOutcome, CrankReport, Exit, FOLLOW_UP_BATCH, Guest, LimitKind, Machine};
use super::{Deliver, HostWork, LogLevel, LogLine, Setup};
use crate::abi::{CapData, Delivery, Output, Resolution, Slot, Value};
use crate::comms::{Broken, Inbound, Introduction};
use crate::error::EngineError;
use crate::wire;
use quorate_ids::VatId;

/// A promise that is never given this number: they begin at 1.
pub const NOBODY: Slot = Slot::HostPromise(0);

/// How a crank ended; what it said has taken effect.
pub(super) enum Ended {
    Done,
    StartFailed(String),
    RolledBack(LimitKind),
}

impl<G: Guest> Machine<G> {
    pub(super) fn deliver(&mut self, deliver: Deliver) -> Result<CommandResult, EngineError> {
        let Deliver { from, begin, messages, end, ack } = deliver;
        if !self.status.installed {
            return Ok(CommandResult::NotReady);
        }
        if let Some(refusal) = self.comms.refuses_peer(&from) {
            return Ok(CommandResult::Refused { message: refusal.to_owned() });
        }
        let (next, _) = self.next_inbound(&from);
        if !messages.is_empty() {
            if begin == 0 {
                return Ok(CommandResult::Refused { message: "messages are numbered from 1".to_owned() });
            }
            if begin > next {
                return Ok(CommandResult::Gap { next });
            }
            let known = usize::try_from(next - begin).unwrap_or(usize::MAX);
            if known >= messages.len() {
                // It would not say all of this again if it knew that it has been taken in.
                self.comms.say_again(&from);
            }
            let new = messages.get(known..).unwrap_or_default();
            let ended = self.take_messages(&from, new)?;
            self.charge_carried(&from, next, new, end);
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
        if let Err(broken) = self.comms.acknowledge(&from, end, ack) {
            return Ok(self.break_stream(&from, &broken));
        }
        Ok(self.broken(&from).unwrap_or(CommandResult::Delivered { next: self.next_inbound(&from).0 }))
    }

    /// Takes in messages of `from` as long as it is its turn and the block has fuel left. Returns what the command comes to if that is
    /// decided: it is not if some were taken in, or there are none.
    ///
    /// The acknowledgement of a command that stops half way does not count, since not everything up to its head's end is in.
    fn take_messages(&mut self, from: &VatId, messages: &[Vec<u8>]) -> Result<Option<CommandResult>, EngineError> {
        self.brought |= !messages.is_empty();
        let least = self.turns.least_of_others(from);
        for (count, message) in messages.iter().enumerate() {
            if let Some(refusal) = self.broken(from) {
                return Ok(Some(refusal));
            }
            if !self.may_take(from, least) {
                if count > 0 {
                    break;
                }
                self.block.waited += 1;
                return Ok(Some(CommandResult::Later { next: self.next_inbound(from).0 }));
            }
            self.takes_in = true;
            self.set_account(Some(*from));
            let taken = self.take_message(from, message)?;
            self.set_account(None);
            if self.comms.peer(from).is_some() {
                self.turns.note_active(from);
            }
            self.charge_host(Some(*from), HostWork::Message { bytes: message.len() });
            self.charge_said(Some(*from));
            if let Err(broken) = taken {
                return Ok(Some(self.break_stream(from, &broken)));
            }
        }
        Ok(None)
    }

    /// Has `from` pay for what a command brought beyond what was taken in: for `new`, of which the first is message `next`, and for the digests
    /// up to `end`. A command of which nothing was taken in is free: any member can have it ordered any number of times.
    fn charge_carried(&mut self, from: &VatId, next: u64, new: &[Vec<u8>], end: u64) {
        let reached = self.next_inbound(from).0;
        if reached == next {
            return;
        }
        let taken = usize::try_from(reached - next).unwrap_or(usize::MAX);
        let bytes = new.get(taken..).unwrap_or_default().iter().map(Vec::len).sum();
        self.charge_host(Some(*from), HostWork::Carried { count: end.saturating_sub(reached - 1), bytes });
    }

    /// Enters work of the host's on an account.
    pub(super) fn charge_host(&mut self, account: Option<VatId>, work: HostWork) {
        let fuel = self.fuel.of_host(work);
        self.block.host_fuel = self.block.host_fuel.saturating_add(fuel);
        self.burnt = self.burnt.saturating_add(fuel);
        self.charge(account, fuel);
    }

    /// Enters the messages that were said since this was last called.
    pub(super) fn charge_said(&mut self, account: Option<VatId>) {
        let before = self.charged_messages;
        let (count, bytes) = self.comms.said_after(before);
        self.charged_messages = count;
        self.charge_host(account, HostWork::Said { count: count.saturating_sub(before), bytes });
    }

    fn charge(&mut self, account: Option<VatId>, fuel: u64) {
        if let Some(account) = account.filter(|account| self.comms.peer(account).is_some()) {
            self.turns.charge(&account, fuel);
        }
    }

    /// Returns whether a message of `from` may be taken in now, where the least that another active peer has burnt is `least`.
    fn may_take(&mut self, from: &VatId, least: Option<u64>) -> bool {
        let ahead = least.map_or(0, |least| self.turns.burnt(from).saturating_sub(least));
        if ahead > self.fuel.per_turn {
            return false;
        }
        let has_fuel = !self.takes_in || self.burnt < self.fuel.per_block;
        if !has_fuel && self.comms.peer(from).is_some() {
            self.turns.note_turned_away(from);
        }
        has_fuel
    }

    /// Says on whose account the next cranks are, and what they cause.
    pub(super) fn set_account(&mut self, account: Option<VatId>) {
        self.account = account;
        self.comms.set_account(account);
    }

    /// Runs a crank on another account than the present one.
    fn crank_for(
        &mut self,
        account: Option<VatId>,
        what: CrankKind,
        from: Option<VatId>,
        delivery: &Delivery,
    ) -> Result<Ended, EngineError> {
        let present = self.account;
        self.set_account(account);
        let ended = self.crank(what, from, delivery);
        self.set_account(present);
        ended
    }

    fn broken(&self, from: &VatId) -> Option<CommandResult> {
        let reason = self.comms.peer(from)?.incoming().broken()?;
        Some(CommandResult::Refused { message: format!("the stream is broken: {reason}") })
    }

    fn break_stream(&mut self, from: &VatId, broken: &Broken) -> CommandResult {
        self.comms.break_stream(from, broken);
        CommandResult::Refused { message: format!("the stream is broken: {broken}") }
    }

    /// Takes in the next message of `from` and runs what it asks for.
    fn take_message(&mut self, from: &VatId, message: &[u8]) -> Result<Result<(), Broken>, EngineError> {
        match self.comms.receive(from, message) {
            Err(broken) => return Ok(Err(broken)),
            Ok(Inbound::Done) => {}
            Ok(Inbound::Call { delivery, result, first }) => self.call(from, &delivery, result, first)?,
            Ok(Inbound::Settle { promise, resolution, cause }) => {
                self.tell_settlement(from, promise, resolution, cause)?;
            }
            Ok(Inbound::Hold { promise }) => {
                self.crank(CrankKind::Settle, Some(*from), &Delivery::Hold(promise))?;
            }
            Ok(Inbound::Abandoned { result }) => {
                // If it is undone, the guest has not heard; it was under no obligation.
                self.crank(CrankKind::Cancel, Some(*from), &Delivery::Cancel(result))?;
            }
        }
        self.run_follow_ups()?;
        Ok(Ok(()))
    }

    fn call(
        &mut self,
        from: &VatId,
        delivery: &Delivery,
        result: Option<Slot>,
        first: Option<Introduction>,
    ) -> Result<(), EngineError> {
        let mut ended = match first {
            Some(first) => self.introduce(from, first)?,
            None => Ended::Done,
        };
        if matches!(ended, Ended::Done) {
            ended = self.crank(CrankKind::Call, Some(*from), delivery)?;
        }
        let Ended::RolledBack(limit) = ended else { return Ok(()) };
        if let Some(result) = result {
            let message = format!("the call was rolled back: it exceeded the {} limit", limit.as_str());
            self.comms.reject(result, &message);
        }
        if let Delivery::Call { args, .. } = delivery {
            self.comms.forget_unheard(args.slots.iter());
        }
        Ok(())
    }

    /// Tells the guest of a promise that a call is made on and that it has not heard of. It hears of it in the settlement of a promise that
    /// does not exist: all that a guest does with that is to take in what is named in it.
    fn introduce(&mut self, from: &VatId, introduction: Introduction) -> Result<Ended, EngineError> {
        let Introduction { promise, held } = introduction;
        let names = Resolution::Fulfilled(CapData::new(&Value::Slot(0), vec![promise]));
        let ended = self.crank(CrankKind::Settle, Some(*from), &Delivery::Settle(vec![(NOBODY, names)]))?;
        if !held || !matches!(ended, Ended::Done) {
            return Ok(ended);
        }
        let ended = self.crank(CrankKind::Settle, Some(*from), &Delivery::Hold(promise))?;
        if matches!(ended, Ended::Done) {
            self.comms.mark_kept(promise);
        }
        Ok(ended)
    }

    /// Tells the guest how a promise settled. If that delivery is undone, the promise is rejected instead, so that code that
    /// waits for it hears of the limit. What cannot even be told that waits for ever.
    fn tell_settlement(
        &mut self,
        from: &VatId,
        promise: Slot,
        resolution: Resolution,
        cause: Option<VatId>,
    ) -> Result<(), EngineError> {
        let delivery = Delivery::Settle(vec![(promise, resolution)]);
        // The peer that caused the question also causes the work of its answer.
        let account = cause.or(Some(*from));
        let Ended::RolledBack(limit) = self.crank_for(account, CrankKind::Settle, Some(*from), &delivery)? else {
            return Ok(());
        };
        let message = format!("the answer was rolled back: what it set off exceeded the {} limit", limit.as_str());
        let rejection = Delivery::Settle(vec![(promise, Resolution::Rejected(wire::vat_error(&message)))]);
        if let Ended::RolledBack(_) = self.crank_for(account, CrankKind::Settle, Some(*from), &rejection)? {
            self.comms.keep_unheard(promise, &message);
        }
        Ok(())
    }

    /// Returns whether the guest has yet to hear of sends that were refused.
    pub(super) fn has_follow_ups(&self) -> bool {
        self.status.installed && self.status.exit.is_none() && self.comms.pending_count() > 0
    }

    /// Tells the guest of sends that were refused, as far as the command's share of cranks and the block's fuel go: on the account of who
    /// caused them.
    pub(super) fn run_follow_ups(&mut self) -> Result<(), EngineError> {
        while self.follow_ups_left > 0 && self.burnt < self.fuel.per_block {
            let (account, settlements) = self.comms.next_pending(FOLLOW_UP_BATCH);
            if settlements.is_empty() {
                break;
            }
            self.follow_ups_left -= 1;
            let count = settlements.len();
            match self.crank_for(account, CrankKind::Refusals, None, &Delivery::Settle(settlements))? {
                Ended::RolledBack(_) => self.comms.not_told(count),
                Ended::Done | Ended::StartFailed(_) => self.comms.told(count),
            }
        }
        Ok(())
    }

    /// Runs one delivery and lets what the guest said take effect if it is done.
    pub(super) fn crank(
        &mut self,
        what: CrankKind,
        from: Option<VatId>,
        delivery: &Delivery,
    ) -> Result<Ended, EngineError> {
        let news = self.news();
        let crank = self.guest.deliver(delivery, &news)?;
        self.status.deliveries += 1;
        self.collector.count(crank.fuel);
        self.burnt = self.burnt.saturating_add(crank.fuel);
        self.charge(self.account, self.fuel.of_crank(crank.fuel));
        self.block.logs.extend(crank.logs);
        let mut rolled_back = None;
        let ended = match crank.outcome {
            CrankOutcome::Done { outputs } => {
                self.learned(&news);
                self.mark_known(delivery);
                self.take_outputs(outputs);
                self.charge_said(self.account);
                Ended::Done
            }
            CrankOutcome::StartFailed { message } => Ended::StartFailed(shortened(message)),
            CrankOutcome::RolledBack { limit } => {
                rolled_back = Some(limit);
                self.status.rolled_back += 1;
                self.charge_host(self.account, HostWork::Rollback);
                Ended::RolledBack(limit)
            }
        };
        self.report(what, from, crank.fuel, rolled_back);
        Ok(ended)
    }

    pub(super) fn report(&mut self, what: CrankKind, from: Option<VatId>, fuel: u64, rolled_back: Option<LimitKind>) {
        self.block.cranks.push(CrankReport { what, from, account: self.account, fuel, rolled_back });
    }

    fn mark_known(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Call { args, result, .. } => self.comms.mark_known(args.slots.iter().chain(result)),
            Delivery::Settle(settlements) => {
                for (_, Resolution::Fulfilled(data) | Resolution::Rejected(data)) in settlements {
                    self.comms.mark_known(&data.slots);
                }
            }
            Delivery::Start { argv, .. } => self.comms.mark_known(&argv.slots),
            Delivery::Hold(_)
            | Delivery::Cancel(_)
            | Delivery::Collect
            | Delivery::MakeRoom
            | Delivery::Wake { .. }
            | Delivery::HandOver
            | Delivery::Upgrade(_) => {}
        }
    }

    pub(super) fn take_outputs(&mut self, outputs: Vec<Output>) {
        let mut exit = None;
        let mut unsent = Unsent::default();
        let mut published_bytes = None;
        for output in outputs {
            match output {
                Output::Send { target, method, args, result } => {
                    if let Err(refusal) = self.comms.send(target, method, &args, result)
                        && result.is_none()
                    {
                        unsent.add(refusal);
                    }
                    self.comms.note_named(&args.slots);
                }
                Output::Settle { promise, resolution } => {
                    self.comms.settle_by_guest(promise, &resolution);
                    let (Resolution::Fulfilled(data) | Resolution::Rejected(data)) = &resolution;
                    self.comms.note_named(&data.slots);
                }
                Output::Exit { value } => exit = exit.or(Some(Exit { value })),
                Output::Setup { failure } => self.end_setup(failure),
                Output::Cancel { result } => self.comms.abandon(result),
                Output::Drop { slots } => self.comms.drop_by_guest(&slots),
                Output::SetTimer { timer, at_ms } => self.timers.set(timer, at_ms, self.account),
                Output::CancelTimer { timer } => self.timers.cancel(timer),
                Output::Publish { name, value } => {
                    *published_bytes.get_or_insert(0) += self.published.set(&name, value);
                }
                // Said in deliveries that are undone alone.
                Output::HandOver(_) => {}
            }
        }
        if let Some(bytes) = published_bytes {
            self.charge_host(self.account, HostWork::Published { count: self.published.len(), bytes });
        }
        self.block.logs.extend(unsent.line());
        if let Some(exit) = exit
            && self.status.exit.is_none()
        {
            self.comms.exit();
            self.timers.clear();
            self.block.exit = Some(exit.clone());
            self.status.exit = Some(exit);
        }
    }

    fn end_setup(&mut self, failure: Option<String>) {
        if self.status.setup != Setup::Waiting {
            return;
        }
        self.status.setup = match failure.map(shortened) {
            None => Setup::Ready,
            Some(reason) => {
                let text = format!("the vat's setup failed: {reason}");
                self.block.logs.push(LogLine { level: LogLevel::Error, text });
                Setup::Failed(reason)
            }
        };
    }
}

/// The one-way messages of a crank that were refused: one line, however many they are.
#[derive(Default)]
struct Unsent {
    count: usize,
    first: String,
}

impl Unsent {
    fn add(&mut self, refusal: String) {
        if self.count == 0 {
            self.first = refusal;
        }
        self.count += 1;
    }

    fn line(self) -> Option<LogLine> {
        let text = match self.count {
            0 => return None,
            1 => format!("a one-way message was not sent: {}", self.first),
            count => format!("{count} one-way messages were not sent; the first: {}", self.first),
        };
        Some(LogLine { level: LogLevel::Warn, text })
    }
}

/// Longest text of the guest's about its own start that is kept, in bytes.
const MAX_REASON_BYTES: usize = 4 << 10;

pub(super) fn shortened(mut text: String) -> String {
    if text.len() > MAX_REASON_BYTES {
        let end = (0..=MAX_REASON_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
