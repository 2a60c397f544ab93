//! Reasons why a client has no answer, and why a member refuses its messages.

use quorate_courier::lookup::NotFound;
use quorate_ids::VatId;
use quorate_net::NetError;

/// Why a client has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the network could not be started: {0}")]
    Network(#[from] NetError),
    #[error("none of the hosts asked knows vat {0}; nothing was sent. Name a host that carries it: --at CARD")]
    Unknown(VatId),
    #[error("no host that knows the vat could be reached ({0}); nothing was sent, so the call can be made again")]
    NotSent(String),
    #[error("the call can't be made: {0}")]
    Call(String),
    #[error("no answer in {0} s; the call may still take effect")]
    Deadline(f64),
    #[error("the vat's members refuse the call: {0}; it was not done")]
    Refused(String),
    #[error("{}; the call was not done", no_code(.0.as_deref()))]
    NoCode(Option<String>),
    #[error("a reference to an object of vat {0} can't be passed: {1}; the call was not made")]
    NotLent(VatId, String),
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

fn no_code(failure: Option<&str>) -> String {
    match failure {
        Some(why) => {
            format!(
                "the vat's code did not start: {why}; correct it, then `vat install VAT FILE` (a testnet: make it anew)"
            )
        }
        None => "the vat has no code yet; `vat install VAT FILE` gives it one".to_owned(),
    }
}

impl ClientError {
    pub(super) fn not_found(why: NotFound, vat: VatId) -> ClientError {
        match why {
            NotFound::Unknown => ClientError::Unknown(vat),
            NotFound::Down(why) | NotFound::Silent(why) => ClientError::NotSent(why),
        }
    }
}

/// Why a member does not take what this client says.
#[derive(Clone, Debug)]
pub(super) enum Denial {
    Refused(String),
    NoCode(Option<String>),
}

impl From<Denial> for ClientError {
    fn from(denial: Denial) -> ClientError {
        match denial {
            Denial::Refused(why) => ClientError::Refused(why),
            Denial::NoCode(failure) => ClientError::NoCode(failure),
        }
    }
}
