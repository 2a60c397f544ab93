//! Decides which later terms openraft learns of. A leader that learns of a later term stops leading, and any member can name one.
//!
//! Openraft learns at once of a term with the proof of its leader. It learns of a term that is only named if more members name one than may lie or be down.
//! Otherwise it learns of one now and then. An honest member that voted in an election which nobody won cannot go back to the present term, and takes part
//! again only when another leader is elected. So a lying member alone causes an election now and then, more and more seldom. Even the first
//! named term waits: otherwise one member could depose each new leader before it has ordered anything.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often the pause between two such elections doubles at most.
const MAX_DOUBLINGS: u32 = 8;
/// After so many pauses without one they begin anew.
const FORGIVEN: u32 = 8;

/// Later terms that were named without proof.
#[derive(Default)]
pub(super) struct NamedTerms {
    /// The terms, by the member that named each.
    named: BTreeMap<u64, u64>,
    /// Since when members that are too few have named them.
    since: Option<Instant>,
    /// When one was last told for their sake, and how often the pause has doubled since.
    told: Option<(Instant, u32)>,
}

impl NamedTerms {
    /// Returns whether openraft is told of a later term than its own that `by` names. `pause`: the shortest between two elections that one
    /// member may bring about. `joining`: so many are not all liars.
    pub(super) fn is_told(
        &mut self,
        by: u64,
        (named, own): (u64, u64),
        joining: usize,
        pause: Duration,
        now: Instant,
    ) -> bool {
        self.named.retain(|_, named| *named > own);
        if self.named.is_empty() {
            self.since = None;
        }
        self.named.insert(by, named);
        if self.named.len() >= joining.max(2) {
            return true;
        }
        let since = *self.since.get_or_insert(now);
        let paused = |doublings: u32| pause * (1 << doublings);
        let recent = self.told.filter(|(at, doublings)| now <= *at + paused(*doublings) * FORGIVEN);
        let (due, doublings) = match recent {
            None => (since + pause, 0),
            Some((at, doublings)) => (at + paused(doublings), (doublings + 1).min(MAX_DOUBLINGS)),
        };
        if now < due {
            return false;
        }
        self.told = Some((now, doublings));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_alone_brings_about_fewer_and_fewer_elections_and_several_one_at_once() {
        let (began, pause) = (Instant::now(), Duration::from_secs(1));
        let mut terms = NamedTerms::default();
        let told = |terms: &mut NamedTerms, by, seconds| {
            terms.is_told(by, (9 + seconds, 8), 2, pause, began + Duration::from_secs(seconds))
        };
        let when: Vec<u64> = (0..2_000).filter(|seconds| told(&mut terms, 1, *seconds)).collect();
        assert_eq!(when, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792]);
        assert!(told(&mut terms, 2, 1_800), "two do not both lie");
        // What was named before the present term counts no more.
        assert!(!terms.is_told(3, (4_000, 3_999), 2, pause, began + Duration::from_secs(1_801)));
        assert!(
            !terms.is_told(3, (9_009, 8_999), 2, pause, began + Duration::from_secs(9_000)),
            "after a long time, anew"
        );
        assert!(
            !terms.is_told(3, (9_009, 9_010), 2, pause, began + Duration::from_secs(9_001)),
            "a leader of a later term"
        );
        assert!(terms.is_told(3, (9_009, 8_999), 2, pause, began + Duration::from_secs(9_002)));
        assert!(terms.is_told(3, (9_009, 8_999), 2, pause, began + Duration::from_secs(9_003)));
    }
}
