//! The metrics page: families that are fed as things happen and families that are read from a state when the page is asked for, put together
//! and written by the one encoder of `prometheus`.

use prometheus::{
    TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};
use std::collections::BTreeMap;

/// The page's content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families by name.
#[derive(Default)]
pub struct Page(BTreeMap<String, MetricFamily>);

impl Page {
    /// Adds a sample of a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.gauge_of(name, help, labels, value as f64);
    }

    /// Adds a sample of a gauge that is no whole number, or may be negative.
    pub fn gauge_of(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = labelled(labels);
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    /// Adds a sample of a counter.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.counter_of(name, help, labels, value as f64);
    }

    /// Adds a sample of a counter of what does not come in whole numbers.
    pub fn counter_of(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = labelled(labels);
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    /// Adds a histogram of durations: `bounds_us` are upper bounds in microseconds, `counts` has one more for the rest.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        bounds_us: &[u64],
        counts: &[u64],
        sum_us: u64,
    ) {
        let mut total = 0;
        let below = bounds_us.iter().zip(counts).map(|(bound, count)| {
            total += count;
            (seconds(*bound), total)
        });
        let buckets = below.collect();
        let rest: u64 = counts.iter().skip(bounds_us.len()).sum();
        self.buckets(name, help, labels, buckets, total + rest, seconds(sum_us));
    }

    /// Adds a histogram by its upper bounds, each with how many are not above it.
    pub fn buckets(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        below: Vec<(f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let bucket = |(bound, below): (f64, u64)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(below.into_iter().map(bucket).collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, metric);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        let family = self.0.entry(name.to_owned()).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        family.mut_metric().push(metric);
    }

    /// Adds families of a registry.
    pub fn extend(&mut self, families: Vec<MetricFamily>) {
        for family in families {
            self.0.insert(family.name().to_owned(), family);
        }
    }

    /// The page's text, by name.
    pub fn render(self) -> String {
        let families: Vec<MetricFamily> = self.0.into_values().collect();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    Metric::from_label(labels.iter().map(pair).collect())
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.gauge("b", "Second.", &[("vat", "a\"b\\c\nd")], 7);
        page.gauge_of("b", "Second.", &[("vat", "two")], -1.5);
        page.counter("a_total", "First.", &[], 1);
        page.histogram("t_seconds", "Times.", &[("vat", "x")], &[50, 2_000_000], &[1, 2, 3], 2_500_000);
        let expected = r#"# HELP a_total First.
# TYPE a_total counter
a_total 1
# HELP b Second.
# TYPE b gauge
b{vat="a\"b\\c\nd"} 7
b{vat="two"} -1.5
# HELP t_seconds Times.
# TYPE t_seconds histogram
t_seconds_bucket{vat="x",le="0.00005"} 1
t_seconds_bucket{vat="x",le="2"} 3
t_seconds_bucket{vat="x",le="+Inf"} 6
t_seconds_sum{vat="x"} 2.5
t_seconds_count{vat="x"} 6
"#;
        assert_eq!(page.render(), expected);
    }
}
