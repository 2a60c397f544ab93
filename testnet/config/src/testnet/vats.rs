//! `[[vat]]` and the document around it: names that resolve, thresholds that are possible, limits within bounds.

use super::argv::{Scope, unknown_name};
use super::check::{Checker, Key};
use super::hosts::{self, Claims};
use super::syntax::{Entry, Node, Table, Value, Whole};
use super::{HostConfig, MAX_MEMBERS, MEMORY_MB, Place, VatConfig, VatLimits};
use crate::testnet::argv;

const HOST: Key = Key::new("host", "[[host]]", &["node", "nodes", "machine"]);
const VAT: Key = Key::new("vat", "[[vat]]", &["contract"]);
const LIMITS: Key = Key::new("limits", "[limits], or [vat.limits] for one vat", &["limit"]);
const VERSION: Key = Key::new("version", "version = 1, or leave it out", &["format"]);
pub(super) const DOCUMENT: [Key; 4] = [HOST, VAT, LIMITS, VERSION];
/// The version of the config's format. There is no other yet: a config may say which one it was written for.
pub(super) const FORMAT_VERSION: i64 = 1;

const NAME: Key = Key::new("name", "name = \"counter\"", &["id", "vat"]);
const HOSTS: Key = Key::new("hosts", "hosts = [\"h1\", \"h2\", \"h3\"]", &["members", "nodes", "replicas"]);
const THRESHOLD: Key = Key::new("threshold", "threshold = 2", &["quorum", "signatures"]);
const SOURCE: Key = Key::new("source", "source = \"counter.js\"", &["path", "code", "file", "entry", "main", "src"]);
const ARGV: Key = Key::new("argv", "[vat.argv] and its values below", &["args", "arguments"]);
const VAT_LIMITS: Key = Key::new("limits", "[vat.limits] and its values below", &["limit"]);
pub(super) const VAT_KEYS: [Key; 6] = [NAME, HOSTS, THRESHOLD, SOURCE, ARGV, VAT_LIMITS];

const FUEL: Key = Key::new("fuel_per_delivery", "fuel_per_delivery = 1000000000", &["fuel"]);
const TURN: Key = Key::new("fuel_per_turn", "fuel_per_turn = 50000000", &["turn"]);
const BLOCK: Key = Key::new("fuel_per_block", "fuel_per_block = 1000000000", &["block"]);
const MEMORY: Key = Key::new("memory_mb", "memory_mb = 128", &["memory", "memory_bytes", "heap_mb"]);
const CHECKPOINT: Key =
    Key::new("checkpoint_deliveries", "checkpoint_deliveries = 1000", &["checkpoint", "checkpoint_every"]);
pub(super) const LIMIT_KEYS: [Key; 5] = [FUEL, TURN, BLOCK, MEMORY, CHECKPOINT];

/// Least fuel that lets a delivery do anything at all.
pub(super) const MIN_FUEL: u64 = 1_000_000;

/// Every host and vat of the document; what is wrong has been reported, and is left out.
pub(super) fn testnet(document: &Table, checker: &mut Checker) -> (Vec<HostConfig>, Vec<VatConfig>) {
    checker.unknown_keys("the config", document, &DOCUMENT);
    if let Some(entry) = document.get(VERSION.name) {
        check_version(entry, checker);
    }
    let host_tables = sections(document, &HOST, checker);
    let vat_tables = sections(document, &VAT, checker);
    if host_tables.is_empty() && document.get(HOST.name).is_none() {
        checker.mistake(Place::WHOLE_FILE, "the config has no [[host]]", "add [[host]] with a name for each machine");
    }
    let mut names = Names::default();
    let mut claims = Claims::default();
    let hosts: Vec<_> = host_tables.iter().filter_map(|table| hosts::host(table, &mut claims, checker)).collect();
    for host in &hosts {
        let table = host_tables.iter().find(|table| table.place.line == host.line);
        let place = table.and_then(|table| table.get(NAME.name)).map(|entry| entry.node.place);
        names.claim("host", &host.name, place.unwrap_or(Place { line: host.line, column: 0 }), checker);
    }
    let known = Known {
        hosts: hosts.iter().map(|host| host.name.as_str()).collect(),
        hosts_uncertain: hosts.len() < host_tables.len(),
        vats: vat_tables.iter().filter_map(|table| stated_name(table)).collect(),
        vats_uncertain: vat_tables.iter().any(|table| stated_name(table).is_none()),
        limits: document.get(LIMITS.name).map(|entry| limits("[limits]", entry, &LIMITS, checker)).unwrap_or_default(),
    };
    let vats = vat_tables.iter().filter_map(|table| vat(table, &known, &mut names, checker)).collect();
    (hosts, vats)
}

fn check_version(entry: &Entry, checker: &mut Checker) {
    match &entry.node.value {
        Value::Integer(Whole { value: Some(FORMAT_VERSION), .. }) => {}
        Value::Integer(Whole { text, .. }) => {
            let problem = format!("the config is of version {text}; this build reads version {FORMAT_VERSION}");
            checker.mistake(entry.node.place, problem, "use the version of Quorate that it was written for");
        }
        other => {
            let _: Option<()> = checker.wrong_type(entry.node.place, other, "a whole number", &VERSION);
        }
    }
}

/// What vats may name.
struct Known<'a> {
    hosts: Vec<&'a str>,
    hosts_uncertain: bool,
    vats: Vec<&'a str>,
    vats_uncertain: bool,
    limits: VatLimits,
}

/// Names in use; hosts and vats share them, because commands take either.
#[derive(Default)]
struct Names(Vec<(String, &'static str, Place)>);

impl Names {
    fn claim(&mut self, kind: &'static str, name: &str, place: Place, checker: &mut Checker) {
        match self.0.iter().find(|(taken, ..)| taken == name) {
            Some((_, holder, at)) => {
                let problem = format!("the name `{name}` is taken by the {holder} of line {at}");
                checker.mistake(place, problem, "give each host and each vat a name of its own");
            }
            None => self.0.push((name.to_string(), kind, place)),
        }
    }
}

fn stated_name(table: &Table) -> Option<&str> {
    match &table.get(NAME.name)?.node.value {
        Value::String(name) => Some(name),
        _ => None,
    }
}

/// The tables of `[[host]]` or `[[vat]]`.
fn sections<'t>(document: &'t Table, key: &Key, checker: &mut Checker) -> Vec<&'t Table> {
    let Some(entry) = document.get(key.name) else { return Vec::new() };
    let Value::Array(items) = &entry.node.value else {
        let _: Option<()> = checker.wrong_type(entry.place, &entry.node.value, "an array of tables", key);
        return Vec::new();
    };
    let table = |item: &'t Node| match &item.value {
        Value::Table(table) => Some(table),
        other => checker.wrong_type(item.place, other, "an array of tables", key),
    };
    items.iter().filter_map(table).collect()
}

fn vat(table: &Table, known: &Known<'_>, names: &mut Names, checker: &mut Checker) -> Option<VatConfig> {
    checker.unknown_keys("[[vat]]", table, &VAT_KEYS);
    let name = hosts::name("[[vat]]", table, &VAT_KEYS, &NAME, checker);
    if let Some(name) = &name {
        let place = table.get(NAME.name).map_or(table.place, |entry| entry.node.place);
        names.claim("vat", name, place, checker);
    }
    let section = name.as_ref().map_or("this [[vat]]".to_string(), |name| format!("vat `{name}`"));
    let hosts = members(&section, table, known, checker);
    let members = hosts.as_ref().map(|(_, count)| *count);
    let threshold = threshold(&section, table, members, checker);
    let source = checker.required(&section, table, &VAT_KEYS, &SOURCE).and_then(|entry| {
        let path = checker.string(entry, &SOURCE)?;
        checker.file(entry.node.place, "the source file", path)
    });
    let scope = Scope { vat: name.as_deref(), members, vats: &known.vats, vats_uncertain: known.vats_uncertain };
    let (argv, endowments) = table
        .get(ARGV.name)
        .and_then(|entry| checker.table(entry, &ARGV))
        .map(|table| argv::arguments(table, &scope, checker))
        .unwrap_or_default();
    let own =
        table.get(VAT_LIMITS.name).map(|entry| limits("[vat.limits]", entry, &VAT_LIMITS, checker)).unwrap_or_default();
    Some(VatConfig {
        name: name?,
        hosts: hosts?.0,
        threshold: threshold?,
        source: source?,
        argv,
        endowments,
        limits: VatLimits {
            fuel_per_delivery: own.fuel_per_delivery.or(known.limits.fuel_per_delivery),
            fuel_per_turn: own.fuel_per_turn.or(known.limits.fuel_per_turn),
            fuel_per_block: own.fuel_per_block.or(known.limits.fuel_per_block),
            memory_bytes: own.memory_bytes.or(known.limits.memory_bytes),
            checkpoint_deliveries: own.checkpoint_deliveries.or(known.limits.checkpoint_deliveries),
        },
        line: table.place.line,
    })
}

/// The good names among a vat's hosts, and how many distinct ones it meant to have.
fn members(section: &str, table: &Table, known: &Known<'_>, checker: &mut Checker) -> Option<(Vec<String>, usize)> {
    let entry = checker.required(section, table, &VAT_KEYS, &HOSTS)?;
    let items = checker.array(entry, &HOSTS)?;
    let place = entry.node.place;
    if items.is_empty() {
        checker.mistake(place, format!("{section} has no hosts"), "name at least one in `hosts`");
        return None;
    }
    if items.len() > MAX_MEMBERS {
        let problem = format!("{section} has {} hosts, over the limit of {MAX_MEMBERS}", items.len());
        checker.mistake(place, problem, "name fewer hosts");
    }
    let mut stated: Vec<&str> = Vec::new();
    let mut good = Vec::new();
    for item in items {
        let Value::String(name) = &item.value else {
            let _: Option<()> = checker.wrong_type(item.place, &item.value, "an array of strings", &HOSTS);
            return None;
        };
        if stated.contains(&name.as_str()) {
            let problem = format!("{section} names host `{}` twice", name.escape_debug());
            checker.mistake(item.place, problem, "name each of its hosts once");
            continue;
        }
        stated.push(name);
        if known.hosts.contains(&name.as_str()) {
            good.push(name.clone());
        } else if !known.hosts_uncertain {
            let fix = unknown_name(name, &known.hosts, "[[host]]");
            checker.mistake(item.place, format!("there is no host `{}`", name.escape_debug()), fix);
        }
    }
    Some((good, stated.len()))
}

/// Over half of the members, so that two halves can't both speak for the vat; a lone member's is 1.
fn threshold(section: &str, table: &Table, members: Option<usize>, checker: &mut Checker) -> Option<u16> {
    let members = members.map(|count| count as u64);
    let majority = members.map(|count| count / 2 + 1);
    let Some(entry) = table.get(THRESHOLD.name) else {
        // Where the number of hosts is not known, neither is whether a threshold is needed.
        if members.is_none_or(|members| members == 1) {
            return members.and(Some(1));
        }
        let entry = checker.required(section, table, &VAT_KEYS, &THRESHOLD);
        return entry.and(None);
    };
    let Whole { value: number, text } = match &entry.node.value {
        Value::Integer(number) => number,
        other => return checker.wrong_type(entry.node.place, other, "a whole number", &THRESHOLD),
    };
    let (Some(members), Some(majority)) = (members, majority) else {
        return number.and_then(|number| number.try_into().ok());
    };
    let good = number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|&number| (majority..=members).contains(&number.into()));
    if good.is_none() {
        let why = match number {
            Some(number) if *number < majority as i64 => "not over half of them",
            None if text.starts_with('-') => "not over half of them",
            _ => "more than there are",
        };
        let fix = match majority == members {
            true => format!("write threshold = {members}"),
            false => format!("write a threshold from {majority} to {members}"),
        };
        let hosts = if members == 1 { "1 host".to_string() } else { format!("{members} hosts") };
        checker.mistake(entry.node.place, format!("threshold {text} of {hosts} is {why}"), fix);
    }
    good
}

fn limits(section: &str, entry: &Entry, key: &Key, checker: &mut Checker) -> VatLimits {
    let Some(table) = checker.table(entry, key) else { return VatLimits::default() };
    checker.unknown_keys(section, table, &LIMIT_KEYS);
    let mut number = |key: &Key, bounds| table.get(key.name).and_then(|entry| checker.whole_number(entry, key, bounds));
    VatLimits {
        fuel_per_delivery: number(&FUEL, MIN_FUEL..=i64::MAX as u64),
        fuel_per_turn: number(&TURN, 1..=i64::MAX as u64),
        fuel_per_block: number(&BLOCK, 1..=i64::MAX as u64),
        memory_bytes: number(&MEMORY, MEMORY_MB).map(|megabytes| megabytes << 20),
        checkpoint_deliveries: number(&CHECKPOINT, 1..=i64::MAX as u64),
    }
}
