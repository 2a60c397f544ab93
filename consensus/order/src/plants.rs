//! Errors that a test plants, to see that the check by machine finds them. Compiled into unit tests only.

#[cfg(test)]
macro_rules! planted {
    ($plant:ident) => {
        $crate::plants::is($crate::plants::Plant::$plant)
    };
}
#[cfg(not(test))]
macro_rules! planted {
    ($plant:ident) => {
        false
    };
}

#[cfg(test)]
pub(crate) use tests_only::*;

#[cfg(test)]
mod tests_only {
    use std::cell::Cell;

    /// A rule that is broken.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Plant {
        /// An acknowledgement carries the entry's term, and old entries are acknowledged, too (C1).
        AckEntryTerm,
        /// Entries of older terms are acknowledged in the present one (C1, Raft's Figure 8).
        AckOlderEntries,
        /// Within a term a member gives up what it took in that term (C2).
        NoFreeze,
        /// What was staged stays when the log was replaced by other entries of that term (C2).
        StageOutlives,
        /// A certificate may have shares of several terms (C3).
        MixedTerms,
        /// A member shares in a term after it has voted for a later one (C4).
        ShareAfterGrant,
        /// The leader's log needs not contain the base (C5).
        NoBase,
        /// Votes go by Raft's order of logs alone (C5).
        RaftOrder,
        /// A refused candidate is not told the better proof (C6).
        RefusalWithoutOrder,
        /// Entries that reach no entry of the leader's term cut what is proven (C7).
        UnprovenCutsLock,
        /// Two statements of one block are held against a member, whatever their terms (C8).
        StatementsWithoutTerm,
        /// A vote that states less than the voter once shared is held against it, though it was overruled.
        AmnesiaWithoutSince,
        /// The epoch is in no signature (C9).
        EpochNotSigned,
        /// The next epoch begins upon an order certificate (C9).
        SwitchUncertified,
        /// The next membership is signed upon an order certificate (C10).
        MembershipEarly,
        /// The commit index is cut to that of an order certificate of any log (C11).
        ClampWithoutChain,
        /// A leader that was complained of gets no votes any more (C12).
        BanAsRefusal,
        /// A complaint is answered when anything is ordered, not when the starved command is (C12).
        AnyProgress,
        /// A share leaves before the order certificate is on disk (C13).
        LockUnsynced,
        /// An acknowledgement leaves before the entry is on disk (C13).
        AckBeforeFlush,
        /// A vote leaves before it is on disk (C13).
        GrantUnsynced,
        /// A leader goes on in its term after a restart (C13).
        LeaderRestore,
        /// A leader needs not show votes.
        GrantsNotDemanded,
        /// A member sticks to what it holds an order certificate for until it is shown a later one.
        LockRefusal,
        /// A member shares a block once, not once in each term.
        ShareOncePerBlock,
        /// A majority elects, where the threshold is more (7 of which 5 sign).
        MajorityElects,
        /// Entries that reach no entry of the leader's term make a member stop, if they contradict what is certified.
        UnprovenFault,
        /// A member that takes a checkpoint states nothing of the order that it proves.
        CheckpointForgets,
        /// A member that gives up entries of the present term for a checkpoint goes on in that term.
        CheckpointKeepsTerm,
    }

    impl Plant {
        pub(crate) const ALL: [Plant; 29] = [
            Plant::AckEntryTerm,
            Plant::AckOlderEntries,
            Plant::NoFreeze,
            Plant::StageOutlives,
            Plant::MixedTerms,
            Plant::ShareAfterGrant,
            Plant::NoBase,
            Plant::RaftOrder,
            Plant::RefusalWithoutOrder,
            Plant::UnprovenCutsLock,
            Plant::StatementsWithoutTerm,
            Plant::AmnesiaWithoutSince,
            Plant::EpochNotSigned,
            Plant::SwitchUncertified,
            Plant::MembershipEarly,
            Plant::ClampWithoutChain,
            Plant::BanAsRefusal,
            Plant::AnyProgress,
            Plant::LockUnsynced,
            Plant::AckBeforeFlush,
            Plant::GrantUnsynced,
            Plant::LeaderRestore,
            Plant::GrantsNotDemanded,
            Plant::LockRefusal,
            Plant::ShareOncePerBlock,
            Plant::MajorityElects,
            Plant::UnprovenFault,
            Plant::CheckpointForgets,
            Plant::CheckpointKeepsTerm,
        ];
    }

    thread_local! {
        static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
    }

    /// Returns whether this error is planted in this thread.
    pub(crate) fn is(plant: Plant) -> bool {
        PLANTED.get() == Some(plant)
    }

    /// Takes the error out again when it is dropped.
    pub(crate) struct Planted;

    impl Drop for Planted {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }

    /// Plants an error in this thread until what this gives is dropped.
    pub(crate) fn plant(plant: Plant) -> Planted {
        PLANTED.set(Some(plant));
        Planted
    }
}
