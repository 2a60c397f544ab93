//! How many members may be down, and how many may lie, for `threshold` of `members`: the figures promised to people who make a vat. Pure.

/// What a vat with so many members and such a threshold survives. See [`survival`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// Members that may be down, or out of reach, at the same time while the vat goes on: crashes only, no lies.
    pub crashes: usize,
    /// Members that may lie, all together, without making others believe two different things of the vat.
    pub liars: usize,
}

/// Computes what `threshold` of `members` survives.
///
/// - Going on takes a majority, which orders, and a threshold, which signs: `crashes` = n - max(majority, t).
/// - Two different statements of one block would take two sets of t signers. They share at least 2t - n members, and each of
///   those must have lied. So `liars` is the largest f with 2t > n + f, that is 2t - n - 1.
///
/// There is no figure for lying members that can't stop the vat, since it is zero in this version: any single member that lies
/// can hold the vat up for as long as it takes part, whether it leads or not.
///
/// A threshold that is no valid one (not a majority, or more than there are members) survives nothing.
pub fn survival(members: usize, threshold: usize) -> Survival {
    let majority = members / 2 + 1;
    if threshold < majority || threshold > members {
        return Survival { crashes: 0, liars: 0 };
    }
    Survival { crashes: members - threshold, liars: 2 * threshold - members - 1 }
}

/// The number of liars that a vat is built for: the largest f with t > (n + f) / 2 and t ≤ n - f, so that f liars can neither make
/// others believe two things, nor keep the honest members from signing. 0 for a threshold that is no valid one.
fn tolerance(members: usize, threshold: usize) -> usize {
    let Survival { crashes, liars } = survival(members, threshold);
    crashes.min(liars)
}

/// The threshold of a changed membership for which none was named.
///
/// A vat that grows keeps the number of liars that it is built for (see [`survival`]; 4 of which 3 sign become 5 of which 4 sign),
/// and never gets a lower threshold than it had. One that shrinks keeps its threshold if that still is a valid one, else it gets
/// the smallest majority.
pub fn default_threshold(members_before: usize, threshold_before: usize, members: usize) -> usize {
    let majority = members / 2 + 1;
    if members > members_before {
        let keeps = (members + tolerance(members_before, threshold_before)) / 2 + 1;
        return keeps.max(threshold_before).min(members);
    }
    if (majority..=members).contains(&threshold_before) { threshold_before } else { majority }
}

/// The least threshold of the members that are left over when a vat of `members_before` is recovered: the smallest that keeps the
/// number of liars that it is built for, or all of them.
pub fn recovered_threshold(members_before: usize, threshold_before: usize, members: usize) -> usize {
    ((members + tolerance(members_before, threshold_before)) / 2 + 1).min(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vat_that_grows_keeps_its_tolerance_by_the_smallest_threshold() {
        for members in 1_usize..=12 {
            for threshold in members / 2 + 1..=members {
                let grown = default_threshold(members, threshold, members + 1);
                let kept = tolerance(members, threshold);
                let holds = |threshold: usize| 2 * threshold > members + 1 + kept;
                assert!(holds(grown) && threshold <= grown && grown <= members + 1, "{members} {threshold}: {grown}");
                assert!(grown == threshold || !holds(grown - 1), "{members} {threshold}: {grown} is not the smallest");
            }
        }
        let cases = [((4, 3, 5), 4), ((7, 5, 8), 6), ((3, 2, 4), 3), ((1, 1, 2), 2), ((4, 3, 3), 3), ((3, 3, 2), 2)];
        for ((before, threshold, after), wanted) in cases {
            assert_eq!(default_threshold(before, threshold, after), wanted, "{before} {threshold} {after}");
        }
    }

    #[test]
    fn the_figures_follow_from_counting_sets() {
        for members in 1_usize..=9 {
            for threshold in members / 2 + 1..=members {
                let Survival { crashes, liars } = survival(members, threshold);
                // The remaining members order and sign, and with one less would not.
                let goes_on = |left: usize| left >= threshold && left > members / 2;
                assert!(goes_on(members - crashes) && !goes_on(members - crashes - 1), "{members} {threshold}");
                // Two sets of signers overlap in more members than lie, and with one more liar they may not.
                let overlap = |one: u32, other: u32| (one & other).count_ones() as usize;
                let sets: Vec<u32> =
                    (0..1_u32 << members).filter(|set| set.count_ones() as usize == threshold).collect();
                let least = sets.iter().flat_map(|one| sets.iter().map(|other| overlap(*one, *other))).min();
                assert_eq!(least, Some(liars + 1), "{members} {threshold}");
            }
        }
    }

    #[test]
    fn what_is_no_threshold_survives_nothing() {
        for (members, threshold) in [(0, 0), (0, 1), (3, 1), (4, 2), (3, 4), (5, 0)] {
            assert_eq!(survival(members, threshold), Survival { crashes: 0, liars: 0 });
        }
    }
}
