//! Heartbeats of many vats in one frame: those of all vats that a pair of hosts share, a few times a second.
//!
//! The first heartbeat to a host goes out at once. Those that come within [`PAUSE`] after a frame has left wait for its end, and go in the next frame
//! together. So a pair of hosts exchanges at most so many frames, however many vats they share, and a vat alone waits for nobody.
//!
//! Invariant: a heartbeat is answered as if it had come alone: each by its own replica, which checks it as ever. One that is slow does not hold up the
//! others' answers for longer than [`ANSWER_WITHIN`].

use futures::future::join_all;
use quorate_consensus::{HostId, TransportError};
use quorate_engine::VatId;
use quorate_protocol::codec;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

/// Stands in a frame where that of one vat has the vat's id. No vat has it: ids are hashes.
pub const MANY: [u8; 32] = [0; 32];
/// Heartbeats in one frame at most: their answers may carry proofs of elections.
pub const MOST: usize = 96;
/// Bytes of heartbeats in one frame at most.
const MOST_BYTES: usize = 48 << 10;
/// Between two frames to one host.
const PAUSE: Duration = Duration::from_millis(40);
/// How long a frame's answer waits for that of one vat.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// Heartbeats of several vats.
#[derive(Debug, Serialize, Deserialize)]
pub struct Beats(pub Vec<(VatId, Vec<u8>)>);

/// The answers to them, in order; an error says why there is none.
#[derive(Debug, Serialize, Deserialize)]
pub struct BeatReplies(pub Vec<Result<Vec<u8>, String>>);

type Answer = Result<Vec<u8>, TransportError>;

struct Waiting {
    vat: VatId,
    frame: Vec<u8>,
    reply: oneshot::Sender<Answer>,
}

#[derive(Default)]
struct Way {
    waiting: Vec<Waiting>,
    /// A task sends what waits, when the time has come.
    is_attended: bool,
    /// When the next frame may leave.
    next: Option<Instant>,
}

/// See the head of the module.
#[derive(Default)]
pub struct BeatGatherer(Mutex<BTreeMap<HostId, Way>>);

impl BeatGatherer {
    fn ways(&self) -> MutexGuard<'_, BTreeMap<HostId, Way>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a vat's heartbeat to a host, together with others. `send` takes a frame, and whether it is of several vats.
    pub async fn beat<S, F>(self: Arc<Self>, host: HostId, vat: VatId, frame: Vec<u8>, send: S) -> Answer
    where
        S: Fn(Vec<u8>) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let attends = {
            let mut ways = self.ways();
            let way = ways.entry(host).or_default();
            way.waiting.push(Waiting { vat, frame, reply });
            !std::mem::replace(&mut way.is_attended, true)
        };
        if attends {
            // Apart: the caller may give up.
            tokio::spawn(async move { self.attend(host, send).await });
        }
        answer.await.unwrap_or_else(|_| Err(TransportError::Lost("its frame was not sent".to_owned())))
    }

    async fn attend<S, F>(&self, host: HostId, send: S)
    where
        S: Fn(Vec<u8>) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let next = self.ways().get(&host).and_then(|way| way.next);
        if let Some(next) = next {
            sleep_until(next).await;
        }
        let waiting = {
            let mut ways = self.ways();
            let way = ways.entry(host).or_default();
            (way.is_attended, way.next) = (false, Some(Instant::now() + PAUSE));
            std::mem::take(&mut way.waiting)
        };
        join_all(in_frames(waiting).into_iter().map(|frame| send_frame(frame, &send))).await;
    }
}

/// Cuts what waits into frames.
fn in_frames(waiting: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    let mut frames: Vec<Vec<Waiting>> = Vec::new();
    let mut bytes = 0;
    for one in waiting {
        let size = one.frame.len() + MANY.len();
        match frames.last_mut() {
            Some(frame) if frame.len() < MOST && bytes + size <= MOST_BYTES => {
                frame.push(one);
                bytes += size;
            }
            _ => {
                frames.push(vec![one]);
                bytes = size;
            }
        }
    }
    frames
}

async fn send_frame<S, F>(mut frame: Vec<Waiting>, send: &S)
where
    S: Fn(Vec<u8>) -> F,
    F: Future<Output = Answer>,
{
    // The caller that waits for an answer may have given up.
    if frame.len() == 1 {
        let Some(one) = frame.pop() else { return };
        let _ = one.reply.send(send([&one.vat.0[..], &one.frame].concat()).await);
        return;
    }
    let beats = Beats(frame.iter_mut().map(|one| (one.vat, std::mem::take(&mut one.frame))).collect());
    let answer = send([&MANY[..], &codec::encode(&beats)].concat()).await;
    let replies = answer.and_then(|bytes| {
        let replies = codec::decode::<BeatReplies>(&bytes).map(|replies| replies.0);
        replies.map_err(|error| TransportError::Refused(error.to_string()))
    });
    match replies {
        Ok(replies) => {
            for (one, reply) in frame.into_iter().zip(replies) {
                let _ = one.reply.send(reply.map_err(TransportError::Refused));
            }
        }
        Err(error) => frame.into_iter().for_each(|one| drop(one.reply.send(Err(error.clone())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vat(number: u8) -> VatId {
        VatId([number; 32])
    }

    /// Answers each heartbeat by its own bytes turned around, and refuses that of vat 3.
    async fn answered(frame: Vec<u8>) -> Answer {
        let turned = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<u8>>();
        let (id, body) = frame.split_first_chunk::<32>().expect("an id");
        if *id != MANY {
            return Ok(turned(body));
        }
        let beats: Beats = codec::decode(body).expect("heartbeats");
        assert!(beats.0.len() <= MOST);
        let replies = beats.0.iter().map(|(of, body)| if *of == vat(3) { Err("no".into()) } else { Ok(turned(body)) });
        Ok(codec::encode(&BeatReplies(replies.collect())))
    }

    #[tokio::test(start_paused = true)]
    async fn each_heartbeat_gets_its_own_answer_in_few_frames() {
        let (gatherer, frames) = (Arc::new(BeatGatherer::default()), Arc::new(Mutex::new(0)));
        let (host, sent) = (HostId([1; 32]), frames.clone());
        let send = move |frame| {
            *sent.lock().expect("no panic holds it") += 1;
            answered(frame)
        };
        let beat = |number: u8| gatherer.clone().beat(host, vat(number), vec![number, 0], send.clone());
        assert_eq!(beat(1).await.expect("alone"), [0, 1]);
        let answers = join_all((0..250).map(beat)).await;
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(answer) => assert_eq!(answer, [0, number as u8]),
                Err(error) => assert_eq!((number, error.to_string().contains("no")), (3, true)),
            }
        }
        assert_eq!(*frames.lock().expect("no panic holds it"), 1 + 250_usize.div_ceil(MOST));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_is_lost_loses_all_that_are_in_it_and_no_other() {
        let gatherer = Arc::new(BeatGatherer::default());
        let lost = |_| std::future::ready(Err(TransportError::Timeout));
        let (one, other) = (HostId([1; 32]), HostId([2; 32]));
        let beats = (0..3).map(|number| gatherer.clone().beat(one, vat(number), vec![], lost));
        let (lost, kept) = tokio::join!(join_all(beats), gatherer.clone().beat(other, vat(9), vec![7], answered));
        assert!(lost.iter().all(|answer| matches!(answer, Err(TransportError::Timeout))));
        assert_eq!(kept.expect("answered"), [7]);
    }
}
