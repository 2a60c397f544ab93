//! Polls the hosts while a page is open, and reports changes.
//!
//! Invariants: hosts are asked only while a page is open; a page that reads slowly skips states and gets the newest; what has not changed
//! is not sent again.

use crate::{
    look::{Hosts, Look},
    model::{Model, model},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::{Notify, watch};

/// How long the hosts are left alone after a look.
const PAUSE: Duration = Duration::from_secs(1);
/// A look that is not older is good enough for a single question.
const FRESH: Duration = Duration::from_secs(3);

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// What was seen last, as the page gets it.
#[derive(Debug)]
pub struct Snapshot {
    pub at_ms: u64,
    /// Why the hosts are not known, if they are not.
    pub problem: Option<String>,
    pub look: Look,
    pub model: Model,
    hosts: Parts,
    vats: Parts,
}

/// JSON of each part, by name or id.
type Parts = BTreeMap<String, Arc<str>>;

impl Snapshot {
    fn new(seen: Result<Look, String>, before: Option<&Snapshot>) -> Snapshot {
        let (none, at_ms) = (Model::default(), now_ms());
        let (problem, look) = match seen {
            Ok(look) => (None, look),
            Err(problem) => (Some(problem), Look::default()),
        };
        let model = model(&look, before.map_or(&none, |before| &before.model), at_ms);
        let hosts = parts(&model.hosts, before.map(|before| &before.hosts));
        let vats = parts(&model.vats, before.map(|before| &before.vats));
        Snapshot { at_ms, problem, look, model, hosts, vats }
    }

    fn is_same(&self, other: &Snapshot) -> bool {
        self.problem == other.problem && same(&self.hosts, &other.hosts) && same(&self.vats, &other.vats)
    }

    /// Returns what has changed since another one, as JSON: see `Update` in `web/src/model.ts`. Everything, where there is no other one.
    pub fn since(&self, before: Option<&Snapshot>) -> String {
        let mut json = String::with_capacity(1_024);
        json.push_str(if before.is_none() { r#"{"is_whole":true,"# } else { r#"{"is_whole":false,"# });
        json.push_str(&format!(r#""at_ms":{},"problem":{},"hosts":"#, self.at_ms, text(&self.problem)));
        write_changes(&mut json, &self.hosts, before.map(|before| &before.hosts));
        json.push_str(r#","vats":"#);
        write_changes(&mut json, &self.vats, before.map(|before| &before.vats));
        json.push('}');
        json
    }
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn parts<T: Serialize>(views: &BTreeMap<String, T>, before: Option<&Parts>) -> Parts {
    let part = |(name, view): (&String, &T)| {
        let json = text(view);
        let last = before.and_then(|before| before.get(name)).filter(|last| ***last == *json);
        (name.clone(), last.cloned().unwrap_or_else(|| json.into()))
    };
    views.iter().map(part).collect()
}

fn same(one: &Parts, other: &Parts) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|((name, part), (other, last))| name == other && Arc::ptr_eq(part, last))
}

/// An object with what is new, and `null` for what is gone.
fn write_changes(json: &mut String, now: &Parts, before: Option<&Parts>) {
    let is_new = |name: &String, part: &Arc<str>| {
        before.and_then(|before| before.get(name)).is_none_or(|last| !Arc::ptr_eq(part, last))
    };
    let new = now.iter().filter(|(name, part)| is_new(name, part)).map(|(name, part)| (name, &**part));
    let gone = before.into_iter().flat_map(BTreeMap::keys).filter(|name| !now.contains_key(*name));
    let mut divider = '{';
    for (name, part) in new.chain(gone.map(|name| (name, "null"))) {
        json.push(divider);
        json.push_str(&text(name));
        json.push(':');
        json.push_str(part);
        divider = ',';
    }
    json.push_str(if divider == '{' { "{}" } else { "}" });
}

/// See the head of the module.
pub struct Poll {
    hosts: Arc<dyn Hosts>,
    current: watch::Sender<Option<Arc<Snapshot>>>,
    is_wanted: Notify,
}

impl Poll {
    pub fn new(hosts: Arc<dyn Hosts>) -> Poll {
        Poll { hosts, current: watch::channel(None).0, is_wanted: Notify::new() }
    }

    /// Looks for as long as it is polled.
    pub async fn run(&self) {
        loop {
            while self.current.receiver_count() == 0 {
                self.is_wanted.notified().await;
            }
            let seen = self.hosts.look().await;
            let before = self.current.borrow().clone();
            let now = Arc::new(Snapshot::new(seen, before.as_deref()));
            let is_news = before.as_ref().is_none_or(|before| !now.is_same(before));
            // The moment of a look is kept for those who ask once.
            self.current.send_if_modified(|current| {
                *current = Some(now);
                is_news
            });
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// To follow what is seen. The first state may be an old one.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        let watching = self.current.subscribe();
        self.is_wanted.notify_one();
        watching
    }

    /// Returns what was seen a moment ago.
    pub async fn fresh(&self) -> Arc<Snapshot> {
        let _watching = self.watch();
        let patience = u64::try_from(FRESH.as_millis()).unwrap_or(u64::MAX);
        loop {
            let current = self.current.borrow().clone();
            if let Some(snapshot) = current.filter(|seen| now_ms().saturating_sub(seen.at_ms) <= patience) {
                return snapshot;
            }
            // A look that finds nothing new wakes nobody.
            tokio::time::sleep(PAUSE / 20).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::{HostState, SeenHost};
    use quorate_admin::client::Endpoint;

    fn look(names: &[&str], problem: Option<&str>) -> Look {
        let host = |name: &&str| SeenHost {
            name: (*name).to_owned(),
            key: None,
            home: String::new(),
            endpoint: Endpoint::socket(std::path::Path::new("nowhere")),
            state: HostState::Down,
            problem: problem.map(str::to_owned),
            status: None,
        };
        Look { hosts: names.iter().map(host).collect(), ..Look::default() }
    }

    fn update(now: &Snapshot, before: Option<&Snapshot>) -> serde_json::Value {
        serde_json::from_str(&now.since(before)).expect("JSON")
    }

    #[test]
    fn only_what_has_changed_travels() {
        let first = Snapshot::new(Ok(look(&["a", "b"], None)), None);
        let whole = update(&first, None);
        assert_eq!(whole["is_whole"], true);
        assert_eq!(whole["hosts"].as_object().map(serde_json::Map::len), Some(2));
        let same = Snapshot::new(Ok(look(&["a", "b"], None)), Some(&first));
        assert!(same.is_same(&first));
        assert_eq!(update(&same, Some(&first))["hosts"], serde_json::json!({}));
        let other = Snapshot::new(Ok(look(&["b", "c"], None)), Some(&same));
        assert!(!other.is_same(&same));
        let changes = update(&other, Some(&same));
        assert_eq!(changes["is_whole"], false);
        assert_eq!(changes["hosts"]["a"], serde_json::Value::Null);
        assert_eq!(changes["hosts"]["c"]["name"], "c");
        assert!(changes["hosts"].get("b").is_none(), "{changes}");
        // One that skipped a state gets all that changed since.
        let last = Snapshot::new(Ok(look(&["b", "c"], Some("gone"))), Some(&other));
        assert_eq!(update(&last, Some(&first))["hosts"].as_object().map(serde_json::Map::len), Some(3));
        let lost = Snapshot::new(Err("no testnet".to_owned()), Some(&last));
        assert_eq!(update(&lost, Some(&last))["problem"], "no testnet");
    }
}
