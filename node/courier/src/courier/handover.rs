//! Hands one slice to one of a vat's members: to the first, and to the next ones too while the earlier ones stay
//! silent (RFC 8305).
//!
//! A vat may take seconds to receive a slice, so silence alone means nothing. The courier pings a host that is late with its answer,
//! and tries the next one only if the ping is not answered either. The same slice at two members does no harm: the vat
//! skips messages that it has.

use super::NotHandedOver;
use crate::lookup::STAGGER;
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use quorate_net::{HostId, NetError, Network, Purpose};
use quorate_protocol::{
    codec,
    wire::{DirectoryRequest, SliceReply},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The longest that a host on a slow line is given before it counts as silent.
const PACE_LAST: Duration = Duration::from_secs(2);

/// A slice and those who may take it.
pub(super) struct Handover {
    pub network: Arc<dyn Network>,
    /// The members in the order in which they are tried, with their addresses.
    pub order: Vec<(HostId, Vec<String>)>,
    pub frame: Bytes,
    /// How long one member may take to answer.
    pub deadline: Duration,
    /// How long answers took lately.
    pub pace: Duration,
    /// Whether the first one gave such an answer: then it is asked whether it is there only when it is late.
    pub answered_lately: bool,
}

/// What came of it.
pub(super) struct Handed {
    /// The member that answered, or the last one that failed.
    pub to: HostId,
    /// Members of which nothing was heard.
    pub silent: Vec<HostId>,
    /// How long the answer took.
    pub took: Duration,
    pub reply: Result<SliceReply, NotHandedOver>,
}

impl Handover {
    /// Runs until one member has answered or all have failed. There is at least one.
    pub(super) async fn run(self) -> Handed {
        let mut rest = self.order.iter();
        let mut under_way = FuturesUnordered::new();
        let mut silent: Vec<HostId> = Vec::new();
        let mut failed: Option<(HostId, NotHandedOver)> = None;
        let mut answered_lately = self.answered_lately;
        let began = Instant::now();
        loop {
            let next = rest.next();
            let watched = next.map(|(host, addresses)| {
                // A hint only: these addresses are what another vat says of its members.
                if !addresses.is_empty() {
                    self.network.hint_addresses(*host, addresses.clone());
                }
                let request = self.network.request(*host, Purpose::Slice, self.frame.clone(), self.deadline);
                under_way.push(async move { (*host, answer_of(request.await)) });
                *host
            });
            // Only the first one is known to have answered lately.
            let lately = std::mem::take(&mut answered_lately);
            let silence = async {
                match watched {
                    Some(host) => self.silence_of(host, lately).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(silence);
            loop {
                tokio::select! {
                    biased;
                    answered = under_way.next() => {
                        let Some((host, answer)) = answered else {
                            // All have failed.
                            let (to, why) = failed.unwrap_or((self.network.local(), NotHandedOver::nobody()));
                            return Handed { to, silent, took: began.elapsed(), reply: Err(why) };
                        };
                        match answer {
                            Ok(reply) => {
                                silent.retain(|other| *other != host);
                                return Handed { to: host, silent, took: began.elapsed(), reply: Ok(reply) };
                            }
                            Err(why) => {
                                let unconnected = failed.as_ref().is_none_or(|(_, before)| before.unconnected);
                                failed = Some((host, NotHandedOver { unconnected: unconnected && why.unconnected, ..why }));
                                if watched.is_some_and(|watched| watched == host) {
                                    break;
                                }
                            }
                        }
                    }
                    () = &mut silence => {
                        silent.extend(watched);
                        break;
                    }
                }
            }
        }
    }

    /// Ends when nothing was heard of a host that should have been; never, if it shows that it is there.
    async fn silence_of(&self, host: HostId, answered_lately: bool) {
        let wait = self.pace.clamp(STAGGER, PACE_LAST);
        if answered_lately {
            tokio::time::sleep(wait).await;
        }
        let until = Instant::now() + wait;
        let question = Bytes::from(codec::encode(&DirectoryRequest::Alive));
        let answer = self.network.request(host, Purpose::Directory, question, wait).await;
        if matches!(answer, Ok(_) | Err(NetError::Refused(_) | NetError::Unavailable(_) | NetError::Forbidden { .. })) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(until).await;
    }
}

fn answer_of(answer: Result<Bytes, NetError>) -> Result<SliceReply, NotHandedOver> {
    match answer {
        Ok(bytes) => codec::decode::<SliceReply>(&bytes).map_err(|error| NotHandedOver {
            why: error.to_string(),
            unconnected: false,
            unsent: false,
        }),
        Err(error) => {
            let unconnected = matches!(error, NetError::Unreachable { .. });
            let unsent = unconnected
                || matches!(
                    error,
                    NetError::Overloaded { .. } | NetError::TooLarge { .. } | NetError::Forbidden { .. }
                );
            Err(NotHandedOver { why: error.to_string(), unconnected, unsent })
        }
    }
}
