//! Describes epochs in which certified order was broken by hand. Pure.

use quorate_proof::{Introduction, Member};

/// Returns what there is to know of each epoch of a vat that its members before did not certify, from the first on.
pub fn recovery_words(introduction: &Introduction) -> Vec<String> {
    // They come from others, and must not steer a terminal.
    let names = |members: Vec<&Member>| {
        members.iter().map(|member| member.name.escape_debug().to_string()).collect::<Vec<_>>().join(", ")
    };
    let told = introduction.recoveries().into_iter().map(|(before, next)| {
        let left_out = before.members.iter().filter(|member| !next.membership.contains(&member.key)).collect();
        format!(
            "certified order was broken by hand after block {}: {} went on alone in epoch {}, by the word of {} of the {} members before; left out as lost: {}",
            next.membership.recovered.map_or(0, |recovered| recovered.block),
            names(next.membership.members.iter().collect()),
            next.membership.epoch,
            next.signatures.len(),
            before.members.len(),
            names(left_out)
        )
    });
    told.collect()
}
