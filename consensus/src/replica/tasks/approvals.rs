//! The task that collects approvals for this replica's own draft, and has the change or the motion ordered when they suffice.
//!
//! Invariants: one draft at a time. All members are asked at once, and each request has its deadline, so that a member that hangs delays
//! no other. Only answers that verify are kept. Collected approvals survive restarts.

use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ReconfigureError;
use crate::proof::approval::Subject;
use crate::proof::membership::Member;
use crate::replica::approval::Approvals;
use crate::replica::wire::propose::Payload;
use crate::replica::wire::share::ShareFrame;
use crate::state::block::{Admission, Control};
use crate::state::drafts::{Answer, Collected, Draft, Matter, Standing};

/// Times `reconcile`: the pause between two rounds of questions.
const ROUND: u32 = 2;
/// How long an approved change may take to be ordered before that is tried again.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn run(approvals: Arc<Approvals>) {
    let mut stopping = approvals.lifecycle.stopping();
    let mut tick = tokio::time::interval(approvals.identity.timing.reconcile * ROUND);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.wait() => return,
            () = async { approvals.lifecycle.awake().await; tick.tick().await; } => {}
            () = approvals.changed.notified() => {}
        }
        prune(&approvals);
        let own = approvals.drafts().drafts.get(&approvals.identity.key).cloned();
        if let Some(draft) = own {
            tokio::select! {
                () = stopping.wait() => return,
                () = pursue(&approvals, draft) => {}
            }
        }
    }
}

/// Drops what the log would not take any more.
fn prune(approvals: &Approvals) {
    let applied = Arc::clone(&approvals.members.view().applied);
    let why = {
        let mut drafts = approvals.drafts();
        let (pruned, why) = drafts.prune(&applied, &approvals.identity.key, |draft| approvals.refuses(draft));
        if pruned {
            approvals.keep_drafts(&drafts);
        }
        why
    };
    if let Some(text) = why {
        approvals.outcome.send_replace(Some(Err(ReconfigureError::Refused(text))));
    }
}

/// Asks those who have not answered, and goes on with what they say.
async fn pursue(approvals: &Approvals, draft: Draft) {
    let state = Arc::clone(&approvals.members.view().applied);
    let Ok(subject) = draft.subject(&state) else { return };
    let members = &state.membership.members;
    let asked: Vec<&Member> = {
        let drafts = approvals.drafts();
        // An owner that has rejected it may think better of it.
        let has_approved = |member: &&Member| drafts.collected.approvals.contains_key(&member.key);
        let entered = drafts.collected.newcomer.is_some();
        let newcomer = draft.newcomer().filter(|_| !entered);
        members.iter().filter(|member| !has_approved(member)).chain(newcomer).collect()
    };
    let answers = join_all(asked.iter().map(|member| ask(approvals, member, &draft))).await;
    let (needed, newcomer) = (usize::from(state.membership.threshold), draft.newcomer().is_some());
    let (standing, collected) = {
        let mut drafts = approvals.drafts();
        if drafts.drafts.get(&approvals.identity.key) != Some(&draft) {
            return;
        }
        let before = drafts.collected.clone();
        for (member, answer) in asked.into_iter().zip(answers) {
            note(approvals, &mut drafts.collected, &subject, member, &draft, answer);
        }
        if drafts.collected != before {
            approvals.keep_drafts(&drafts);
        }
        (drafts.collected.standing(members.len(), needed, newcomer), drafts.collected.clone())
    };
    match standing {
        Standing::Approved => order(approvals, payload(approvals, draft, &collected, needed)).await,
        Standing::Rejected => {
            let names: Vec<String> = collected.rejected.iter().map(|key| approvals.name_of(key)).collect();
            approvals.end_draft(ReconfigureError::Rejected(names.join(", ")));
        }
        Standing::AsksOwners => {
            approvals.outcome.send_replace(Some(Err(approvals.waits_for(needed))));
        }
        Standing::Open => {}
    }
}

/// Returns what is ordered, with the approvals that suffice for it.
fn payload(approvals: &Approvals, draft: Draft, collected: &Collected, needed: usize) -> Payload {
    let enough = collected.enough(needed);
    match draft.matter {
        Matter::Members { change, threshold } => {
            let newcomer = collected.newcomer;
            Payload::Control(Control::Admit(Admission { change, threshold, approvals: enough, newcomer }))
        }
        Matter::Motion(motion) => Payload::Command(approvals.motions.command(&motion, enough).into()),
    }
}

/// One answer. This replica's own is given as any other's. `None`: there was none.
async fn ask(approvals: &Approvals, member: &Member, draft: &Draft) -> Option<Answer> {
    if member.key == approvals.identity.key {
        return Some(approvals.serve_draft(approvals.identity.key, draft.clone()));
    }
    let is_newcomer = draft.newcomer().is_some_and(|newcomer| newcomer.key == member.key);
    if is_newcomer {
        approvals.share.introduce_to(member).await.ok()?;
    }
    let frame = ShareFrame::Draft(draft.clone());
    approvals.share.exchange(member, &frame).await.ok()?.answer
}

/// Keeps an answer that is what it says.
fn note(
    approvals: &Approvals,
    collected: &mut Collected,
    subject: &Subject,
    member: &Member,
    draft: &Draft,
    answer: Option<Answer>,
) {
    let newcomer = draft.newcomer().map(|newcomer| &newcomer.key);
    match answer {
        Some(Answer::Approves(signature)) if signature.key == member.key && newcomer != Some(&member.key) => {
            if subject.verify_approval(&signature).is_ok() {
                collected.waiting.remove(&member.key);
                collected.rejected.remove(&member.key);
                collected.approvals.insert(member.key, signature);
            }
        }
        Some(Answer::Enters(signature)) if subject.verify_newcomer(newcomer, Some(&signature)).is_ok() => {
            collected.newcomer = Some(signature);
        }
        Some(Answer::Waits) if newcomer != Some(&member.key) => {
            collected.waiting.insert(member.key);
        }
        Some(Answer::Rejects) if newcomer != Some(&member.key) => {
            collected.waiting.remove(&member.key);
            collected.rejected.insert(member.key);
        }
        Some(Answer::Refuses(why)) => {
            tracing::debug!(vat = %approvals.identity.vat, member = %member.key, %why, "a proposed change can't be answered there now");
        }
        Some(_) | None => {}
    }
}

/// Has an approved change or motion ordered. It stays a draft until it is seen to be in the log here.
async fn order(approvals: &Approvals, payload: Payload) {
    let is_command = matches!(payload, Payload::Command(_));
    let ordered = approvals.complaints.order(payload, ORDER_PATIENCE).await;
    let outcome = match ordered {
        // A command's result is for the application to read; that of a control is why it was refused.
        Ok(proposed) if is_command || proposed.result.is_empty() => {
            let mut status = approvals.status.subscribe();
            let seen = status.wait_for(|status| status.applied >= proposed.block);
            // If it is not seen in time, the next round finds how things stand.
            if tokio::time::timeout(ORDER_PATIENCE, seen).await.is_err() {
                return;
            }
            Ok(proposed)
        }
        Ok(proposed) => Err(ReconfigureError::Refused(String::from_utf8_lossy(&proposed.result).into_owned())),
        // It may be recorded: the next round finds out.
        Err(error) => {
            tracing::info!(vat = %approvals.identity.vat, %error, "an approved change was not ordered yet");
            return;
        }
    };
    // The others see by the state that a change of members was recorded; of a motion only its proposer knows that it is carried out.
    approvals.settle_draft(is_command);
    approvals.outcome.send_replace(Some(outcome));
}

impl Approvals {
    /// The error that says what this replica's own draft waits for.
    pub(crate) fn waits_for(&self, needed: usize) -> ReconfigureError {
        let approved = self.drafts().collected.approvals.len();
        ReconfigureError::Waits { approved, needed }
    }
}
