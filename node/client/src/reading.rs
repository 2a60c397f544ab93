//! Reading what a vat publishes: a question to its members, whose answer proves itself. Nothing is ordered, and nobody becomes known to the vat.
//!
//! Any member's answer will do, if it is proven: what it says was published after some block that the members have certified. A member that
//! lies, or is behind, can show an old block. A reader bounds that by a block that the answer must not be older than, or asks for what is
//! current: then a threshold of the members of the newest epoch have to answer, each by all that its log held when it was asked, and the
//! newest answer counts. One of them at least is honest and had a part in each certificate that there was before.
//!
//! Invariants: no value is returned that the members' signatures do not prove; of what is current, no answer is counted of a member that
//! knows of an epoch which the reader does not know; one host's lies keep nobody from reading, if the others answer.

use super::{ClientError, Known, start_network};
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use quorate_courier::lookup::{STAGGER, members_and_block};
use quorate_ids::VatId;
use quorate_net::{Network, Purpose};
use quorate_proof::{HostId, Introduction, Member, Membership, Signers};
use quorate_protocol::{
    codec,
    published::Reading,
    wire::{DirectoryReply, DirectoryRequest, ReadReply, ReadRequest},
};
use quorate_streams::abi::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How long one member may take. Above the time for which it waits for a certificate.
const HOST_DEADLINE: Duration = Duration::from_secs(3);
/// A reader asks again after such a pause, and after twice as long each time, up to the last.
const AGAIN_FIRST: Duration = Duration::from_millis(50);
const AGAIN_LAST: Duration = Duration::from_secs(1);

/// How new an answer has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Of this block or a later one.
    pub at_least: u64,
    /// Nothing that was certified before the question is missing in it: the read is linearizable.
    pub current: bool,
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadAnswer {
    /// What is published; `None`: nothing.
    pub value: Option<Value>,
    /// What proves it.
    pub reading: Reading,
    /// The newest membership that the reader knows.
    pub membership: Membership,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("no answer of a member is proven; {host} says something else than the members have signed: {why}")]
    NotProven { host: String, why: String },
    #[error("no member shows a certificate that is new enough ({why}); the newest is of {}", shown_block(*newest))]
    NotYet { newest: Option<u64>, why: String },
    #[error(
        "{answered} of the {needed} members have answered whose word is needed to say what is current; {why}; without --linearizable one will do"
    )]
    TooFew { answered: usize, needed: usize, why: String },
    #[error("no member answers: {0}")]
    Silent(String),
}

fn shown_block(block: Option<u64>) -> String {
    block.map_or_else(|| "no block at all".to_owned(), |block| format!("block {block}"))
}

/// Reads what one vat publishes.
pub struct Reader {
    network: Arc<dyn Network>,
    vat: VatId,
    introduction: Introduction,
    membership: Membership,
    signers: BTreeMap<u64, Signers>,
    /// The member to ask first.
    first: Option<HostId>,
    /// Hosts beside the members that may know who these are.
    hosts: Vec<Member>,
    /// A block that the vat has reached, as far as this reader knows.
    block: u64,
}

/// How one round of questions ended without an answer.
enum Ended {
    /// A member says that the vat is in a later epoch.
    LaterEpoch(HostId),
    Failed(ReadError),
}

/// What is read in one round.
struct Round<'a> {
    request: &'a ReadRequest,
    /// So many members must answer.
    needed: usize,
    /// Members whose later epoch nobody can prove.
    doubted: &'a BTreeSet<HostId>,
    until: Instant,
}

impl Reader {
    /// Finds the vat by these hosts, under a key of the reader's own; by what is remembered of it, without asking anybody.
    ///
    /// # Errors
    /// Nobody knows the vat, or none of the hosts can be reached.
    pub async fn start(
        vat: VatId,
        hosts: &[Member],
        known: Option<Known>,
        until: Instant,
    ) -> Result<Reader, ClientError> {
        let (_, network, _) = start_network().await?;
        let (introduction, first, block) = match known {
            Some(known) => (known.introduction, known.first, known.block),
            None => match members_and_block(&network, hosts, &vat, until).await {
                Ok((found, block)) => (found.introduction, Some(found.by), block),
                Err(why) => {
                    network.shutdown().await;
                    return Err(ClientError::not_found(why, vat));
                }
            },
        };
        let reader = Reader::over(network, introduction, first).ok_or(ClientError::Unknown(vat))?;
        Ok(Reader { hosts: hosts.to_vec(), block, ..reader })
    }

    /// A reader over a network that is there; nothing if the introduction proves nothing.
    pub fn over(network: Arc<dyn Network>, introduction: Introduction, first: Option<HostId>) -> Option<Reader> {
        let (membership, signers) = epochs(&introduction)?;
        Some(Reader {
            network,
            vat: introduction.vat_id(),
            introduction,
            membership,
            signers,
            first,
            hosts: Vec::new(),
            block: 0,
        })
    }

    /// Returns what is worth remembering of the vat.
    pub fn known(&self) -> Known {
        Known {
            introduction: self.introduction.clone(),
            block: self.block,
            first: self.first,
            silent: None,
            took_ms: None,
        }
    }

    /// Reads what is published under a name. Members are asked again until `until`, as long as that can help.
    ///
    /// # Errors
    /// Nothing that is proven and new enough has come.
    pub async fn read(&mut self, name: &str, wanted: Freshness, until: Instant) -> Result<ReadAnswer, ReadError> {
        let Freshness { at_least, current } = wanted;
        let request = ReadRequest { vat: self.vat, name: name.to_owned(), at_least, current };
        let mut doubted = BTreeSet::new();
        let mut pause = AGAIN_FIRST;
        let mut failure: Option<ReadError> = None;
        loop {
            let needed = if current { usize::from(self.membership.threshold) } else { 1 };
            let round = Round { request: &request, needed, doubted: &doubted, until };
            let error = match self.round(round).await {
                Ok((reading, value)) => {
                    self.block = self.block.max(reading.block());
                    return Ok(ReadAnswer { value, reading, membership: self.membership.clone() });
                }
                Err(Ended::LaterEpoch(by)) => {
                    if !self.learn_epoch(by, until).await {
                        doubted.insert(by);
                    }
                    if Instant::now() < until {
                        continue;
                    }
                    ReadError::Silent("the time is over".to_owned())
                }
                Err(Ended::Failed(error)) => error,
            };
            let error = match failure.take() {
                Some(before) => worse(before, error),
                None => error,
            };
            if Instant::now() + pause >= until {
                return Err(error);
            }
            failure = Some(error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_LAST);
            // Members may have been replaced since.
            let first = self.first.unwrap_or_else(|| self.network.local());
            self.learn_epoch(first, until).await;
        }
    }

    /// Ends the reader.
    pub async fn close(self) {
        self.network.shutdown().await;
    }

    /// Asks who the members are, `by` first. Returns whether that is news.
    async fn learn_epoch(&mut self, by: HostId, until: Instant) -> bool {
        let is_other = |host: &&Member| !self.membership.contains(&host.key);
        let mut hosts = self.membership.members.clone();
        hosts.extend(self.hosts.iter().filter(is_other).cloned());
        hosts.sort_by_key(|member| member.key != by);
        let until = until.min(Instant::now() + HOST_DEADLINE);
        let Ok((found, _)) = members_and_block(&self.network, &hosts, &self.vat, until).await else { return false };
        let Some((membership, signers)) = epochs(&found.introduction) else { return false };
        if membership.epoch <= self.membership.epoch {
            return false;
        }
        (self.introduction, self.membership, self.signers) = (found.introduction, membership, signers);
        true
    }

    /// Asks the members, all at once or one after the other, until enough have given a good answer.
    async fn round(&mut self, round: Round<'_>) -> Result<(Reading, Option<Value>), Ended> {
        let Round { request, needed, doubted, until } = round;
        let frame = Bytes::from(codec::encode(&DirectoryRequest::Read(request.clone())));
        let mut members = self.membership.members.clone();
        members.sort_by_key(|member| self.first != Some(member.key));
        let mut waiting = members.iter();
        let stagger = if request.current { Duration::ZERO } else { STAGGER };
        let mut next_at = Instant::now();
        let mut asked = FuturesUnordered::new();
        let mut best: Option<(Reading, Option<Value>)> = None;
        let mut answered = 0;
        let mut failure = ReadError::Silent("it has none".to_owned());
        loop {
            while next_at <= Instant::now() {
                let Some(member) = waiting.next() else { break };
                self.network.hint_addresses(member.key, member.addresses.clone());
                let deadline = HOST_DEADLINE.min(until.saturating_duration_since(Instant::now()));
                let answer = self.network.request(member.key, Purpose::Directory, frame.clone(), deadline);
                asked.push(async move { (member, answer.await) });
                next_at += stagger;
            }
            if asked.is_empty() && waiting.len() == 0 {
                break;
            }
            let more = waiting.len() > 0;
            let (member, answer) = tokio::select! {
                biased;
                Some(answered) = asked.next() => answered,
                () = tokio::time::sleep_until(next_at), if more => continue,
            };
            // Where it has not answered, there is nothing to wait for.
            next_at = Instant::now();
            let answer = answer.map_err(|error| ReadError::Silent(error.to_string()));
            match answer.and_then(|answer| self.check(member, request, &answer)) {
                Ok((reading, epoch)) => {
                    let statement_epoch = reading.0.certificate.statement.epoch;
                    let knows_later = request.current && epoch > self.membership.epoch;
                    if knows_later || statement_epoch > self.membership.epoch {
                        if !doubted.contains(&member.key) {
                            return Err(Ended::LaterEpoch(member.key));
                        }
                        continue;
                    }
                    answered += 1;
                    if best.as_ref().is_none_or(|(known, _)| known.block() < reading.0.block()) {
                        best = Some(reading);
                    }
                    if answered >= needed {
                        self.first = Some(member.key);
                        return best.ok_or(Ended::Failed(failure));
                    }
                }
                Err(error) => failure = worse(failure, error),
            }
        }
        let why = failure.to_string();
        Err(Ended::Failed(if request.current { ReadError::TooFew { answered, needed, why } } else { failure }))
    }

    /// Returns what a member's answer proves, and the epoch of which it says that it is.
    fn check(
        &self,
        member: &Member,
        request: &ReadRequest,
        answer: &[u8],
    ) -> Result<((Reading, Option<Value>), u64), ReadError> {
        let not_proven = |why: String| ReadError::NotProven { host: member.name.clone(), why };
        let reply = codec::decode(answer).map_err(|error| not_proven(error.to_string()))?;
        let (reading, epoch) = match reply {
            DirectoryReply::Read(ReadReply::Reading { reading, epoch }) => (*reading, epoch),
            DirectoryReply::Read(ReadReply::NotYet { block, why }) => {
                return Err(ReadError::NotYet { newest: block, why });
            }
            DirectoryReply::Unknown => {
                return Err(ReadError::Silent(format!("{} does not carry the vat", member.name)));
            }
            DirectoryReply::Busy => return Err(ReadError::Silent(format!("{} is starting", member.name))),
            _ => return Err(not_proven("it is the answer to another question".to_owned())),
        };
        let statement = &reading.certificate.statement;
        if statement.epoch > self.membership.epoch {
            // A reader that knows the members of that epoch can check it.
            return Ok(((reading, None), epoch));
        }
        let signers = self.signers.get(&statement.epoch);
        let signers = signers.ok_or_else(|| not_proven(format!("there is no epoch {}", statement.epoch)))?;
        let value = reading.verify(&self.vat, &request.name, signers).map_err(|error| not_proven(error.to_string()))?;
        if reading.block() < request.at_least {
            return Err(not_proven(format!("it is of block {}, which is older than was asked for", reading.block())));
        }
        Ok(((reading, value), epoch))
    }
}

/// Of two reasons the one that says more.
fn worse(one: ReadError, other: ReadError) -> ReadError {
    let weight = |error: &ReadError| match error {
        ReadError::NotProven { .. } => 2,
        ReadError::NotYet { .. } | ReadError::TooFew { .. } => 1,
        ReadError::Client(_) | ReadError::Silent(_) => 0,
    };
    if weight(&one) > weight(&other) { one } else { other }
}

/// The newest membership, and who signs in each epoch.
fn epochs(introduction: &Introduction) -> Option<(Membership, BTreeMap<u64, Signers>)> {
    let newest = introduction.verify().ok()?;
    let later = introduction.chain.iter().map(|next| Signers::from(&next.membership));
    let first = Signers::from(&introduction.genesis.membership());
    let signers = std::iter::once(first).chain(later).map(|signers| (signers.epoch, signers)).collect();
    Some((newest, signers))
}

#[cfg(test)]
mod tests;
