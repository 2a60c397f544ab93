//! Engine images from other hosts: asks members of a vat for its image, and gives images to hosts that ask.
//!
//! Invariants: a fetched image is kept only if its hash is the one in the vat's genesis, so the sender need not be
//! trusted. A host asks for an image only because its owner had it carry a vat of that image. Images are public: anybody may
//! ask, and all requests share one budget of bytes.

pub mod wait;

use bytes::Bytes;
use quorate_consensus::Member;
use quorate_engine::{
    EngineError, Hash,
    image::{Images, MAX_IMAGE_BYTES},
};
use quorate_net::{Network, Purpose};
use quorate_protocol::{
    codec,
    wire::{DirectoryReply, DirectoryRequest},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Bytes of an image in one answer: half of a frame.
const PART_BYTES: usize = 512 << 10;
/// How long a host may take for one part.
const PART_DEADLINE: Duration = Duration::from_secs(20);
/// How often hosts that have nothing to give just now are asked again, and the pause before.
const ROUNDS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes that are given to all who ask, together: some images at once, and then so many a second.
const BURST_BYTES: u64 = 64 << 20;
const BYTES_PER_SECOND: u64 = 8 << 20;

/// Why an image could not be had from others.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no other host is known that has it")]
    Nobody,
    #[error("{name} did not give it: {why}")]
    Host { name: String, why: String },
}

/// The image with this hash, from the first of `members` that gives it.
///
/// # Errors
/// None of them does; the last one's reason.
pub async fn fetch(network: &Arc<dyn Network>, members: &[Member], hash: &Hash) -> Result<Vec<u8>, FetchError> {
    let others: Vec<&Member> = members.iter().filter(|member| member.key != network.local()).collect();
    let mut failure = FetchError::Nobody;
    for round in 0..ROUNDS {
        if round > 0 && !others.is_empty() {
            tokio::time::sleep(PAUSE).await;
        }
        for member in &others {
            network.hint_addresses(member.key, member.addresses.clone());
            match fetch_from(network, member, hash).await {
                Ok(wasm) => return Ok(wasm),
                Err(why) => failure = FetchError::Host { name: member.name.clone(), why },
            }
        }
    }
    Err(failure)
}

async fn fetch_from(network: &Arc<dyn Network>, member: &Member, hash: &Hash) -> Result<Vec<u8>, String> {
    let mut wasm = Vec::new();
    loop {
        let request = DirectoryRequest::Image { hash: *hash, offset: wasm.len() as u64 };
        let frame = Bytes::from(codec::encode(&request));
        let answer = network.request(member.key, Purpose::Directory, frame, PART_DEADLINE).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let (whole, bytes) = match codec::decode(&answer).map_err(|error| error.to_string())? {
            DirectoryReply::ImagePart { whole, bytes } => (whole, bytes),
            DirectoryReply::Unknown => return Err("it does not have this image".to_owned()),
            DirectoryReply::Busy => return Err("it has given much to others just now".to_owned()),
            DirectoryReply::Known { .. }
            | DirectoryReply::Alive
            | DirectoryReply::Read(_)
            | DirectoryReply::Addresses(_) => {
                return Err("it answers something else".to_owned());
            }
        };
        let so_far = wasm.len() as u64 + bytes.len() as u64;
        if whole > MAX_IMAGE_BYTES || so_far > whole || bytes.is_empty() {
            return Err("what it gives is no image".to_owned());
        }
        wasm.extend_from_slice(&bytes);
        if so_far == whole {
            break;
        }
    }
    if Hash::of_parts(&[&wasm]) == *hash { Ok(wasm) } else { Err("it gives something else".to_owned()) }
}

/// The images of a host, and how much of them it may still give away.
pub struct HostImages {
    images: Arc<Images>,
    /// Bytes that may be given at that instant.
    budget: Mutex<(u64, Instant)>,
}

impl HostImages {
    /// Gives parts of `images` to others.
    pub fn new(images: Arc<Images>) -> HostImages {
        HostImages { images, budget: Mutex::new((BURST_BYTES, Instant::now())) }
    }

    /// The images themselves.
    pub fn images(&self) -> &Arc<Images> {
        &self.images
    }

    /// Answers a host that wants the part of an image from `offset` on.
    pub async fn give(&self, hash: Hash, offset: u64) -> Result<DirectoryReply, String> {
        if !self.take(PART_BYTES as u64) {
            return Ok(DirectoryReply::Busy);
        }
        let images = self.images.clone();
        let part = tokio::task::spawn_blocking(move || images.part(&hash, offset, PART_BYTES)).await;
        let part = part.map_err(|error| error.to_string())?;
        match part.map_err(|error: EngineError| error.to_string())? {
            Some((whole, bytes)) => Ok(DirectoryReply::ImagePart { whole, bytes }),
            None => Ok(DirectoryReply::Unknown),
        }
    }

    fn take(&self, bytes: u64) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = (now - budget.1).as_millis().saturating_mul(u128::from(BYTES_PER_SECOND)) / 1_000;
        let have = u128::from(budget.0).saturating_add(earned).min(u128::from(BURST_BYTES)) as u64;
        let given = have >= bytes;
        *budget = (if given { have - bytes } else { have }, now);
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::BoxFuture;
    use quorate_consensus::HostId;
    use quorate_net::{Handler, MemoryNetwork};

    /// How a host answers who asks for an image.
    #[derive(Clone)]
    enum Manner {
        /// Gives these bytes in parts of so many.
        Gives(Vec<u8>, usize),
        /// Says that the image has so many bytes, and gives one at a time.
        Boasts(u64),
        /// Gives nothing, and says that there is more.
        Stalls,
        Busy,
    }

    struct Giver(Manner);

    impl Handler for Giver {
        fn permits(&self, _from: HostId, purpose: Purpose) -> bool {
            purpose == Purpose::Directory
        }

        fn handle(&self, _from: HostId, _purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
            let DirectoryRequest::Image { offset, .. } = codec::decode(&frame).expect("a request") else {
                panic!("another request")
            };
            let reply = match &self.0 {
                Manner::Gives(wasm, part) => {
                    let bytes = wasm.iter().skip(offset as usize).take(*part).copied().collect();
                    DirectoryReply::ImagePart { whole: wasm.len() as u64, bytes }
                }
                Manner::Boasts(whole) => DirectoryReply::ImagePart { whole: *whole, bytes: vec![0] },
                Manner::Stalls => DirectoryReply::ImagePart { whole: 10, bytes: Vec::new() },
                Manner::Busy => DirectoryReply::Busy,
            };
            Box::pin(async move { Ok(codec::encode(&reply).into()) })
        }
    }

    fn member(number: u8) -> Member {
        Member { key: HostId([number; 32]), name: format!("m{number}"), addresses: vec![format!("/memory/{number}")] }
    }

    async fn fetched(manners: &[Manner], wanted: &[u8]) -> Result<Vec<u8>, FetchError> {
        let hub = MemoryNetwork::new(5);
        let mut members = vec![member(1)];
        let mut alive = Vec::new();
        for (number, manner) in (2..).zip(manners) {
            members.push(member(number));
            alive.push(hub.join(HostId([number; 32]), Arc::new(Giver(manner.clone()))));
        }
        let own: Arc<dyn Network> = hub.join(HostId([1; 32]), Arc::new(Giver(Manner::Busy)));
        fetch(&own, &members, &Hash::of_parts(&[wanted])).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_comes_from_the_first_that_gives_the_right_one_whatever_others_give() {
        let wasm: Vec<u8> = (0..200_000u32).map(|byte| byte as u8).collect();
        let mut false_one = wasm.clone();
        false_one[7] ^= 1;
        let liars = [
            Manner::Gives(false_one, 1 << 16),
            Manner::Boasts(u64::MAX),
            Manner::Boasts(1),
            Manner::Stalls,
            Manner::Busy,
        ];
        let mut all = liars.to_vec();
        all.push(Manner::Gives(wasm.clone(), 1 << 16));
        assert_eq!(fetched(&all, &wasm).await.expect("one gives it"), wasm);
        for liar in liars {
            let error = fetched(&[liar], &wasm).await.expect_err("nobody gives it").to_string();
            assert!(error.starts_with("m2 did not give it: "), "{error}");
        }
        assert!(matches!(fetched(&[], &wasm).await, Err(FetchError::Nobody)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_away_is_bounded_however_many_ask() {
        let images = HostImages::new(Arc::new(Images::open("/nowhere".into(), "/nowhere".into())));
        let own = quorate_engine::image::image_hash();
        let mut given = 0;
        while let DirectoryReply::ImagePart { bytes, .. } = images.give(own, 0).await.expect("readable") {
            assert_eq!(bytes.len(), PART_BYTES);
            given += 1;
        }
        assert_eq!(given, BURST_BYTES / PART_BYTES as u64);
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut again = 0;
        while matches!(images.give(own, 0).await, Ok(DirectoryReply::ImagePart { .. })) {
            again += 1;
        }
        assert_eq!(again, BYTES_PER_SECOND / PART_BYTES as u64);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(images.give(Hash([9; 32]), 0).await, Ok(DirectoryReply::Unknown));
        assert!(matches!(
            images.give(own, u64::MAX).await,
            Ok(DirectoryReply::ImagePart { bytes, .. }) if bytes.is_empty()
        ));
    }
}
