//! Reads a metrics page as strictly as Prometheus' own linter: text format 0.0.4, one sample a line.
//!
//! What it refuses beyond bad syntax: a family twice, without help or without a type; samples outside their family; a series
//! twice; counters that are negative or no numbers; histograms whose buckets shrink, or do not end with their count.

use std::collections::{BTreeMap, BTreeSet};

/// Labels with their values.
pub type Labels = BTreeMap<String, String>;

/// What tells a series from all others: the name of its samples, and its labels.
pub type Series = (String, Labels);

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// Families by name.
    pub families: BTreeMap<String, Family>,
}

/// A family of series.
#[derive(Clone, Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// One value. In a histogram, the name has an ending that its family's has not.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

impl Sample {
    /// Returns whether it has all of these labels.
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|own| own == value))
    }

    /// Its series.
    pub fn series(&self) -> Series {
        (self.name.clone(), self.labels.clone())
    }
}

impl Exposition {
    /// Reads a page.
    ///
    /// # Errors
    /// What is wrong with it, with the line.
    pub fn parse(text: &str) -> Result<Exposition, String> {
        let mut page = Exposition::default();
        let mut current = String::new();
        let mut seen = BTreeSet::new();
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        for (number, line) in (1..).zip(text.lines()) {
            page.line(line, &mut current, &mut seen).map_err(|error| format!("line {number}: {error}: {line}"))?;
        }
        page.families.iter().try_for_each(|(name, family)| family.check(name))?;
        Ok(page)
    }

    /// All samples of that name with these labels.
    pub fn samples<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        let all = self.families.values().flat_map(|family| &family.samples);
        all.filter(move |sample| sample.name == name && sample.has(labels))
    }

    /// Their sum, or nothing if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples(name, labels).map(|sample| sample.value).reduce(|one, other| one + other)
    }

    fn line(&mut self, line: &str, current: &mut String, seen: &mut BTreeSet<Series>) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("a help without text")?;
            let family = Family { help: help.to_owned(), ..Family::default() };
            if self.families.insert(name.to_owned(), family).is_some() {
                return Err(format!("{name} is there twice"));
            }
            name.clone_into(current);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("a type without a name")?;
            let family =
                self.families.get_mut(name).filter(|_| name == current.as_str()).ok_or("a type without its help")?;
            if !family.kind.is_empty() || !family.samples.is_empty() {
                return Err("the type comes twice, or after samples".to_owned());
            }
            kind.clone_into(&mut family.kind);
        } else if !line.starts_with("# ") {
            let sample = sample(line)?;
            let family = self.families.get_mut(current.as_str()).filter(|family| !family.kind.is_empty());
            let family = family.ok_or("a sample without a type")?;
            if !family.admits(current, &sample.name) {
                return Err(format!("a sample of another family than {current}"));
            }
            if !seen.insert(sample.series()) {
                return Err("this series is there twice".to_owned());
            }
            family.samples.push(sample);
        }
        Ok(())
    }
}

impl Family {
    fn admits(&self, own: &str, sample: &str) -> bool {
        let Some(ending) = sample.strip_prefix(own) else { return false };
        match self.kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].contains(&ending),
            // Also of counters: that their family lacks the samples' `_total` is OpenMetrics' way.
            _ => ending.is_empty(),
        }
    }

    fn check(&self, name: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{name}: {what}"));
        match self.kind.as_str() {
            "counter" if self.samples.iter().any(|sample| !sample.value.is_finite() || sample.value < 0.0) => {
                wrong("a counter that counts nothing")
            }
            "gauge" if self.samples.iter().any(|sample| sample.value.is_nan()) => wrong("a gauge without a number"),
            "histogram" => self.check_histogram().or_else(wrong),
            "counter" | "gauge" | "untyped" => Ok(()),
            _ => wrong("an unknown type"),
        }
    }

    fn check_histogram(&self) -> Result<(), &'static str> {
        let mut rows: BTreeMap<Labels, Row> = BTreeMap::new();
        for sample in &self.samples {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le");
            let row = rows.entry(labels).or_default();
            match bound {
                Some(bound) if sample.name.ends_with("_bucket") => {
                    row.buckets.push((number(&bound).ok_or("a bound that is no number")?, sample.value));
                }
                None if sample.name.ends_with("_count") => row.counts.push(sample.value),
                None if sample.name.ends_with("_sum") => row.sums += 1,
                _ => return Err("a bucket without a bound, or a bound without a bucket"),
            }
        }
        for Row { buckets, counts, sums } in rows.values() {
            if !buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1) {
                return Err("buckets that shrink, or are out of order");
            }
            let ([count], 1, Some((bound, last))) = (&counts[..], *sums, buckets.last()) else {
                return Err("not one sum, one count and some buckets");
            };
            if !bound.is_infinite() || last != count {
                return Err("the last bucket is not that of all");
            }
        }
        Ok(())
    }
}

/// A histogram for one set of labels.
#[derive(Default)]
struct Row {
    /// Upper bounds, and how many are not above.
    buckets: Vec<(f64, f64)>,
    counts: Vec<f64>,
    sums: usize,
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|letter: char| letter.is_ascii_digit())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = take_labels(inner, &mut labels)?;
    }
    let value = rest.strip_prefix(' ').and_then(number).ok_or("no value, or more than that")?;
    if !is_name(name) || !labels.keys().all(|label| is_name(label)) {
        return Err("a name that is none".to_owned());
    }
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// Reads `name="value",…}` and returns what follows.
fn take_labels<'a>(mut rest: &'a str, labels: &mut Labels) -> Result<&'a str, String> {
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next().ok_or("a label that does not end")? {
                (at, '"') => break at,
                (_, '\\') => value.push(match letters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, escaped @ ('\\' | '"'))) => escaped,
                    _ => return Err("an unknown escape".to_owned()),
                }),
                (_, letter) => value.push(letter),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label {name} twice"));
        }
        match after[end + 1..].split_at_checked(1) {
            Some(("}", after)) => return Ok(after),
            Some((",", after)) => rest = after,
            _ => return Err("labels that do not end".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"# HELP a_total First.
# TYPE a_total counter
a_total{vat="one",peer="a\"b\\c\nd"} 1
a_total{vat="two"} 2
# HELP b Second.
# TYPE b gauge
b -3.5
# HELP t_seconds Times.
# TYPE t_seconds histogram
t_seconds_bucket{le="0.1"} 1
t_seconds_bucket{le="+Inf"} 3
t_seconds_sum 9
t_seconds_count 3
"#;

    #[test]
    fn a_good_page_is_read() {
        let page = Exposition::parse(GOOD).unwrap();
        assert_eq!(page.families.len(), 3);
        assert_eq!(page.sum("a_total", &[]), Some(3.0));
        assert_eq!(page.sum("a_total", &[("vat", "two")]), Some(2.0));
        assert_eq!(page.sum("a_total", &[("peer", "a\"b\\c\nd")]), Some(1.0));
        assert_eq!(page.sum("a_total", &[("vat", "three")]), None);
        assert_eq!(page.sum("b", &[]), Some(-3.5));
        assert_eq!(page.sum("t_seconds_count", &[]), Some(3.0));
    }

    #[test]
    fn a_bad_page_is_refused() {
        for (good, bad, why) in [
            ("# HELP b Second.\n", "", "a type without its help"),
            ("# TYPE b gauge\n", "", "a sample without a type"),
            ("# HELP b Second.", "# HELP a_total Second.", "twice"),
            ("# TYPE b gauge", "# TYPE b banana", "unknown type"),
            ("b -3.5", "c -3.5", "another family"),
            ("# HELP a_total First.\n# TYPE a_total", "# HELP a First.\n# TYPE a", "another family"),
            ("# TYPE b gauge", "# TYPE b unknown", "unknown type"),
            ("b -3.5", "b -3.5\nb 4", "this series is there twice"),
            ("b -3.5", "b", "no value"),
            ("b -3.5", "b -3.5 17", "no value"),
            ("b -3.5", "b NaN", "without a number"),
            ("{vat=\"two\"} 2", "{vat=\"two\"} -2", "counts nothing"),
            ("{vat=\"two\"}", "{vat=\"two\",vat=\"two\"}", "the label vat twice"),
            ("{vat=\"two\"}", "{vat=\"two}", "does not end"),
            ("{vat=\"two\"}", "{v-t=\"two\"}", "a name that is none"),
            ("{le=\"0.1\"} 1", "{le=\"0.1\"} 4", "shrink"),
            ("{le=\"+Inf\"} 3", "{le=\"7\"} 3", "that of all"),
            ("t_seconds_count 3", "t_seconds_count 4", "that of all"),
            ("t_seconds_sum 9\n", "", "not one sum"),
            ("t_seconds_count 3\n", "t_seconds_count 3", "the last line does not end"),
        ] {
            let text = GOOD.replace(good, bad);
            assert_ne!(text, GOOD, "{good}");
            let error = Exposition::parse(&text).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
