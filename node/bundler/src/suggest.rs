//! "Did you mean": the known word nearest to an unknown one.

/// Longer words are not compared: no name or key is that long.
const MAX_LETTERS: usize = 64;

/// The candidate that is at most a third of its letters (and at most three) away from `word`; the nearest, and of
/// equals the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(MAX_LETTERS + 1).collect();
    if word.len() > MAX_LETTERS {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.to_lowercase().chars().collect();
        let allowed = (letters.len().max(word.len()).div_ceil(3)).min(3);
        let distance = distance(&word, &letters);
        // Half of the letters or more: another word, not this one misspelt.
        let alike = distance <= allowed && 2 * distance <= letters.len().max(word.len());
        if alike && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that make one word of the other.
fn distance(from: &[char], to: &[char]) -> usize {
    if from.len().abs_diff(to.len()) > 3 {
        return usize::MAX / 4;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
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
