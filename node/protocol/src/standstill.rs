//! Decides when a replica counts as stuck while its vat makes progress.
//!
//! One rule serves both users: the host itself, which knows how far the leader has committed, and `vat status`, which sees the other
//! replicas even if this one hears no leader.

use std::time::Duration;

/// A replica that is behind and has not moved for so long does not move: longer than the longest delivery takes, or a newcomer to
/// connect and get a large checkpoint's first part.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says that a replica at block `at` does not move, if it has been `still` for too long while its vat is at block `ahead`.
pub fn standstill(at: u64, ahead: u64, still: Duration) -> Option<String> {
    let stands = ahead > at && still >= PATIENCE;
    stands.then(|| format!("has not moved for {} s: at block {at}, the vat is at {ahead}", still.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_behind_and_still_for_long_stands_still() {
        assert_eq!(standstill(9, 9, PATIENCE * 9), None, "nothing happens in a quiet vat");
        assert_eq!(standstill(8, 9, Duration::from_secs(1)), None, "it comes after");
        let said = standstill(8, 9, PATIENCE).expect("it stands still");
        assert_eq!(said, "has not moved for 60 s: at block 8, the vat is at 9");
    }
}
