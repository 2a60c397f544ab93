//! The report on a call for `vat call --trace`.

use super::Session;
use quorate_ids::VatId;
use quorate_proof::{Certificate, Member};
use std::time::Duration;
use tokio::time::Instant;

/// When a call came how far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    begun: Instant,
    network: Option<Instant>,
    found: Option<Instant>,
}

impl Moments {
    /// Nothing has happened yet.
    pub fn begin() -> Moments {
        Moments { begun: Instant::now(), network: None, found: None }
    }

    /// The client has a network.
    pub fn network_is_up(&mut self) {
        self.network.get_or_insert_with(Instant::now);
    }

    /// Hosts have said who the vat's members are.
    pub fn members_are_found(&mut self) {
        self.found.get_or_insert_with(Instant::now);
    }
}

/// What a session notes of its first call.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted {
    /// When the call was given to be sent.
    said: Option<Instant>,
    /// When its answer was there, and what certified it.
    answered: Option<(Instant, Certificate)>,
}

impl Noted {
    pub fn say(&mut self) {
        self.said.get_or_insert_with(Instant::now);
    }

    pub fn answer(&mut self, certificate: &Certificate) {
        self.answered.get_or_insert_with(|| (Instant::now(), certificate.clone()));
    }
}

/// How a call went.
#[derive(Clone, Debug)]
pub struct CallTrace {
    /// The vat that the client was: what the call cost is on its account.
    pub client: VatId,
    /// Until the client had a network.
    pub network: Option<Duration>,
    /// From there until the vat's members were known; nothing if they were remembered.
    pub members: Option<Duration>,
    /// From when the call was sent until its answer was there: connecting, ordering, executing, certifying.
    pub answer: Option<Duration>,
    /// All together, from the beginning to the answer.
    pub total: Option<Duration>,
    /// What certified the answer.
    pub certified: Option<CertifiedAnswer>,
}

/// The certificate of an answer.
#[derive(Clone, Debug)]
pub struct CertifiedAnswer {
    pub block: u64,
    pub epoch: u64,
    /// The signers, by name; by key if the name is not known.
    pub signers: Vec<String>,
    /// How many have to sign, and how many could.
    pub threshold: u16,
    pub members: usize,
}

impl CallTrace {
    pub(super) fn of(client: VatId, session: &Session, moments: &Moments) -> CallTrace {
        let Noted { said, answered } = &session.noted;
        let since = |from: Option<Instant>, to: Option<Instant>| Some(to?.duration_since(from?));
        let end = answered.as_ref().map(|(at, _)| *at);
        CallTrace {
            client,
            network: since(Some(moments.begun), moments.network),
            members: since(moments.network, moments.found),
            answer: since(*said, end),
            total: since(Some(moments.begun), end),
            certified: answered
                .as_ref()
                .map(|(_, certificate)| certified(certificate, &session.members, session.talk.signers().threshold)),
        }
    }
}

fn certified(certificate: &Certificate, members: &[Member], threshold: u16) -> CertifiedAnswer {
    let name = |key| {
        let member = members.iter().find(|member| member.key == key);
        member.map_or_else(|| key.to_string(), |member| member.name.clone())
    };
    CertifiedAnswer {
        block: certificate.statement.block,
        epoch: certificate.statement.epoch,
        signers: certificate.signatures.iter().map(|signature| name(signature.key)).collect(),
        threshold,
        members: members.len(),
    }
}
