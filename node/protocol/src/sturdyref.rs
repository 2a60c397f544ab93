//! Sturdyrefs: references that outlive a session, as text.
//!
//! `vat://<VatId>/<object>` names an object for a grantee vat (the authority is in the home vat's table).
//! `vat://<VatId>/<object>#<seed>` is a bearer: every holder of the text may redeem it. The seed makes an Ed25519 key pair, of
//! which the vat holds only the public half. Redeeming is a signature over the redeeming vat's own id, so bytes captured from the
//! network are useless to others.

use ed25519_dalek::{Signer, SigningKey};
use quorate_ids::VatId;
use quorate_streams::wire::redeem_payload;
use std::{fmt, str::FromStr};

/// The number of a vat's root object.
pub const ROOT_OBJECT: u64 = 0;

/// A parsed sturdyref. `Debug` and `Display` of a bearer differ on purpose: only `Display` shows the seed.
#[derive(Clone, PartialEq, Eq)]
pub struct Sturdyref {
    /// The vat where the object lives.
    pub vat: VatId,
    /// Which of its objects; [`ROOT_OBJECT`] is written `root`.
    pub object: u64,
    seed: Option<[u8; 32]>,
}

/// A proof that its maker holds a bearer's seed, good for one grantee vat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// The public half of the bearer's key pair.
    pub bearer: [u8; 32],
    /// Ed25519 over [`redeem_payload`].
    pub signature: Vec<u8>,
}

/// Why a text is no sturdyref.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a sturdyref: {why}; expected vat://<64 hex digits>/root or vat://<64 hex digits>/root#<64 hex digits>"
)]
pub struct SturdyrefError {
    text: String,
    why: &'static str,
}

impl Sturdyref {
    /// A reference for a grantee.
    pub fn grantee(vat: VatId, object: u64) -> Self {
        Sturdyref { vat, object, seed: None }
    }

    /// A bearer with the given secret seed.
    pub fn bearer(vat: VatId, object: u64, seed: [u8; 32]) -> Self {
        Sturdyref { vat, object, seed: Some(seed) }
    }

    /// Returns whether the text alone gives authority.
    pub fn is_bearer(&self) -> bool {
        self.seed.is_some()
    }

    /// The public half of a bearer's key pair: what the vat holds.
    pub fn bearer_key(&self) -> Option<[u8; 32]> {
        self.seed.map(|seed| SigningKey::from_bytes(&seed).verifying_key().to_bytes())
    }

    /// Proves to the home vat that the holder of this bearer wants `grantee` to have the object. `None` if it is no bearer.
    pub fn redeem_for(&self, grantee: &VatId) -> Option<Redemption> {
        let key = SigningKey::from_bytes(&self.seed?);
        let payload = redeem_payload(&self.vat, grantee, self.object);
        Some(Redemption { bearer: key.verifying_key().to_bytes(), signature: key.sign(&payload).to_bytes().to_vec() })
    }
}

impl fmt::Display for Sturdyref {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "vat://{}/", self.vat)?;
        match self.object {
            ROOT_OBJECT => out.write_str("root")?,
            other => write!(out, "{other}")?,
        }
        self.seed.map_or(Ok(()), |seed| write!(out, "#{}", hex::encode(seed)))
    }
}

impl fmt::Debug for Sturdyref {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}{}",
            Sturdyref { seed: None, ..self.clone() },
            if self.seed.is_some() { "#(secret)" } else { "" }
        )
    }
}

impl FromStr for Sturdyref {
    type Err = SturdyrefError;

    fn from_str(text: &str) -> Result<Self, SturdyrefError> {
        let shown = text.split('#').next().unwrap_or_default().to_owned();
        let fail = |why| SturdyrefError { text: shown.clone(), why };
        let rest = text.trim().strip_prefix("vat://").ok_or_else(|| fail("it does not begin with vat://"))?;
        let (vat, rest) = rest.split_once('/').ok_or_else(|| fail("it names no object"))?;
        let vat = vat.parse().map_err(|_| fail("the vat's id is not 64 hex digits"))?;
        let (object, seed) = match rest.split_once('#') {
            Some((object, seed)) => (object, Some(seed)),
            None => (rest, None),
        };
        let object = match object {
            "root" => ROOT_OBJECT,
            number => number.parse().map_err(|_| fail("the object is neither `root` nor a number"))?,
        };
        let seed = seed.map(|seed| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(seed, &mut bytes).map(|()| bytes).map_err(|_| fail("the seed is not 64 hex digits"))
        });
        Ok(Sturdyref { vat, object, seed: seed.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_round_trip() {
        let vat = VatId([7; 32]);
        for sturdyref in [Sturdyref::grantee(vat, 0), Sturdyref::grantee(vat, 12), Sturdyref::bearer(vat, 0, [9; 32])] {
            assert_eq!(sturdyref.to_string().parse::<Sturdyref>(), Ok(sturdyref));
        }
    }

    #[test]
    fn debug_and_errors_never_show_a_seed() {
        let seed = hex::encode([9; 32]);
        let bearer = Sturdyref::bearer(VatId([7; 32]), 0, [9; 32]);
        assert!(bearer.to_string().contains(&seed));
        assert!(!format!("{bearer:?}").contains(&seed));
        let broken = format!("vat://77/root#{seed}").parse::<Sturdyref>().expect_err("the id is short");
        assert!(!broken.to_string().contains(&seed));
    }

    #[test]
    fn every_mistake_is_named() {
        let id = "07".repeat(32);
        let cases = [
            ("http://x/root".to_owned(), "does not begin with vat://"),
            (format!("vat://{id}"), "names no object"),
            ("vat://zz/root".to_owned(), "not 64 hex digits"),
            (format!("vat://{id}/leaf"), "neither `root` nor a number"),
            (format!("vat://{id}/root#12"), "seed is not 64 hex digits"),
        ];
        for (text, why) in cases {
            let error = text.parse::<Sturdyref>().expect_err(&text).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
