//! Errors that a test plants, to see that the check of the handoff finds them. Compiled into unit tests only.

use std::cell::Cell;

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// The deposit of a settlement is said with the settlement.
    DepositAtOnce,
    /// The same, but only if no call to the promise was seen.
    DepositIfNoCallSeen,
    /// A promise that comes home settles at once.
    NoRelease,
    /// The same, but only if its knower sent nothing to it.
    NoReleaseIfNothingSent,
    /// An acknowledgement counts before all messages that its head speaks of are there.
    AckWithoutEnd,
    /// A settled promise pins nothing until it is retired.
    NoPin,
    /// A drop takes away all that was sent.
    DropWithoutCounts,
    /// Those who wait for a promise are told when it comes home, not when it is released.
    TellBeforeRelease,
    /// A gift in a delivery that the guest does not take in is not withdrawn.
    WithdrawnByGuest,
    /// A gift is settled to data.
    SettledToData,
    /// An acknowledgement that comes with no messages is lost, and is not said again.
    BareAcksLost,
}

impl Plant {
    pub const ALL: [Plant; 11] = [
        Plant::DepositAtOnce,
        Plant::DepositIfNoCallSeen,
        Plant::NoRelease,
        Plant::NoReleaseIfNothingSent,
        Plant::AckWithoutEnd,
        Plant::NoPin,
        Plant::DropWithoutCounts,
        Plant::TellBeforeRelease,
        Plant::BareAcksLost,
        Plant::WithdrawnByGuest,
        Plant::SettledToData,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// Whether this error is planted in this thread.
pub fn is(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// Takes the error out again.
pub struct Planted;

impl Drop for Planted {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

/// Plants an error in this thread until what this gives is dropped.
pub fn plant(plant: Plant) -> Planted {
    PLANTED.set(Some(plant));
    Planted
}
