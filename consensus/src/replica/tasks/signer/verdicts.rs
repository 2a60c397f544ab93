//! Acts on the results of the tally: sends certificates, keeps evidence, and stops a replica that a threshold
//! contradicts.

use super::Signer;
use crate::proof::certificate::{Certificate, Statement};
use crate::proof::equivocation::{Divergence, EvidenceRecord, Signed};
use crate::proof::order_evidence::OrderEvidence;
use crate::proof::shares::Verdict;
use crate::replica::event::PlainEvent;
use crate::replica::tasks::checkpointer::CheckpointerInput;
use crate::replica::wire::share::ShareFrame;
use quorate_ids::HostId;

impl Signer {
    /// Acts upon what follows from signatures.
    pub(super) async fn conclude(&mut self, verdicts: Vec<Verdict>) {
        for verdict in verdicts {
            match verdict {
                Verdict::Certified(certificate) => self.certified(certificate).await,
                Verdict::Reconfigured(certificate) => {
                    self.parts.members.learn(vec![certificate.clone()]);
                    self.parts.share.gate.recount();
                    self.parts.events.send(PlainEvent::Reconfigured(certificate)).await;
                }
                Verdict::Equivocation(pair) => {
                    let member = pair.member();
                    self.keep(EvidenceRecord::Equivocation(pair), member).await;
                }
                Verdict::MembershipEquivocation(pair) => {
                    let member = pair.member();
                    self.keep(EvidenceRecord::MembershipEquivocation(pair), member).await;
                }
                Verdict::Disagreement(disagreement) => {
                    let theirs = disagreement.theirs.clone();
                    let member = theirs.signer();
                    let two_logs = disagreement.own.chain != theirs.content.chain;
                    if self.keep(EvidenceRecord::Disagreement(disagreement), member).await {
                        self.compare(theirs);
                        if two_logs {
                            self.compare_leader(&member);
                        }
                    }
                }
                Verdict::Diverged(divergence) => self.stop_for_good(divergence).await,
                Verdict::Refused => self.parts.stats.update(|stats| stats.shares_refused += 1),
            }
        }
    }

    /// Keeps evidence, counts it, and reports it, unless it was known. Returns whether it was written.
    async fn keep(&mut self, record: EvidenceRecord, signer: HostId) -> bool {
        let added = self.parts.store.add_evidence(&record, &signer);
        let Some(added) = self.parts.lifecycle.check(added) else { return false };
        if added.is_new {
            let accused = record.accused();
            self.parts.stats.update(|stats| {
                for member in &accused {
                    *stats.equivocations.entry(*member).or_default() += 1;
                }
                stats.disagreements += u64::from(accused.is_empty());
            });
            self.parts.status.set(|status| {
                status.equivocations = added.totals.equivocations;
                status.disagreements = added.totals.disagreements;
            });
            self.parts.events.send(PlainEvent::Evidence(Box::new(record))).await;
        }
        added.is_kept
    }

    /// Shows the other members what one of them signed, and hears what it signed towards them: both together may be an equivocation.
    fn compare(&self, theirs: Signed<Statement>) {
        let Some(membership) = self.shares.membership(theirs.content.epoch) else { return };
        let apart = [self.parts.identity.key, theirs.signer()];
        for member in membership.members.iter().filter(|member| !apart.contains(&member.key)) {
            let (share, theirs, member) = (self.parts.share.clone(), theirs.clone(), member.clone());
            tokio::spawn(async move { share.compare(&member, theirs).await });
        }
    }

    /// Compares headers with a member: the leader may have shown it another log.
    fn compare_leader(&self, with: &HostId) {
        let known = self.parts.members.view().newest().members.clone();
        if let Some(member) = known.into_iter().find(|member| member.key == *with) {
            let share = self.parts.share.clone();
            tokio::spawn(async move { share.compare_leader(&member).await });
        }
    }

    /// Keeps what convicts a member, and tells the others.
    pub(super) async fn convicted(&mut self, evidence: OrderEvidence) {
        let guilty = evidence.evidence.accused();
        if !self.keep(EvidenceRecord::Order(evidence.clone()), guilty).await {
            return;
        }
        let apart = [self.parts.identity.key, guilty];
        let known = self.parts.members.view().newest().members.clone();
        for member in known.into_iter().filter(|member| !apart.contains(&member.key)) {
            let (share, evidence) = (self.parts.share.clone(), Box::new(evidence.clone()));
            // A member that is away finds out by itself, or follows another leader.
            tokio::spawn(async move { share.exchange(&member, &ShareFrame::Convicted(evidence)).await });
        }
    }

    /// A threshold has signed something else. The certificate is on disk before the replica stops, and it never starts again.
    async fn stop_for_good(&mut self, divergence: Divergence) {
        let why = divergence_text(&divergence);
        if self.parts.lifecycle.check(self.parts.store.set_divergence(&divergence)).is_none() {
            return;
        }
        self.parts.events.send(PlainEvent::Evidence(Box::new(EvidenceRecord::Divergence(divergence)))).await;
        self.parts.lifecycle.fault(why);
    }

    async fn certified(&mut self, certificate: Certificate) {
        let block = certificate.statement.block;
        if self
            .parts
            .lifecycle
            .check(self.parts.store.write(vec![self.parts.store.put_certificate(&certificate)]))
            .is_none()
        {
            return;
        }
        self.certified_block = self.certified_block.max(block);
        self.relay(&certificate);
        for signature in certificate.signatures.iter().filter(|signature| signature.key != self.parts.identity.key) {
            self.noted |= self.shares.note(&certificate.statement, *signature);
        }
        let since = self.shares.since(block);
        self.parts.stats.update(|stats| {
            stats.certificates += 1;
            if let Some(since) = since {
                stats.certify.record(since.elapsed());
            }
        });
        if certificate.statement.state_root.is_some() {
            // The receiver is gone only if the replica is stopping.
            let _ = self.parts.checkpointer.send(CheckpointerInput::Certified(certificate.clone())).await;
        }
        self.parts.events.send(PlainEvent::Certified(certificate)).await;
    }
}

/// Returns what is said of a replica that has diverged.
pub(crate) fn divergence_text(divergence: &Divergence) -> String {
    let remedy = "`vat member repair` has this host fetch the state of the others, and sign only what comes after; or let a host with a \
                  new home take its place (`vat member replace`)";
    let (certified, own, place) = match divergence {
        Divergence::Statement { certificate, own } => {
            let certified = certificate.statement.hash();
            (certified, own.hash(), format!("at block {}", own.block))
        }
        Divergence::Membership { certificate, own } => {
            let certified = certificate.membership.hash();
            (certified, own.hash(), format!("as the membership of epoch {}", own.epoch))
        }
        Divergence::Signed { certificate, signed } => {
            let statement = &certificate.statement;
            return format!(
                "Q-C041 this host signed statement {signed} at block {}, and a threshold of members certified {} there; the \
                 certificate is kept (`vat evidence`). {remedy}",
                statement.block,
                statement.hash()
            );
        }
    };
    format!(
        "Q-C042 a threshold of members certified {certified} {place}, this replica computed {own}; both are kept \
         (`vat evidence`). {remedy}"
    )
}
