//! A writer for Prometheus' text format (version 0.0.4): for figures that are read from a state when the page is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// Families by name, each with its samples.
#[derive(Default)]
pub struct Page(BTreeMap<&'static str, Family>);

struct Family {
    help: &'static str,
    kind: &'static str,
    samples: String,
}

impl Page {
    /// Adds a sample of a gauge.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: u64) {
        self.sample(name, help, "gauge", labels, value);
    }

    /// Adds a sample of a counter.
    pub fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: u64) {
        self.sample(name, help, "counter", labels, value);
    }

    fn sample(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        labels: &[(&str, &str)],
        value: u64,
    ) {
        let family = self.family(name, help, kind);
        writeln!(family.samples, "{name}{} {value}", braces(labels)).expect("a string takes everything");
    }

    /// Adds a histogram of durations: `bounds_us` are upper bounds in microseconds, `counts` has one more for the rest.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        bounds_us: &[u64],
        counts: &[u64],
        sum_us: u64,
    ) {
        let family = self.family(name, help, "histogram");
        let (mut total, text) = (0, &mut family.samples);
        let bounds = bounds_us.iter().map(|bound| seconds(*bound)).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            total += count;
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            writeln!(text, "{name}_bucket{} {total}", braces(&labels)).expect("a string takes everything");
        }
        writeln!(text, "{name}_sum{} {}", braces(labels), seconds(sum_us)).expect("a string takes everything");
        writeln!(text, "{name}_count{} {total}", braces(labels)).expect("a string takes everything");
    }

    fn family(&mut self, name: &'static str, help: &'static str, kind: &'static str) -> &mut Family {
        self.0.entry(name).or_insert_with(|| Family { help, kind, samples: String::new() })
    }

    /// The page's text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.0 {
            write!(text, "# HELP {name} {}\n# TYPE {name} {}\n{}", family.help, family.kind, family.samples)
                .expect("a string takes everything");
        }
        text
    }
}

/// Rewrites text of OpenMetrics, which libp2p writes, as it is read on a page of this format: there a counter's family has the
/// ending `_total` of its samples; without it they had no type and no help.
pub fn from_open_metrics(text: &str) -> String {
    let counter = |line: &str| line.strip_prefix("# TYPE ")?.strip_suffix(" counter").map(str::to_owned);
    let counters: BTreeSet<String> = text.lines().filter_map(counter).collect();
    let mut page = String::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT"), ..) => Ok(()),
            (Some("#"), Some(keyword), Some(name), Some(rest)) if counters.contains(name) => {
                writeln!(page, "# {keyword} {name}_total {rest}")
            }
            _ => writeln!(page, "{line}"),
        }
        .expect("a string takes everything");
    }
    page
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

fn braces(labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.gauge("b", "Second.", &[("vat", "a\"b\\c\nd")], 7);
        page.gauge("b", "Second.", &[("vat", "two")], 8);
        page.counter("a_total", "First.", &[], 1);
        page.histogram("t_seconds", "Times.", &[("vat", "x")], &[100, 2_000_000], &[1, 2, 3], 2_500_000);
        let expected = r#"# HELP a_total First.
# TYPE a_total counter
a_total 1
# HELP b Second.
# TYPE b gauge
b{vat="a\"b\\c\nd"} 7
b{vat="two"} 8
# HELP t_seconds Times.
# TYPE t_seconds histogram
t_seconds_bucket{vat="x",le="0.000100"} 1
t_seconds_bucket{vat="x",le="2.000000"} 3
t_seconds_bucket{vat="x",le="+Inf"} 6
t_seconds_sum{vat="x"} 2.500000
t_seconds_count{vat="x"} 6
"#;
        assert_eq!(page.render(), expected);
    }

    #[test]
    fn counters_of_open_metrics_keep_their_type_and_help() {
        let text = r#"# HELP a First one.
# TYPE a counter
a_total{protocols="/ip4/tcp"} 1
# HELP t_seconds Times.
# TYPE t_seconds histogram
# UNIT t_seconds seconds
t_seconds_sum 0.5
# HELP a_b Another.
# TYPE a_b gauge
a_b 2
"#;
        let expected = r#"# HELP a_total First one.
# TYPE a_total counter
a_total{protocols="/ip4/tcp"} 1
# HELP t_seconds Times.
# TYPE t_seconds histogram
t_seconds_sum 0.5
# HELP a_b Another.
# TYPE a_b gauge
a_b 2
"#;
        assert_eq!(from_open_metrics(text), expected);
        assert_eq!(from_open_metrics(""), "");
    }
}
