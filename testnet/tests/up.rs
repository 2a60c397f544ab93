//! `vat testnet up` and its kin: what is started, what is found again, what is said when something is missing, and what is left
//! running when a start fails or is interrupted.

mod support;

use quorate_config::home::Home;
use quorate_consensus::{Family, RocksStore, Store, VatId, Write};
use quorate_testnet::{
    exposition::Exposition,
    process::{Ran, TestNet, stand_in},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use support::{FOUR_HOSTS, LONG, counter_net, with_counter};

const MORE: &str = r#"
[[vat]]
name = "lone"
hosts = ["alpha"]
source = "counter.js"
"#;

fn config_text() -> String {
    [FOUR_HOSTS, MORE].concat()
}

#[track_caller]
fn parsed(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
}

/// The processes that a report of `up --json` names, in the order of the hosts.
fn processes(report: &Value) -> Vec<Option<u64>> {
    let hosts = report["hosts"].as_array().expect("hosts");
    hosts.iter().map(|host| host["process"].as_u64()).collect()
}

/// Every node that runs on a home below `place`, by what its command line says: also one that has not locked its home yet.
fn nodes_below(place: &Path) -> Vec<String> {
    let place = fs::canonicalize(place).expect("it is there").display().to_string();
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(&place)).map(|line| line.replace('\0', " ")).collect()
}

#[test]
fn a_testnet_is_found_again_whatever_was_done_around_it() {
    // Deep enough for no socket's path to be taken as it is, and named by a short relative one.
    let deep = format!("{0}/{0}/{0}", "d".repeat(60));
    let mut net = TestNet::below(stand_in(), &deep);
    let config = with_counter(&net, &config_text());
    let text = |path: &Path| path.to_str().expect("text").to_owned();

    let laid_out = parsed(&net.vat(&["testnet", "init", &text(&config), "--json"]).ok());
    assert_eq!((&laid_out["dir"], &laid_out["made"]), (&json!("net"), &json!(true)));
    assert_eq!(laid_out["hosts"][0]["address"], json!(net.cluster().layout.hosts[0].address));
    let report = parsed(&net.up(&config, &["--json"]).ok());
    assert_eq!(report["made"], json!(false));
    assert_eq!(report["vats"][0]["ready"], json!(true));
    let first = processes(&report);
    assert!(first.iter().all(Option::is_some), "{report}");
    assert!(net.dir().join("hosts/alpha/admin.sock").exists());
    assert_eq!(net.call("counter", "increment", &[]), json!(1));

    // While it runs, with a remark in its config: nothing is touched.
    fs::write(&config, format!("# A remark.\n{}", config_text())).expect("writable");
    assert_eq!(processes(&parsed(&net.up(&config, &["--json"]).ok())), first);

    // After a crash: what does not run is started, and every vat has a leader when it says so.
    let killed = parsed(&net.vat(&["testnet", "kill", "beta", "--json"]).ok());
    assert_eq!(killed, json!({ "host": "beta", "killed": first[1] }));
    let again = processes(&parsed(&net.up(&config, &["--json"]).ok()));
    assert!(again[1].is_some() && again[1] != first[1], "{again:?}");
    assert_eq!((again[0], again[2], again[3]), (first[0], first[2], first[3]));
    for (host, status) in net.replicas("counter") {
        assert!(status.installed && status.leader.is_some(), "{host}: {status:?}");
    }
    let restarted = parsed(&net.vat(&["testnet", "restart", "beta", "--json"]).ok());
    assert_eq!(restarted["host"], json!("beta"));
    assert!(restarted["process"].as_u64().is_some_and(|process| Some(process) != again[1]), "{restarted}");

    // Down, moved as a whole, and up: from its checkpoint a replica has code at once, but a leader only when one is elected.
    let stopped = parsed(&net.vat(&["testnet", "down", "--json"]).ok());
    assert_eq!(stopped, json!({ "stopped": ["alpha", "beta", "gamma", "delta"] }));
    assert_eq!(nodes_below(&net.dir()), Vec::<String>::new());
    net.move_below("elsewhere");
    let config = net.path("testnet.toml");
    net.up(&config, &[]).ok();
    for (host, status) in net.replicas("counter") {
        assert!(status.installed && status.leader.is_some(), "{host}: {status:?}");
    }
    assert_eq!(net.call("counter", "increment", &[]), json!(2));

    // Another testnet under the same name is refused, with what can be done.
    fs::write(&config, config_text().replace("threshold = 2", "threshold = 3")).expect("writable");
    let refused = net.up(&config, &[]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for wanted in ["vat testnet restart HOST --dir net", "choose another directory", "--fresh stop and remove it"] {
        assert!(refused.stderr.contains(wanted), "no {wanted} in {}", refused.stderr);
    }
    // And so is what an interrupted command left, by its name.
    fs::create_dir_all(net.path("torn/hosts/alpha")).expect("writable");
    let torn = net.up(&config, &["--dir", "torn"]);
    assert_eq!(torn.code, 2, "{}", torn.stderr);
    assert!(torn.stderr.contains("remove torn"), "{}", torn.stderr);
}

#[test]
fn a_lost_home_or_a_damaged_vat_is_no_obstacle_to_the_others() {
    let (net, config) = counter_net(&config_text());
    net.up(&config, &[]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(1));

    // While its process runs, as a person does to see what happens.
    fs::remove_dir_all(net.dir().join("hosts/gamma")).expect("it is there");
    let gone = "the home of gamma is gone";
    let hosts = net.vat(&["testnet", "status"]);
    assert_eq!(hosts.code, 1, "{}", hosts.stdout);
    assert!(hosts.stdout.contains("unusable") && hosts.stdout.contains(gone), "{}", hosts.stdout);
    let replicas = parsed(&net.vat(&["status", "--json"]));
    assert_eq!(replicas["hosts_down"], json!(["gamma"]));
    let status = net.vat(&["status"]);
    assert_eq!(status.code, 1, "{}", status.stdout);
    assert!(status.stdout.contains("vat member replace --vat counter --out gamma"), "{}", status.stdout);
    let up = net.up(&config, &[]);
    assert_eq!(up.code, 1, "{}", up.stderr);
    assert!(up.stderr.contains(gone), "{}", up.stderr);
    let stopped = parsed(&net.vat(&["testnet", "down", "--json"]).ok());
    assert_eq!(stopped, json!({ "stopped": ["alpha", "beta", "gamma", "delta"] }), "also the one without a home");
    assert_eq!(nodes_below(&net.dir()), Vec::<String>::new());

    // The remedy works.
    net.up(&config, &["--without", "gamma"]).ok();
    net.vat(&["member", "replace", "--vat", "counter", "--out", "gamma", "--in", "delta"]).ok();
    assert_eq!(net.call("counter", "increment", &[]), json!(2));
    net.vat(&["testnet", "down"]).ok();

    damage(&net, "alpha", "lone");
    let up = net.up(&config, &["--without", "gamma"]);
    assert_eq!(up.code, 4, "{}", up.stderr);
    for wanted in ["lone does not run on alpha", "Q-C002", "`vat testnet down --dir net` stops the hosts that run"] {
        assert!(up.stderr.contains(wanted), "no {wanted} in {}", up.stderr);
    }
    let alpha = net.host("alpha").expect("the host runs without the damaged vat");
    assert_eq!(alpha.failed_vats.keys().collect::<Vec<_>>(), ["lone"]);
    let page = Exposition::parse(&net.metrics("alpha")).expect("a good page");
    assert_eq!(page.sum("quorate_replica_fault", &[("vat", "lone")]), Some(1.0));
    assert!(alpha.vats.iter().any(|vat| vat.name == "counter"), "and carries the other one");
    assert_eq!(net.call("counter", "increment", &[]), json!(3));
    let status = net.vat(&["status"]);
    assert_eq!(status.code, 1, "{}", status.stdout);
    assert!(status.stdout.contains("lone on alpha"), "{}", status.stdout);
}

/// Makes what a vat's replica noted of itself unreadable, as a failing disk does.
fn damage(net: &TestNet, host: &str, vat: &str) {
    let cluster = net.cluster();
    let place = cluster.layout.vats.iter().find(|place| place.name == vat).expect("a known vat");
    let id: VatId = place.vat.parse().expect("an id");
    let store = RocksStore::open(cluster.home(host).expect("a home").data()).expect("no host uses it");
    let keys = store.keys(Family::State, &id.0, &[&id.0[..], &[u8::MAX]].concat(), 100).expect("readable");
    assert!(!keys.is_empty(), "the records are elsewhere now");
    let rubbish = |key| Write::Put(Family::State, key, b"rubbish".to_vec());
    store.write(keys.into_iter().map(rubbish).collect()).and_then(|()| store.sync()).expect("writable");
}

/// A command that stays, and what it says so far.
struct Staying {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

fn collect(from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = text.clone();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut text = collected.lock().expect("no panic holds it");
            text.push_str(&line);
            text.push('\n');
        }
    });
    text
}

impl Staying {
    fn start(net: &TestNet, args: &[&str]) -> Staying {
        let mut child =
            net.command_with_hangup(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        Staying { child, stdout, stderr }
    }

    fn stdout(&self) -> String {
        self.stdout.lock().expect("no panic holds it").clone()
    }

    fn stderr(&self) -> String {
        self.stderr.lock().expect("no panic holds it").clone()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, said: impl Fn(&Staying) -> bool) {
        let deadline = Instant::now() + LONG;
        while !said(self) {
            assert!(Instant::now() < deadline, "no {what}: {}{}", self.stdout(), self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What Ctrl-C on a terminal does.
    fn interrupt(&self) {
        self.signal("INT");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    }

    /// How it ends, which it has to by itself.
    #[track_caller]
    fn end(&mut self) -> i32 {
        let deadline = Instant::now() + LONG;
        while self.child.try_wait().expect("it is ours").is_none() {
            assert!(Instant::now() < deadline, "it does not end: {}{}", self.stdout(), self.stderr());
            thread::sleep(Duration::from_millis(20));
        }
        self.child.wait().expect("it is ours").code().unwrap_or(-1)
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn up_in_the_foreground_leaves_nothing_running_however_it_ends() {
    let (net, config) = counter_net(&config_text().replace("counter.js", "talker.js"));
    let talker = "import { Far } from '@endo/far';
export default () => { console.log('as it happens'); return Far('talker', {}); };";
    net.file("talker.js", talker);
    let config = config.to_str().expect("text");
    let nobody = || assert_eq!(nodes_below(&net.dir()), Vec::<String>::new());

    // Interrupted while its hosts start.
    let mut early = Staying::start(&net, &["testnet", "up", config]);
    early.wait_for("host", |early| early.stderr().contains("starting alpha"));
    early.interrupt();
    assert_eq!(early.end(), 0, "{}", early.stderr());
    nobody();

    // Interrupted while it shows the consoles. Before that, it notices a host that stops.
    let mut following = Staying::start(&net, &["testnet", "up", config, "--json"]);
    following.wait_for("console", |following| following.stdout().contains("as it happens"));
    let stdout = following.stdout();
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).expect("lines of JSON")).collect();
    assert!(processes(&lines[0]).iter().all(Option::is_some), "{stdout}");
    assert_eq!(lines[1]["text"], json!("as it happens"), "{stdout}");
    net.vat(&["testnet", "kill", "beta"]).ok();
    following.wait_for("word of beta", |following| following.stderr().contains("beta has stopped"));
    following.interrupt();
    assert_eq!(following.end(), 0, "{}", following.stderr());
    following.wait_for("last word", |following| following.stderr().contains("stopped 3 hosts"));
    nobody();

    // Its terminal is closed.
    let mut hung_up = Staying::start(&net, &["testnet", "up", config]);
    hung_up.wait_for("console", |hung_up| hung_up.stdout().contains("as it happens"));
    hung_up.signal("HUP");
    assert_eq!(hung_up.end(), 0, "{}", hung_up.stderr());
    nobody();

    // A port that is taken: said with the place where it stands, and without a word of JSON.
    let home = Home::open(&net.dir().join("hosts/beta")).expect("a home");
    let taken = TcpListener::bind(home.config.http).expect("free by now");
    let refused = net.vat(&["testnet", "up", config]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    let file = "hosts/beta/host.toml";
    for wanted in ["host beta has stopped", "Q-R003", file, "`http`", "in use"] {
        assert!(refused.stderr.contains(wanted), "no {wanted} in {}", refused.stderr);
    }
    assert!(!refused.stderr.contains("\"level\""), "{}", refused.stderr);
    nobody();
    drop(taken);

    // In the background the others stay, and it is said how to stop them.
    let port = home.config.listen[0].rsplit('/').next().and_then(|port| port.parse().ok()).expect("a port");
    let taken = TcpListener::bind(("127.0.0.1", port)).expect("free by now");
    let refused = net.vat(&["testnet", "up", config, "--detach"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    for wanted in ["host beta has stopped", "Q-N001", file, "`listen`", "`vat testnet down --dir net` stops"] {
        assert!(refused.stderr.contains(wanted), "no {wanted} in {}", refused.stderr);
    }
    assert!(net.host("alpha").is_some());
    drop(taken);
    net.vat(&["testnet", "down"]).ok();
    nobody();
}
