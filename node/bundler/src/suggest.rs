//! "Did you mean": the known word nearest to an unknown one.

/// Longer words are not compared: no name or key is that long.
const MAX_LETTERS: usize = 64;

/// The candidate that is at most a third of its letters (and at most three) away from `word`; the nearest, and of
/// equals the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    if length > MAX_LETTERS {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = candidate.to_lowercase();
        let longer = other.chars().count().max(length);
        let distance = strsim::osa_distance(&word, &other);
        // Half of the letters or more: another word, not this one misspelt.
        let alike = distance <= longer.div_ceil(3).min(3) && 2 * distance <= longer;
        if alike && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn misspellings_find_their_word_and_other_words_do_not() {
        let keys = ["name", "hosts", "threshold", "source", "argv", "limits"];
        for (word, expected) in [
            ("treshold", Some("threshold")),
            ("host", Some("hosts")),
            ("soruce", Some("source")),
            ("Name", Some("name")),
            ("arg", Some("argv")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
    }
}
