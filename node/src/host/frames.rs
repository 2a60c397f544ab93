//! Frames from the network to a host: frames of the agreement, slices, and questions of strangers.

use super::{Inner, STARTING};
use crate::api::remote;
use crate::{
    beats::{ANSWER_WITHIN, BeatReplies, Beats, MANY, MOST},
    co_members::channel_of,
    directory::newest_membership,
    traces::{Message, Moment, Span, Step},
};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use quorate_admin::remote::RemoteRequest;
use quorate_consensus::{Channel, HostId, Introduction, TransportError};
use quorate_engine::VatId;
use quorate_net::{Handler, Purpose};
use quorate_protocol::{
    codec,
    wire::{DirectoryReply, DirectoryRequest, SliceReply, VatFrame},
};
use std::sync::Weak;

/// What the network hands to a host. Weak, since the network outlives nothing of the host.
pub(super) struct Frames(pub(super) Weak<Inner>);

impl Handler for Frames {
    fn own_key_met(&self, address: &str) {
        if let Some(host) = self.0.upgrade() {
            host.own_key.send_replace(Some(format!("it was met at {address}")));
        }
    }

    fn permits(&self, from: HostId, purpose: Purpose) -> bool {
        let Some(host) = self.0.upgrade() else { return false };
        if purpose == Purpose::Admin {
            return host.operators.contains(&from);
        }
        // Whose vats have not started yet can't be told from strangers. They are let in and put off, since members that were
        // turned away would hold back for a while.
        let agrees = |channel| !host.muted.has(&from) && (host.serves(from, channel) || host.is_starting());
        channel_of(purpose).is_none_or(agrees)
    }

    fn trusts(&self, from: HostId) -> bool {
        self.0.upgrade().is_some_and(|host| host.serves(from, Channel::Append))
    }

    fn handle(&self, from: HostId, purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let host = self.0.upgrade();
        Box::pin(async move {
            let host = host.ok_or("this host is stopping")?;
            // Not yet set: the host has only just joined the network.
            if let Some(co_members) = host.co_members.get() {
                co_members.note_seen(&from);
            }
            match (channel_of(purpose), purpose) {
                (Some(channel), _) => host.agree(from, channel, purpose, &frame).await,
                (None, Purpose::Admin) => host.administrate(from, &frame).await,
                (None, Purpose::Directory) => host.answer(from, &frame).await,
                (None, _) => host.take_slice(from, &frame).await,
            }
        })
    }
}

impl Inner {
    async fn agree(&self, from: HostId, channel: Channel, purpose: Purpose, frame: &[u8]) -> Result<Bytes, String> {
        if self.muted.has(&from) {
            return Err("this host does not listen to you (`vat member mute`)".to_owned());
        }
        let Some((id, body)) = frame.split_first_chunk::<32>() else {
            self.count_malformed(purpose);
            return Err("the frame names no vat".to_owned());
        };
        if *id == MANY && channel == Channel::Vote {
            return self.answer_beats(from, body).await;
        }
        let vat = self.vat(&VatId(*id)).ok_or_else(|| self.why_not())?;
        let answer = vat.replica.handle(from, channel, body).await;
        if let Err(TransportError::Malformed(_)) = answer {
            self.count_malformed(purpose);
        }
        answer.map(Bytes::from).map_err(|error| error.to_string())
    }

    /// Answers heartbeats of several vats, each as if it had come alone.
    async fn answer_beats(&self, from: HostId, frame: &[u8]) -> Result<Bytes, String> {
        let Beats(beats) = self.decode(frame, Purpose::Vote)?;
        if beats.len() > MOST {
            return Err("too many heartbeats in one frame".to_owned());
        }
        let answers = beats.into_iter().map(|(id, body)| async move {
            let vat = self.vat(&id).ok_or_else(|| self.why_not().to_owned())?;
            let answer = tokio::time::timeout(ANSWER_WITHIN, vat.replica.handle(from, Channel::Vote, &body)).await;
            answer.map_err(|_| "it takes too long".to_owned())?.map_err(|error| error.to_string())
        });
        Ok(codec::encode(&BeatReplies(join_all(answers).await)).into())
    }

    async fn answer(&self, from: HostId, frame: &[u8]) -> Result<Bytes, String> {
        let vat = match self.decode(frame, Purpose::Directory)? {
            DirectoryRequest::WhoIs(vat) => vat,
            DirectoryRequest::Alive => return Ok(codec::encode(&DirectoryReply::Alive).into()),
            DirectoryRequest::Read(request) => {
                let Some(vat) = self.vat(&request.vat).filter(|vat| !vat.is_removed()) else {
                    let reply = if self.is_starting() { DirectoryReply::Busy } else { DirectoryReply::Unknown };
                    return Ok(codec::encode(&reply).into());
                };
                return Ok(codec::encode(&DirectoryReply::Read(vat.read(&request).await)).into());
            }
            DirectoryRequest::Addresses(hosts) => {
                let addresses = self.addresses().ok_or(STARTING)?;
                return Ok(codec::encode(&addresses.answer(&hosts)).into());
            }
            DirectoryRequest::Moved(record) => {
                let addresses = self.addresses().ok_or(STARTING)?;
                let known = self.keeps_address_of(&from, addresses);
                return Ok(codec::encode(&addresses.moved(from, *record, known)?).into());
            }
            DirectoryRequest::Image { hash, offset } => {
                return Ok(codec::encode(&self.images.give(hash, offset).await?).into());
            }
        };
        let own = self.vat(&vat);
        // A member that is out has heard of nothing after that.
        let introductions = own.iter().map(|vat| vat.replica.introduction()).chain(self.directory.introduction(&vat));
        let introduction = introductions.max_by_key(|introduction| introduction.chain.len());
        if own.is_none() && self.is_starting() && introduction.as_ref().is_some_and(|known| self.is_member(known)) {
            // It will say more as soon as it carries the vat again.
            return Err(STARTING.to_owned());
        }
        let block = own.filter(|vat| !vat.is_removed()).map(|vat| vat.replica.status().applied);
        let reply = match introduction {
            Some(introduction) => DirectoryReply::Known { introduction: Box::new(introduction), block },
            None => DirectoryReply::Unknown,
        };
        Ok(codec::encode(&reply).into())
    }

    /// Returns whether this host is a member of the vat, as far as this introduction goes.
    fn is_member(&self, introduction: &Introduction) -> bool {
        newest_membership(introduction).contains(&HostId(self.key.verifying_key().to_bytes()))
    }

    /// An operator asks; the network has let nobody else in.
    async fn administrate(&self, operator: HostId, frame: &[u8]) -> Result<Bytes, String> {
        let request: RemoteRequest = self.decode(frame, Purpose::Admin)?;
        let routes = self.admin.get().ok_or(STARTING)?.clone();
        if request.body.is_some() {
            tracing::info!(%operator, path = %request.path, "an operator changes something");
        }
        Ok(codec::encode(&remote::answer(routes, request).await?).into())
    }

    async fn take_slice(&self, from: HostId, frame: &[u8]) -> Result<Bytes, String> {
        let VatFrame { to, slice, .. } = self.decode(frame, Purpose::Slice)?;
        let Some(vat) = self.vat(&to).filter(|vat| !vat.is_removed()) else {
            if self.is_starting() {
                return Err(STARTING.to_owned());
            }
            let message = self.why_not().to_owned();
            return Ok(codec::encode(&SliceReply::Refused { message }).into());
        };
        let sender = slice.sender();
        let arrived = self.traces.as_ref().map(|_| (Moment::now(), slice.begin));
        let reply = vat.inbox.take(*slice).await;
        if let (Some(traces), Some((begin, first)), SliceReply::Taken { next, .. }) = (&self.traces, arrived, &reply) {
            // Clients export nothing, so there is no span of theirs to be below.
            let from = Some(from).filter(|_| !vat.is_client(&sender));
            let step = Step::Take { from, by: traces.host() };
            for number in first..*next {
                let message = Message { sender, receiver: to, number };
                traces.give(Span { message, step, begin, end: Moment::now(), block: None, link: None });
            }
        }
        let outcome = match &reply {
            SliceReply::Taken { .. } => "taken",
            SliceReply::NotYet { .. } | SliceReply::NoCode { .. } => "not_yet",
            SliceReply::Introduce => "introduce",
            SliceReply::Refused { .. } => "refused",
        };
        let labels = [vat.name.as_str(), outcome];
        self.telemetry.slices_received.with_label_values(&labels).inc();
        if !vat.is_a_vat(&sender) {
            self.telemetry.client_slices.with_label_values(&labels).inc();
        }
        Ok(codec::encode(&reply).into())
    }

    /// Returns why there is no such vat here.
    fn why_not(&self) -> &'static str {
        if self.is_starting() { STARTING } else { "this host does not carry the vat" }
    }

    fn decode<T: serde::de::DeserializeOwned>(&self, frame: &[u8], purpose: Purpose) -> Result<T, String> {
        codec::decode(frame).map_err(|error| {
            self.count_malformed(purpose);
            error.to_string()
        })
    }

    fn count_malformed(&self, purpose: Purpose) {
        self.telemetry.malformed_frames.with_label_values(&[purpose.name()]).inc();
    }
}
