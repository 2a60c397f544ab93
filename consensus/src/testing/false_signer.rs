//! See [`FalseSigner`].

use ed25519_dalek::SigningKey;
use std::sync::Arc;

use crate::codec;
use crate::proof::certificate::{MemberSignature, Statement};
use crate::proof::shares::Share;
use crate::replica::wire::share::{ShareFrame, ShareReply};
use crate::transport::Channel;
use quorate_ids::HostId;

/// What a false signer makes of a statement.
pub type Alter = Arc<dyn Fn(&mut Statement) + Send + Sync>;

/// A member that signs other statements than its replica computed: the same ones towards everybody whose frames pass through here.
/// Its replica signs what is right, too, so nothing that holds such a signature may leave it by another way.
#[derive(Clone)]
pub struct FalseSigner {
    key: SigningKey,
    alter: Alter,
}

impl FalseSigner {
    /// The member with this key; `alter` makes the statement that it signs of the one that its replica signed.
    pub fn new(key: SigningKey, alter: Alter) -> FalseSigner {
        FalseSigner { key, alter }
    }

    /// Returns what leaves instead of a request of its replica.
    pub fn request(&self, channel: Channel, frame: Vec<u8>) -> Vec<u8> {
        if channel != Channel::Share {
            return frame;
        }
        match codec::decode(&frame) {
            Ok(ShareFrame::Push(shares)) => codec::encode(&ShareFrame::Push(self.all_otherwise(shares))),
            _ => frame,
        }
    }

    /// Returns what leaves instead of its replica's answer.
    pub fn answer(&self, channel: Channel, answer: Vec<u8>) -> Vec<u8> {
        if channel != Channel::Share {
            return answer;
        }
        let Ok(mut reply) = codec::decode::<ShareReply>(&answer) else { return answer };
        let own = HostId(self.key.verifying_key().to_bytes());
        reply.shares = self.all_otherwise(reply.shares);
        // With its true signature in it, a certificate would tell on it.
        reply.certificates.retain(|certificate| certificate.signatures.iter().all(|signature| signature.key != own));
        codec::encode(&reply)
    }

    fn all_otherwise(&self, shares: Vec<Share>) -> Vec<Share> {
        shares.into_iter().map(|share| self.otherwise(share)).collect()
    }

    fn otherwise(&self, share: Share) -> Share {
        let Share::Statement(mut statement, _) = share else { return share };
        (self.alter)(&mut statement);
        let signature = MemberSignature::sign(&self.key, &statement.payload());
        Share::Statement(statement, signature)
    }
}
