//! Keeps the references of an answer: has the vat make a bearer for each, so that a holder of its text comes back to the object later, by a
//! client of its own.

use super::{Answer, Session};
use ed25519_dalek::SigningKey;
use quorate_ids::VatId;
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::client::{ClientRef, Completion};
use std::collections::BTreeSet;
use tokio::{sync::oneshot, time::Instant};

/// Objects of one answer that are kept at most. An answer with more of them is a list to choose from.
const MAX_OF_ONE_ANSWER: usize = 64;

/// What is kept of the answer to a client's first call.
pub(super) struct Keeper {
    /// The bearer that the client came in by.
    through: [u8; 32],
    /// The result of the call.
    pub(super) call: Option<ClientRef>,
    under_way: Vec<Keeping>,
}

/// A reference of an answer, and the text by which its holder comes back to it, or why there is none.
pub type Kept = (ClientRef, Result<Sturdyref, String>);

struct Keeping {
    object: ClientRef,
    seed: [u8; 32],
    answer: Result<oneshot::Receiver<Answer>, String>,
}

impl Keeper {
    pub(super) fn new(through: [u8; 32]) -> Keeper {
        Keeper { through, call: None, under_way: Vec::new() }
    }
}

impl Session {
    /// Asks the vat to keep the objects of an answer, if it is the one whose objects are wanted.
    pub(super) fn keep(&mut self, answer: &Completion) {
        let Some(keeper) = self.keeper.as_mut().filter(|keeper| keeper.call == Some(answer.promise)) else { return };
        let through = keeper.through;
        if !answer.fulfilled {
            return;
        }
        let objects: BTreeSet<ClientRef> = answer.slots.iter().copied().collect();
        let mut under_way = Vec::new();
        for (place, object) in objects.into_iter().enumerate() {
            let mut seed = [0; 32];
            let answer = self.keep_one(place, object, &mut seed, through);
            under_way.push(Keeping { object, seed, answer });
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.under_way = under_way;
        }
    }

    fn keep_one(
        &mut self,
        place: usize,
        object: ClientRef,
        seed: &mut [u8; 32],
        through: [u8; 32],
    ) -> Result<oneshot::Receiver<Answer>, String> {
        let id = match object {
            ClientRef::Object(id) => id,
            ClientRef::Elsewhere(home) => return Err(format!("it lives in vat {home}; only that vat can keep it")),
            ClientRef::Result(_)
            | ClientRef::Promise(_)
            | ClientRef::Lent(_)
            | ClientRef::Own(_)
            | ClientRef::Owed(_) => {
                return Err(
                    "it is a promise, and only objects are kept; have the vat answer when it has settled".into()
                );
            }
        };
        if place >= MAX_OF_ONE_ANSWER {
            return Err(format!("only the first {MAX_OF_ONE_ANSWER} of an answer are kept"));
        }
        getrandom::fill(seed).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        let key = SigningKey::from_bytes(seed).verifying_key().to_bytes();
        let result = self.talk.session.keep(id, key, through).map_err(|error| error.to_string())?;
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(ClientRef::Result(result), sender);
        Ok(receiver)
    }

    /// Asks the vat to keep the objects of an answer that is there.
    pub(super) fn keep_of(&mut self, answer: &Completion, through: [u8; 32]) {
        self.keeper = Some(Keeper { call: Some(answer.promise), ..Keeper::new(through) });
        self.keep(answer);
    }

    /// Returns what is to be waited for.
    pub(super) fn take_kept(&mut self) -> KeptLater {
        KeptLater(self.keeper.take().map(|keeper| keeper.under_way).unwrap_or_default())
    }
}

/// What the vat was asked to keep.
pub(super) struct KeptLater(Vec<Keeping>);

impl KeptLater {
    /// Waits until the vat has said of each whether it keeps it, but not longer than `until`.
    pub(super) async fn wait(self, vat: VatId, until: Instant) -> Vec<Kept> {
        let mut kept = Vec::new();
        for Keeping { object, seed, answer } in self.0 {
            let answer = match answer {
                Ok(answer) => match tokio::time::timeout_at(until, answer).await {
                    Ok(Ok(answer)) => answer.kept_number(),
                    _ => Err("the vat did not confirm it in time".to_owned()),
                },
                Err(why) => Err(why),
            };
            kept.push((object, answer.map(|object| Sturdyref::bearer(vat, object, seed))));
        }
        kept
    }
}
