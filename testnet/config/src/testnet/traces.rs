//! The keys of `host.toml` that have traces of messages exported.

use super::check::{Checker, Key};
use super::syntax::Table;
use serde::Serialize;

pub(super) const OTLP: Key = Key::new(
    "otlp",
    "otlp = \"http://127.0.0.1:4318\"",
    &["traces", "tracing", "opentelemetry", "otel", "otlp_endpoint", "otel_exporter_otlp_endpoint"],
);
pub(super) const SAMPLE: Key =
    Key::new("otlp_sample", "otlp_sample = 100", &["sample", "sampling", "traces_sample", "otlp_sampling"]);

/// The port of collectors where none is named.
const PORT: u16 = 4318;
/// Where collectors take traces, after what is configured.
const PATH: &str = "/v1/traces";

/// Where traces go, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TracesConfig {
    /// The collector, as it was written.
    #[serde(rename = "otlp")]
    pub endpoint: String,
    /// One message of so many is traced, the same ones at all hosts that say the same.
    #[serde(rename = "otlp_sample")]
    pub sample: u64,
    /// Its name or address, with the port.
    #[serde(skip)]
    pub address: String,
    /// What is asked there.
    #[serde(skip)]
    pub path: String,
}

impl TracesConfig {
    /// Reads the address of a collector.
    ///
    /// # Errors
    /// It is none, in words.
    pub fn parse(endpoint: &str, sample: u64) -> Result<TracesConfig, String> {
        if endpoint.starts_with("https://") {
            return Err("a host speaks plain HTTP to its collector: let one run beside it, which encrypts".into());
        }
        let rest = endpoint.strip_prefix("http://").ok_or("it does not begin with `http://`")?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                (name, port.parse().map_err(|_| format!("`{}` is no port", port.escape_debug()))?)
            }
            _ => (authority, PORT),
        };
        let is_fine = |letter: char| letter.is_ascii_alphanumeric() || ".-_:[]".contains(letter);
        if name.is_empty() || !name.chars().all(is_fine) {
            return Err("it names no machine".into());
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte)) {
            return Err("its path is none of a collector".into());
        }
        let path = format!("{}{PATH}", path.trim_end_matches('/').trim_end_matches(PATH));
        Ok(TracesConfig { endpoint: endpoint.to_owned(), sample, address: format!("{name}:{port}"), path })
    }
}

/// Reads the keys. The outer `None`: one of them is wrong, which has been said; the inner one: nothing is exported.
pub(super) fn traces(table: &Table, checker: &mut Checker) -> Option<Option<TracesConfig>> {
    let sample = match table.get(SAMPLE.name) {
        Some(entry) => checker.whole_number(entry, &SAMPLE, 1..=1_000_000_000),
        None => Some(1),
    };
    let Some(entry) = table.get(OTLP.name) else {
        if let Some(entry) = table.get(SAMPLE.name) {
            let problem = format!("`{}` without `{}`: nothing is exported", SAMPLE.name, OTLP.name);
            checker.mistake(entry.node.place, problem, format!("add where traces go: {}", OTLP.example));
            return None;
        }
        return Some(None);
    };
    let text = checker.string(entry, &OTLP)?;
    match TracesConfig::parse(text, sample?) {
        Ok(config) => Some(Some(config)),
        Err(why) => {
            let problem = format!("`{}` is no address of a collector: {why}", text.escape_debug());
            checker.mistake(entry.node.place, problem, format!("write {}", OTLP.example));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_its_base_as_elsewhere() {
        let read = |text: &str| TracesConfig::parse(text, 1).map(|config| (config.address, config.path));
        let traces = "/v1/traces".to_owned();
        for (text, address) in [
            ("http://127.0.0.1:4318", "127.0.0.1:4318"),
            ("http://collector", "collector:4318"),
            ("http://collector/", "collector:4318"),
            ("http://[::1]:7/", "[::1]:7"),
            ("http://[::1]", "[::1]:4318"),
            ("http://collector:7/v1/traces", "collector:7"),
        ] {
            assert_eq!(read(text), Ok((address.to_owned(), traces.clone())), "{text}");
        }
        assert_eq!(read("http://c/otel").map(|(_, path)| path), Ok("/otel/v1/traces".to_owned()));
        for text in [
            "",
            "collector:4318",
            "https://collector",
            "http://",
            "http://:1",
            "http://a:b",
            "http://a b",
            "http://a/?x",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
