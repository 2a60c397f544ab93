//! What several tests with processes need beside [`quorate_testnet::process`].

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod session;

use quorate_client::Client;
use quorate_consensus::{Family, RocksStore, Store, Write};
use quorate_engine::{
    abi::{Method, Value},
    comms::client::{ClientRef, Completion},
};
use quorate_protocol::sturdyref::Sturdyref;
use quorate_testnet::process::{TestNet, members, own_file, stand_in};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// Long enough for whatever answers at all.
pub const LONG: Duration = Duration::from_secs(180);

/// A counter on three of four hosts, of which two must sign. Options of the vat, and further vats, may follow.
pub const FOUR_HOSTS: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
[[host]]
name = "delta"

[[vat]]
name = "counter"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "counter.js"
"#;

/// That counter with another vat that it tells texts. With little fuel, so that what never ends is soon stopped, and a checkpoint every few
/// deliveries.
const LISTENED_TO: &str = r#"
[vat.argv]
listener = { vat = "listener" }
[vat.limits]
fuel_per_delivery = 150000000
memory_mb = 48
checkpoint_deliveries = 5

[[vat]]
name = "listener"
hosts = ["delta"]
threshold = 1
source = "listener.js"
"#;

const LISTENED_TO_COUNTER: &str = "
import { E, Far } from '@endo/far';
export default ({ listener }) => {
  let n = 0;
  const kept = [];
  return Far('root', {
    increment() { n += 1; return n; },
    grow() { kept.push(new Uint8Array(8 << 20)); },
    forever() { for (;;); },
    tell(text) { E(listener).hear(text); },
  });
};
";

const LISTENER: &str = "
import { Far } from '@endo/far';
export default () => Far('listener', { hear(text) { console.info(text); } });
";

/// A counter on three hosts, of which two must sign.
pub const THREE_MEMBERS: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"

[[vat]]
name = "counter"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "counter.js"
"#;

/// A counter on four hosts, of which three must sign.
pub const FOUR_MEMBERS: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
[[host]]
name = "delta"

[[vat]]
name = "counter"
hosts = ["alpha", "beta", "gamma", "delta"]
threshold = 3
source = "counter.js"
"#;

/// Alters what a stopped host remembers to have signed last.
pub fn falsify_guard(net: &TestNet, host: &str) {
    let store = RocksStore::open(net.dir().join("hosts").join(host).join("data")).expect("nobody uses it");
    let records = store.scan(Family::State, &[], &[0xff; 80], usize::MAX).expect("readable");
    // Its key is that of the vat, and this word.
    let guards = records.into_iter().filter(|(key, _)| key.len() == 37 && key.ends_with(b"guard"));
    let altered: Vec<_> = guards
        .map(|(key, mut value)| {
            *value.last_mut().expect("a guard has a hash") ^= 1;
            Write::Put(Family::State, key, value)
        })
        .collect();
    assert!(!altered.is_empty(), "no guard found");
    store.write(altered).expect("writable");
    store.sync().expect("writable");
}

/// A place with the counter's code, and the file of a config that may name it.
pub fn counter_net(config: &str) -> (TestNet, PathBuf) {
    let net = TestNet::new(stand_in());
    let config = with_counter(&net, config);
    (net, config)
}

/// A running testnet of a counter on three of four hosts, and a vat on the fourth that it tells texts.
pub fn listened_to_counter() -> TestNet {
    let net = TestNet::new(stand_in());
    net.file("counter.js", LISTENED_TO_COUNTER);
    net.file("listener.js", LISTENER);
    let config = net.file("testnet.toml", &[FOUR_HOSTS, LISTENED_TO].concat());
    net.up(&config, &[]).ok();
    net
}

/// Writes the counter's code and a config that may name it; returns the config's file.
pub fn with_counter(net: &TestNet, config: &str) -> PathBuf {
    let code = fs::read_to_string(own_file("examples/counter/counter.js")).expect("the example is there");
    net.file("counter.js", &code);
    net.file("testnet.toml", config)
}

/// The bearer of a vat's root.
pub fn sturdyref(net: &TestNet, vat: &str) -> Sturdyref {
    let text = fs::read_to_string(net.dir().join(format!("refs/{vat}.ref"))).expect("a sturdyref");
    text.trim().parse().expect("a good sturdyref")
}

/// A client that may send to a vat's root.
pub async fn client(net: &TestNet, vat: &str) -> Client {
    Client::connect(&sturdyref(net, vat), &members(net)).await.expect("a client")
}

/// Calls a method of a vat's root and waits for the answer.
pub async fn ask(client: &Client, method: &str, args: Vec<Value>) -> Completion {
    let answer = client.call(ClientRef::Object(0), Method::Call(method.into()), args, LONG).await;
    answer.expect("every call is answered")
}

/// Waits until the replicas of a vat on all of `hosts` have the same certified checkpoint beyond block `after`, and no complaints.
pub fn agree(net: &TestNet, vat: &str, hosts: usize, after: u64) -> u64 {
    net.wait("replicas with equal state roots", || {
        let replicas = net.replicas(vat);
        for (host, status) in &replicas {
            assert_eq!((status.equivocations, status.disagreements, &status.fault), (0, 0, &None), "{host}");
        }
        let roots: Vec<_> = replicas
            .iter()
            .map(|(_, status)| (status.certified_checkpoint_block, status.state_root.clone(), status.applied_block))
            .collect();
        let (block, root, _) = roots.first()?.clone();
        let equal = roots.iter().all(|other| *other == roots[0]);
        (roots.len() == hosts && equal && root.is_some() && block > after).then_some(block)
    })
}

/// The sum of a metric's samples whose labels hold all of `labels`; a metric without such samples counts 0.
pub fn metric(page: &str, family: &str, labels: &[&str]) -> f64 {
    let samples =
        page.lines().filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let wanted = samples.filter(|line| labels.iter().all(|label| line.contains(label)));
    wanted.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a value")).sum()
}

/// A file system of its own with little room, where this process may make one; it is gone with the test.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// One of so many megabytes at a place. Nothing where this process may not mount.
    pub fn mount(place: &Path, megabytes: u32) -> Option<SmallDisk> {
        fs::create_dir_all(place).expect("writable");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]).arg(place);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| SmallDisk(place.to_owned()))
    }

    /// Writes a file that leaves so many bytes.
    pub fn fill(&self, left: u64) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = fs::File::create(&ballast).expect("writable");
        let piece = [0x42; 64 << 10];
        while file.write_all(&piece).is_ok() {}
        let length = file.metadata().expect("it is there").len();
        file.set_len(length.saturating_sub(left)).expect("ours");
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The same command, of a process whose files may not be larger than so many bytes. A signal that would kill it is ignored.
pub fn with_files_up_to(bytes: u64, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; limit=$0; exec prlimit --fsize=\"$limit\" \"$@\""])
        .arg(bytes.to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}
