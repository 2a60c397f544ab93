//! What `vat top` shows, as a function of what hosts say now and said before. Pure, but for the time between two looks.

use crate::{hosts::LocalHost, standing::quorums};
use std::{cmp::Ordering, collections::BTreeMap, time::Instant};

/// What hosts said at a moment.
pub struct Sample {
    at: Instant,
    pub hosts: Vec<HostRow>,
    replicas: Vec<Figures>,
    /// What is wrong, in words.
    pub complaints: Vec<String>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    pub name: String,
    /// `up`, `down`, `hangs`, or why it can't run.
    pub state: String,
    pub is_up: bool,
    /// Peers that are connected, of those that it knows.
    pub peers: (usize, usize),
    pub free_bytes: Option<u64>,
}

/// A replica, as its host counts.
#[derive(Clone, Debug, Default)]
struct Figures {
    vat: String,
    id: String,
    host: String,
    role: String,
    block: u64,
    deliveries: u64,
    fuel: Option<f64>,
    heap: u64,
    unacknowledged: u64,
    lag: u64,
    margin: Option<i64>,
    wrong: Option<String>,
}

/// A row of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub vat: String,
    pub host: String,
    pub role: String,
    pub block: u64,
    /// Per second since the look before; unset at the first.
    pub blocks: Option<f64>,
    pub deliveries: Option<f64>,
    pub fuel: Option<f64>,
    pub heap: u64,
    pub lag: u64,
    /// How many members more the vat can lose; below 0: how many it lacks.
    pub margin: Option<i64>,
    pub unacknowledged: u64,
    pub wrong: Option<String>,
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Vat,
    Host,
    Role,
    Block,
    Blocks,
    Deliveries,
    Fuel,
    Heap,
    Lag,
    Margin,
    Unacknowledged,
}

impl Column {
    pub const ALL: [Column; 11] = [
        Column::Vat,
        Column::Host,
        Column::Role,
        Column::Block,
        Column::Blocks,
        Column::Deliveries,
        Column::Fuel,
        Column::Heap,
        Column::Lag,
        Column::Margin,
        Column::Unacknowledged,
    ];

    pub fn head(self) -> &'static str {
        match self {
            Column::Vat => "VAT",
            Column::Host => "HOST",
            Column::Role => "ROLE",
            Column::Block => "BLOCK",
            Column::Blocks => "BLOCKS/s",
            Column::Deliveries => "MSGS/s",
            Column::Fuel => "FUEL/s",
            Column::Heap => "HEAP",
            Column::Lag => "LAG",
            Column::Margin => "MARGIN",
            Column::Unacknowledged => "UNACKED",
        }
    }

    /// The column so many places on, round and round.
    pub fn next(self, places: usize) -> Column {
        let at = Column::ALL.iter().position(|column| *column == self).unwrap_or(0);
        Column::ALL[(at + places) % Column::ALL.len()]
    }
}

/// All that is shown.
pub struct Model {
    now: Option<Sample>,
    before: Option<Sample>,
    pub sort: Column,
    pub reversed: bool,
    pub filter: String,
    /// The filter that is being typed.
    pub typing: Option<String>,
    pub only_wrong: bool,
    /// The first row that is shown.
    pub top: usize,
}

impl Model {
    pub fn new(filter: String) -> Model {
        Model {
            now: None,
            before: None,
            sort: Column::Vat,
            reversed: false,
            filter,
            typing: None,
            only_wrong: false,
            top: 0,
        }
    }

    /// Takes in what hosts say now.
    pub fn take(&mut self, sample: Sample) {
        self.before = self.now.replace(sample);
    }

    pub fn sample(&self) -> Option<&Sample> {
        self.now.as_ref()
    }

    pub fn move_by(&mut self, rows: isize) {
        let last = self.rows().len().saturating_sub(1);
        self.top = self.top.saturating_add_signed(rows).min(last);
    }

    /// The rows, as they are filtered and sorted.
    pub fn rows(&self) -> Vec<Row> {
        let Some(now) = &self.now else { return Vec::new() };
        let filter = self.filter.to_lowercase();
        let mut rows: Vec<Row> = now
            .replicas
            .iter()
            .map(|figures| self.row(figures, now))
            .filter(|row| {
                filter.is_empty()
                    || row.vat.to_lowercase().contains(&filter)
                    || row.host.to_lowercase().contains(&filter)
            })
            .filter(|row| !self.only_wrong || row.wrong.is_some())
            .collect();
        rows.sort_by(|one, other| {
            compare(self.sort, one, other).then_with(|| (&one.vat, &one.host).cmp(&(&other.vat, &other.host)))
        });
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    fn row(&self, figures: &Figures, now: &Sample) -> Row {
        let earlier = self.before.as_ref().and_then(|before| {
            let same = before.replicas.iter().find(|other| (&other.id, &other.host) == (&figures.id, &figures.host))?;
            Some((same, now.at.saturating_duration_since(before.at).as_secs_f64()))
        });
        let rate = |now: f64, before: &dyn Fn(&Figures) -> Option<f64>| {
            let (earlier, seconds) = earlier.filter(|(_, seconds)| *seconds > 0.0)?;
            // A host that was started again counts from 0.
            Some(((now - before(earlier)?) / seconds).max(0.0))
        };
        Row {
            vat: figures.vat.clone(),
            host: figures.host.clone(),
            role: figures.role.clone(),
            block: figures.block,
            blocks: rate(figures.block as f64, &|figures| Some(figures.block as f64)),
            deliveries: rate(figures.deliveries as f64, &|figures| Some(figures.deliveries as f64)),
            fuel: figures.fuel.and_then(|fuel| rate(fuel, &|figures| figures.fuel)),
            heap: figures.heap,
            lag: figures.lag,
            margin: figures.margin,
            unacknowledged: figures.unacknowledged,
            wrong: figures.wrong.clone(),
        }
    }
}

/// Names ascending; of figures the largest first, but for the margin, of which the smallest is of interest.
fn compare(column: Column, one: &Row, other: &Row) -> Ordering {
    let floats = |one: Option<f64>, other: Option<f64>| other.unwrap_or(-1.0).total_cmp(&one.unwrap_or(-1.0));
    match column {
        Column::Vat => one.vat.cmp(&other.vat),
        Column::Host => one.host.cmp(&other.host),
        Column::Role => one.role.cmp(&other.role),
        Column::Block => other.block.cmp(&one.block),
        Column::Blocks => floats(one.blocks, other.blocks),
        Column::Deliveries => floats(one.deliveries, other.deliveries),
        Column::Fuel => floats(one.fuel, other.fuel),
        Column::Heap => other.heap.cmp(&one.heap),
        Column::Lag => other.lag.cmp(&one.lag),
        Column::Margin => one.margin.unwrap_or(i64::MAX).cmp(&other.margin.unwrap_or(i64::MAX)),
        Column::Unacknowledged => other.unacknowledged.cmp(&one.unacknowledged),
    }
}

impl Sample {
    /// Of hosts, and the page of metrics of each.
    pub fn of(hosts: &[LocalHost], pages: &[String]) -> Sample {
        let quorums = quorums(hosts);
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for vat in hosts.iter().flat_map(|host| host.status.iter()).flat_map(|status| &status.vats) {
            let block = newest.entry(&vat.vat).or_default();
            *block = vat.applied_block.max(*block);
        }
        let (mut rows, mut replicas, mut complaints) = (Vec::new(), Vec::new(), Vec::new());
        for (host, page) in hosts.iter().zip(pages) {
            rows.push(host_row(host));
            let Some(status) = &host.status else { continue };
            complaints.extend(status.failed_vats.iter().map(|(vat, why)| format!("{vat} on {}: {why}", host.name)));
            complaints.extend(status.damage.iter().map(|damage| format!("{}: {damage}", host.name)));
            for vat in &status.vats {
                let wrong = vat.fault.clone().or_else(|| vat.standstill.clone()).or_else(|| vat.install_error.clone());
                complaints.extend(wrong.iter().map(|why| format!("{} on {}: {why}", vat.name, host.name)));
                let quorum = quorums.iter().find(|quorum| quorum.vat == vat.vat).filter(|_| vat.role != "removed");
                replicas.push(Figures {
                    vat: vat.name.clone(),
                    id: vat.vat.clone(),
                    host: host.name.clone(),
                    role: vat.role.clone(),
                    block: vat.applied_block,
                    deliveries: vat.deliveries,
                    fuel: fuel_of(page, &vat.name),
                    heap: vat.heap_bytes,
                    unacknowledged: vat.streams.iter().map(|stream| stream.unacknowledged).sum(),
                    lag: newest.get(vat.vat.as_str()).map_or(0, |newest| newest - vat.applied_block),
                    margin: quorum.map(|quorum| quorum.reachable as i64 - quorum.needed as i64),
                    wrong: wrong
                        .or_else(|| quorum.filter(|quorum| !quorum.can_speak()).and_then(|quorum| quorum.complaint())),
                });
            }
        }
        complaints
            .extend(quorums.iter().filter_map(|quorum| Some(format!("{}: {}", quorum.name, quorum.complaint()?))));
        Sample { at: Instant::now(), hosts: rows, replicas, complaints }
    }
}

fn host_row(host: &LocalHost) -> HostRow {
    let state = match (&host.status, host.hangs, &host.problem) {
        (Some(_), ..) => "up".to_owned(),
        (None, true, _) => "hangs".to_owned(),
        (None, false, Some(problem)) => problem.clone(),
        (None, false, None) => "down".to_owned(),
    };
    let status = host.status.as_ref();
    HostRow {
        name: host.name.clone(),
        state,
        is_up: status.is_some(),
        peers: status
            .map_or((0, 0), |status| (status.peers.iter().filter(|peer| peer.connected).count(), status.peers.len())),
        free_bytes: status.and_then(|status| status.disk).map(|disk| disk.free_bytes),
    }
}

/// What a vat's deliveries have burnt since the host was started, by the host's page of metrics.
fn fuel_of(page: &str, vat: &str) -> Option<f64> {
    let wanted = format!("vat=\"{vat}\"");
    let sums = page.lines().filter_map(|line| line.strip_prefix("quorate_crank_fuel_sum{")?.split_once("} "));
    let (_, sum) = sums.into_iter().find(|(labels, _)| labels.split(',').any(|label| label == wanted))?;
    sum.trim().parse().ok()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::time::Duration;

    /// A sample with these replicas: vat, host, block, fuel, lag, margin.
    pub fn sample(at: Instant, replicas: &[(&str, &str, u64, f64, u64, i64)]) -> Sample {
        let figures = |(vat, host, block, fuel, lag, margin): &(&str, &str, u64, f64, u64, i64)| Figures {
            vat: (*vat).into(),
            id: (*vat).into(),
            host: (*host).into(),
            role: "follower".into(),
            block: *block,
            fuel: Some(*fuel),
            lag: *lag,
            margin: Some(*margin),
            wrong: (*margin < 0).then(|| "too few".to_owned()),
            ..Figures::default()
        };
        let hosts = vec![HostRow {
            name: "alpha".into(),
            state: "up".into(),
            is_up: true,
            peers: (2, 3),
            free_bytes: Some(1 << 30),
        }];
        let complaints = vec!["two: too few".to_owned()];
        Sample { at, hosts, replicas: replicas.iter().map(figures).collect(), complaints }
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let (mut model, began) = (Model::new(String::new()), Instant::now());
        model.take(sample(began, &[("one", "alpha", 100, 1e6, 0, 1)]));
        assert_eq!(model.rows()[0].blocks, None, "of one look nothing is known");
        model.take(sample(
            began + Duration::from_secs(2),
            &[("one", "alpha", 120, 5e6, 0, 1), ("two", "beta", 1, 0.0, 3, -1)],
        ));
        let rows = model.rows();
        assert_eq!((rows[0].blocks, rows[0].fuel), (Some(10.0), Some(2e6)));
        assert_eq!(rows[1].blocks, None);
        // Started again: it counts from 0.
        model.take(sample(began + Duration::from_secs(3), &[("one", "alpha", 5, 0.0, 0, 1)]));
        assert_eq!(model.rows()[0].blocks, Some(0.0));
    }

    #[test]
    fn rows_are_sorted_and_filtered() {
        let mut model = Model::new(String::new());
        let rows = [("one", "alpha", 9, 0.0, 0, 1), ("two", "alpha", 8, 0.0, 5, -1), ("two", "beta", 13, 0.0, 0, -1)];
        model.take(sample(Instant::now(), &rows));
        let order = |model: &Model| model.rows().iter().map(|row| row.block).collect::<Vec<_>>();
        assert_eq!(order(&model), [9, 8, 13]);
        model.sort = Column::Block;
        assert_eq!(order(&model), [13, 9, 8]);
        model.reversed = true;
        assert_eq!(order(&model), [8, 9, 13]);
        (model.reversed, model.sort) = (false, Column::Margin);
        assert_eq!(order(&model), [8, 13, 9]);
        model.only_wrong = true;
        assert_eq!(order(&model), [8, 13]);
        model.filter = "BET".into();
        assert_eq!(order(&model), [13]);
        model.move_by(5);
        assert_eq!(model.top, 0, "there is one row");
        assert_eq!(Column::Unacknowledged.next(1), Column::Vat);
    }

    #[test]
    fn fuel_is_read_off_the_metrics() {
        let page = "quorate_crank_fuel_bucket{vat=\"one\",le=\"1\"} 0\nquorate_crank_fuel_sum{vat=\"one\"} 123456789\nquorate_crank_fuel_sum{vat=\"two\"} 1e9\n";
        assert_eq!(fuel_of(page, "one"), Some(123_456_789.0));
        assert_eq!(fuel_of(page, "two"), Some(1e9));
        assert_eq!(fuel_of(page, "three"), None);
    }
}
