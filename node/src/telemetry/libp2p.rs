//! libp2p's own metrics, which come as text of OpenMetrics, for the page that all others are on.
//!
//! It reads what `prometheus-client` writes, a line at a time, and leaves out what it does not know: a family more or less is no reason to have
//! no page.

use super::page::Page;
use std::collections::BTreeMap;

/// A family as its head describes it.
#[derive(Clone, Copy, Default)]
struct Head<'a> {
    help: &'a str,
    kind: &'a str,
}

/// A histogram on its way: its buckets, count and sum come in lines of their own.
#[derive(Default)]
struct Rows {
    below: Vec<(f64, u64)>,
    count: u64,
    sum: f64,
}

type Labels<'a> = Vec<(&'a str, String)>;

/// Adds the families of a text of OpenMetrics. In that format the name of a counter's family lacks the ending `_total` of its samples.
pub fn add(page: &mut Page, text: &str) {
    let mut heads: BTreeMap<&str, Head<'_>> = BTreeMap::new();
    let mut histograms: BTreeMap<(&str, Labels<'_>), Rows> = BTreeMap::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# ") {
            let mut words = head.splitn(3, ' ');
            if let (Some(keyword), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) {
                let head = heads.entry(name).or_default();
                match keyword {
                    "HELP" => head.help = rest,
                    "TYPE" => head.kind = rest,
                    _ => {}
                }
            }
            continue;
        }
        let Some((name, labels, value)) = sample(line) else { continue };
        let family = |ending: &str| {
            let family = name.strip_suffix(ending)?;
            heads.get_key_value(family).map(|(family, head)| (*family, *head))
        };
        let pairs = || labels.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
        if let Some((_, head)) = family("_total").filter(|(_, head)| head.kind == "counter") {
            page.counter_of(name, head.help, &pairs(), value);
        } else if let Some((_, head)) = family("").filter(|(_, head)| head.kind == "gauge") {
            page.gauge_of(name, head.help, &pairs(), value);
        } else {
            let part = ["_bucket", "_sum", "_count"].into_iter().find_map(|ending| Some((ending, family(ending)?)));
            let Some((part, (family, _))) = part.filter(|(_, (_, head))| head.kind == "histogram") else { continue };
            let (bound, labels): (Labels<'_>, Labels<'_>) = labels.into_iter().partition(|(name, _)| *name == "le");
            let rows = histograms.entry((family, labels)).or_default();
            match (part, bound.first().and_then(|(_, bound)| bound.parse::<f64>().ok())) {
                ("_sum", _) => rows.sum = value,
                ("_count", _) => rows.count = value as u64,
                (_, Some(bound)) if bound.is_finite() => rows.below.push((bound, value as u64)),
                _ => {}
            }
        }
    }
    for ((name, labels), Rows { below, count, sum }) in histograms {
        let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        page.buckets(name, heads[name].help, &labels, below, count, sum);
    }
}

/// Name, labels and value of a line.
fn sample(line: &str) -> Option<(&str, Labels<'_>, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while let Some((label, after)) = rest.split_once("=\"") {
            let mut value = String::new();
            let mut letters = after.char_indices();
            let end = loop {
                match letters.next()? {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match letters.next()?.1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (_, letter) => value.push(letter),
                }
            };
            labels.push((label, value));
            rest = &after[end + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?.split(' ').next()?.parse().ok()?;
    Some((name, labels, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_open_metrics_are_put_on_the_page() {
        let text = r#"# HELP libp2p_a First one.
# TYPE libp2p_a counter
libp2p_a_total{protocols="/ip4/tcp",why="a \"b\" c"} 1
# HELP libp2p_t Times.
# TYPE libp2p_t histogram
# UNIT libp2p_t seconds
libp2p_t_sum{role="dialer"} 0.5
libp2p_t_count{role="dialer"} 2
libp2p_t_bucket{le="0.1",role="dialer"} 1
libp2p_t_bucket{le="+Inf",role="dialer"} 2
# HELP libp2p_b Another.
# TYPE libp2p_b gauge
libp2p_b 2
# EOF
"#;
        let expected = r#"# HELP libp2p_a_total First one.
# TYPE libp2p_a_total counter
libp2p_a_total{protocols="/ip4/tcp",why="a \"b\" c"} 1
# HELP libp2p_b Another.
# TYPE libp2p_b gauge
libp2p_b 2
# HELP libp2p_t Times.
# TYPE libp2p_t histogram
libp2p_t_bucket{role="dialer",le="0.1"} 1
libp2p_t_bucket{role="dialer",le="+Inf"} 2
libp2p_t_sum{role="dialer"} 0.5
libp2p_t_count{role="dialer"} 2
"#;
        let mut page = Page::default();
        add(&mut page, text);
        assert_eq!(page.render(), expected);
        let mut page = Page::default();
        add(&mut page, "");
        add(&mut page, "libp2p_c 1\nlibp2p_d{a=\"b} 1\n");
        assert_eq!(page.render(), "");
    }
}
