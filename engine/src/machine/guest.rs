//! The interface of the guest, which runs a vat's code.

use crate::abi::{Delivery, News};
use crate::error::EngineError;
use crate::heap::Crank;
use quorate_ids::{Hash, VatId};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One vat's code and data.
///
/// What the machine relies on: equal deliveries from equal states give equal cranks and equal states; a delivery that is not
/// `Done` leaves the state as it was; a promise that has settled goes on answering calls and being named in deliveries until
/// it is retired, but the guest does not name it in outputs; one that is held ([`Delivery::Hold`]) it does not name either; a
/// promise that it never heard of may be named to it at any time; when a promise settles that it never heard of, it only takes in
/// what is named in the settlement.
pub trait Guest: Send {
    type Manifest: GuestManifest;

    /// Runs one delivery. `news` is what the guest learns beside it, if the delivery is done. An error is a fault of the host.
    fn deliver(&mut self, delivery: &Delivery, news: &News) -> Result<Crank, EngineError>;

    /// Returns what the code would hand over to other code: a [`Delivery::HandOver`] that is undone, whatever comes of it. `None`: a guest that hands
    /// nothing over.
    fn hand_over(&mut self, _news: &News) -> Result<Option<Crank>, EngineError> {
        Ok(None)
    }

    /// A guest that nothing was delivered to, to take the place of this one: of the image with this hash, or of this one's. `None`: there can
    /// be none, or it could not take over.
    ///
    /// # Errors
    /// A fault of the host; the image is not here.
    fn successor(&self, _image: Option<&Hash>) -> Result<Option<Self>, EngineError>
    where
        Self: Sized,
    {
        Ok(None)
    }

    /// The state as of now, for a restore elsewhere.
    fn checkpoint(&mut self) -> Result<GuestCheckpoint<Self::Manifest>, EngineError>;

    /// Nothing will be delivered for a while: gives back memory that can be filled again. It changes nothing that can be observed.
    fn rest(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn memory_bytes(&self) -> u64;

    /// Says whose code and data it is, before the first delivery and after a restore.
    fn set_vat(&mut self, vat: &VatId);

    /// Returns how many bytes of memory it may have: a parameter of the vat. What peers make the vat keep is bounded by a share of it.
    fn memory_limit(&self) -> u64;
}

/// What stands for a guest's state in a manifest.
pub trait GuestManifest: Serialize + DeserializeOwned {
    /// Commits to the whole state.
    fn root(&self) -> Hash;

    /// Returns what must be fetched to restore it.
    fn chunks(&self) -> Vec<Hash>;
}

#[derive(Clone, Debug)]
pub struct GuestCheckpoint<M> {
    pub manifest: M,
    /// Chunks that no earlier checkpoint of this guest had.
    pub new_chunks: Vec<(Hash, Vec<u8>)>,
}
