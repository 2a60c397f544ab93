//! What `threshold` of `members` survives: the figures that are promised to those who make a vat, in one place. Pure.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_follow_from_counting_sets() {
        for members in 1_usize..=9 {
            for threshold in members / 2 + 1..=members {
                let Survival { crashes, liars } = survival(members, threshold);
                // Whoever is left orders and signs, and with one less would not.
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
