//! Alerts and dashboards: they name only what there is, Prometheus' own tools find them good, every query of a dashboard has data on a running
//! testnet, and alerts fire when what they are about happens.
//!
//! `.setup/setup` unpacks a Prometheus where it can. Without one, what needs it is left out. `QUORATE_ALERTS` (`make alerts`) waits as long as
//! the alerts really do, and has more of them fire.

mod support;

use quorate_engine::abi::Value as Passed;
use quorate_testnet::process::{TestNet, own_file};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use support::{ask, client, listened_to_counter};

/// Alerts that a healthy testnet on a slow machine with a full disk has all the same.
const OF_THE_MACHINE: [&str; 7] = [
    "QuorateDiskNearlyFull",
    "QuorateDiskFillsUp",
    "QuorateSlowDisk",
    "QuorateDatabaseHeldBack",
    "QuorateLeaderFlaps",
    "QuorateProposalsFail",
    "QuorateGarbageOnThePort",
];

fn folder() -> PathBuf {
    own_file("deploy/monitoring")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rules() -> String {
    read(&folder().join("quorate.rules.yml"))
}

/// Name and content of each dashboard.
fn dashboards() -> Vec<(String, Value)> {
    let files = fs::read_dir(folder().join("grafana/dashboards")).expect("there are some");
    let mut found: Vec<_> = files
        .map(|file| {
            let path = file.expect("readable").path();
            let dashboard = serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            (path.file_stem().expect("a name").to_string_lossy().into_owned(), dashboard)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// Each query of a dashboard with the title of its panel.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let of_panel = |panel: &Value| {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets
            .into_iter()
            .map(move |target| (title.clone(), target["expr"].as_str().expect("a query").to_owned()))
            .collect::<Vec<_>>()
    };
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations").iter();
    let annotations =
        annotations.map(|each| ("annotation".to_owned(), each["target"]["expr"].as_str().expect("a query").to_owned()));
    panels.iter().flat_map(of_panel).chain(annotations).collect()
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

/// Families and recorded figures that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter| !is_letter(letter));
    words
        .filter(|word| {
            let own = ["quorate_", "process_", "libp2p_"].iter().any(|prefix| word.starts_with(prefix));
            own || (word.contains(":quorate_") && !word.ends_with(':'))
        })
        .collect()
}

/// A misspelt family parses, and its alert never fires.
#[test]
fn alerts_and_dashboards_name_only_what_there_is() {
    let reference = read(&own_file("../docs/reference/metrics.md"));
    let rules = rules();
    let is_there = |name: &str| {
        if name.contains(':') {
            return rules.contains(&format!("- record: {name}\n"));
        }
        let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|ending| name.strip_suffix(ending));
        reference.contains(&format!("`{name}`"))
            || base.is_some_and(|base| reference.contains(&format!("| `{base}` | histogram |")))
    };
    let tests = read(&folder().join("quorate.rules.test.yml"));
    let mut texts = vec![("the rules", rules.clone()), ("their tests", tests)];
    texts.extend(dashboards().into_iter().map(|(_, dashboard)| ("a dashboard", dashboard.to_string())));
    for (what, text) in &texts {
        let unknown: Vec<_> = named(text).into_iter().filter(|name| !is_there(name)).collect();
        assert!(unknown.is_empty(), "{what}: {unknown:?} are not in the reference");
    }
    assert!(named(&rules).len() > 40, "the names were not found");
}

/// The alerts, with all lines of each.
fn alerts(rules: &str) -> BTreeMap<&str, &str> {
    let each = rules.split("      - alert: ").skip(1);
    each.map(|text| text.split_once('\n').expect("more lines")).collect()
}

#[test]
fn every_alert_says_how_urgent_it_is_and_has_a_runbook_and_a_test() {
    let (rules, page) = (rules(), read(&own_file("../docs/runbooks.md")));
    let tests = read(&folder().join("quorate.rules.test.yml"));
    let alerts = alerts(&rules);
    let sections: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, alerts.keys().copied().collect(), "docs/runbooks.md has a section for each alert");
    for (name, text) in alerts {
        let value = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_default().trim();
        let severity = value("severity:");
        assert!(["page", "ticket", "info"].contains(&severity), "{name}: {severity:?}");
        assert!(page.contains(&format!("## {name}\n\n**{severity}.**")), "{name}: its runbook names another severity");
        let (runbook, anchor) = value("runbook_url:").split_once('#').unwrap_or_default();
        assert!(runbook.ends_with("/docs/runbooks.md") && anchor == name.to_lowercase(), "{name}: {runbook} {anchor}");
        assert!(!value("summary:").is_empty() && !value("description:").is_empty(), "{name}");
        assert!(tests.contains(&format!("- name: {name}\n")), "{name} has no test");
    }
}

#[test]
fn dashboards_are_what_their_source_makes() {
    let source = folder().join("grafana/dashboards.mjs");
    let ran = Command::new("node").arg(source).arg("--check").output().expect("Node.js runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// A program of Prometheus, where it is installed.
fn tool(name: &str) -> Option<PathBuf> {
    let own = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/quorate/prometheus/usr/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = own.into_iter().chain(std::env::split_paths(&path)).map(|folder| folder.join(name));
    let found = found.into_iter().find(|file| file.is_file());
    if found.is_none() {
        eprintln!("{name} is not installed: what needs it is left out");
    }
    found
}

/// Runs promtool, which must find everything good.
#[track_caller]
fn promtool(args: &[&str], input: &str) {
    let Some(promtool) = tool("promtool") else { return };
    let piped = Stdio::piped;
    let mut child = Command::new(promtool)
        .args(args)
        .current_dir(folder())
        .stdin(piped())
        .stdout(piped())
        .stderr(piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let ran = child.wait_with_output().expect("it ends");
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "promtool {args:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn the_tools_of_prometheus_find_the_rules_good_and_each_alert_fires_in_its_test() {
    promtool(&["check", "rules", "quorate.rules.yml"], "");
    promtool(&["check", "config", "prometheus.yml"], "");
    promtool(&["test", "rules", "quorate.rules.test.yml"], "");
}

/// A Prometheus that scrapes a testnet; it ends with this.
struct Prometheus {
    child: Child,
    url: String,
}

impl Prometheus {
    fn start(program: &Path, net: &TestNet, patient: bool) -> Prometheus {
        let dir = net.dir();
        let config = read(&dir.join("prometheus.yml")).replace("interval: 5s", "interval: 1s");
        fs::write(dir.join("prometheus.yml"), config).expect("ours");
        if !patient {
            let rules = read(&dir.join("quorate.rules.yml"));
            let quick = rules.lines().map(|line| match line.strip_prefix("        for: ") {
                Some(_) => "        for: 1s\n".to_owned(),
                None => format!("{line}\n"),
            });
            fs::write(dir.join("quorate.rules.yml"), quick.collect::<String>()).expect("ours");
        }
        let mut child = Command::new(program)
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", net.path("prometheus-data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Prometheus starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let address = loop {
            let Some(line) = lines.next() else { panic!("Prometheus ended: {said:?}") };
            if let Some((_, address)) = line.split_once("Listening on\" address=") {
                break address.trim().to_owned();
            }
            said.push(line);
        };
        // What it says further is of no use, and must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Prometheus { child, url: format!("http://{address}") }
    }

    /// What its interface answers, or nothing while it does not.
    fn get(&self, path: &str, query: Option<&str>) -> Option<Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--get"]);
        if let Some(query) = query {
            curl.args(["--data-urlencode", &format!("query={query}")]);
        }
        let ran = curl.arg(format!("{}/api/v1/{path}", self.url)).output().expect("curl runs");
        serde_json::from_slice(&ran.stdout).ok()
    }

    /// The series that a query has now; not to be understood counts as a failure.
    fn query(&self, query: &str) -> usize {
        let Some(answer) = self.get("query", Some(query)) else { return 0 };
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }

    /// The alerts that fire.
    fn firing(&self) -> BTreeSet<String> {
        let answer = self.get("alerts", None).unwrap_or_default();
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect()
    }

    /// Waits until all of these fire.
    #[track_caller]
    fn wait_for_alerts(&self, net: &TestNet, patient: bool, names: &[&str]) {
        let until = Instant::now() + Duration::from_secs(if patient { 1_800 } else { 240 });
        loop {
            let firing = self.firing();
            if names.iter().all(|name| firing.contains(*name)) {
                return;
            }
            assert!(Instant::now() < until, "{names:?} are wanted, {firing:?} fire\n{}", net.last_words());
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Calls methods of the counter vat's root.
fn call(net: &TestNet, methods: &[&str]) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let client = client(net, "counter").await;
        for method in methods {
            let args = if *method == "tell" { vec![Passed::String("news".to_owned())] } else { Vec::new() };
            ask(&client, method, args).await;
        }
        client.close().await;
    });
}

/// As Grafana spells a query when everything is chosen.
fn chosen(query: &str) -> String {
    query.replace("$host", ".*").replace("$vat", ".*").replace("$__rate_interval", "1m")
}

fn all_queries_have_data(net: &TestNet, prometheus: &Prometheus) {
    let mut without: Vec<(String, String)> =
        dashboards().iter().flat_map(|(_, dashboard)| queries(dashboard)).collect();
    assert!(without.len() > 80, "the queries were not found");
    // Annotations tell of events, of which there need not be any: they only have to be understood.
    without.retain(|(title, query)| {
        let series = prometheus.query(&chosen(query));
        title != "annotation" && series == 0
    });
    let until = Instant::now() + Duration::from_secs(240);
    while !without.is_empty() {
        assert!(Instant::now() < until, "no data: {without:#?}\n{}", net.last_words());
        call(net, &["increment", "tell"]);
        without.retain(|(_, query)| prometheus.query(&chosen(query)) == 0);
    }
    // What the variables are made of.
    for variable in ["quorate_build_info{host!=\"\"}", "quorate_vat_info{host!=\"\",vat!=\"\"}"] {
        assert!(prometheus.query(variable) > 0, "{variable}");
    }
}

/// Every rule is evaluated without an error; the figures that are recorded are there.
fn all_rules_are_evaluated(prometheus: &Prometheus) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = prometheus.get("rules", None).unwrap_or_default();
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<Value> =
            groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
        let wrong: Vec<_> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
        if rules.len() > 40 && wrong.is_empty() {
            break;
        }
        assert!(Instant::now() < until, "{wrong:#?}");
        std::thread::sleep(Duration::from_millis(500));
    }
    for record in rules().lines().filter_map(|line| line.trim().strip_prefix("- record: ")) {
        assert!(prometheus.query(record) > 0, "{record}");
    }
}

/// Gives a host's configuration more lines, and starts it anew.
fn reconfigure(net: &TestNet, host: &str, more: &str) {
    let file = net.dir().join("hosts").join(host).join("host.toml");
    net.vat(&["testnet", "kill", host]).ok();
    fs::write(&file, format!("{}{more}", read(&file))).expect("ours");
    net.vat(&["testnet", "restart", host]).ok();
}

#[test]
fn queries_have_data_and_alerts_fire_on_a_testnet() {
    let net = listened_to_counter();
    promtool(&["check", "metrics"], &net.metrics("alpha"));
    let Some(program) = tool("prometheus") else { return };
    let patient = std::env::var_os("QUORATE_ALERTS").is_some();
    let prometheus = Prometheus::start(&program, &net, patient);
    all_queries_have_data(&net, &prometheus);
    all_rules_are_evaluated(&prometheus);
    net.wait("a testnet of which no alert tells", || {
        let firing = prometheus.firing();
        firing.iter().all(|name| OF_THE_MACHINE.contains(&name.as_str())).then_some(())
    });

    let wait = |names: &[&str]| prometheus.wait_for_alerts(&net, patient, names);
    // One of three members of which two must sign, and a vat that is told something.
    for host in ["gamma", "delta"] {
        net.vat(&["testnet", "kill", host]).ok();
    }
    call(&net, &["tell", "increment"]);
    wait(&["QuorateHostDown", "QuorateNoMargin", "QuorateMemberGone"]);
    if patient {
        wait(&["QuoratePeerDoesNotAcknowledge"]);
    }
    net.vat(&["testnet", "kill", "beta"]).ok();
    wait(&["QuorateNoLeader", "QuorateVatStandsStill"]);
    for host in ["beta", "gamma", "delta"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    net.leader("counter");
    call(&net, &["forever"; 12]);
    wait(&["QuorateDeliveriesUndone"]);
    // As if its disk were full.
    reconfigure(&net, "delta", "disk_soft_limit = \"900 TiB\"\ndisk_hard_limit = \"800 TiB\"\n");
    wait(&["QuorateDiskNearlyFull", "QuorateReplicaFault"]);
    reconfigure(&net, "alpha", "disk_soft_limit = \"900 TiB\"\ndisk_hard_limit = \"1 MiB\"\n");
    wait(&["QuorateTakesNoWork"]);
}
