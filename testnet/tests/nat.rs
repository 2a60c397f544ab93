//! Hosts that nobody can dial talk through a relay, and directly where a hole can be punched: on this machine alone, and in network
//! namespaces behind two NATs.

mod support;

use quorate_admin::client::Endpoint;
use quorate_protocol::status::HostStatus;
use quorate_testnet::process::{Ran, TestNet, own_file, stand_in};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use support::metric;

/// Homes in one place, each of which may run in a network namespace of its own.
struct Hosts {
    net: TestNet,
    running: Vec<(String, Child)>,
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for (_, process) in &mut self.running {
            // It may have ended.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The same command line in a namespace; nothing of it changes where there is none.
fn within(namespace: Option<&str>, command: Command) -> Command {
    let Some(namespace) = namespace else { return command };
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", namespace]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        inside.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inside.env(name, value),
            None => inside.env_remove(name),
        };
    }
    inside.stdin(Stdio::null());
    inside
}

impl Hosts {
    fn new() -> Hosts {
        let net = TestNet::new(stand_in());
        let code = fs::read_to_string(own_file("examples/counter/counter.js")).expect("the example is there");
        net.file("counter.js", &code);
        Hosts { net, running: Vec::new() }
    }

    fn vat(&self, namespace: Option<&str>, args: &[&str]) -> Ran {
        Ran::of(within(namespace, self.net.command(args)).output().expect("it runs"))
    }

    /// Makes a home and returns the host's key.
    fn init(&self, name: &str, listen: &str, http: &str) -> String {
        let made = ["node", "init", "--home", name, "--name", name, "--listen", listen, "--http", http];
        let made = self.net.vat(&[&made[..], &["--approve", "auto"]].concat()).ok();
        made.stdout.trim().to_owned()
    }

    fn config(&self, host: &str) -> PathBuf {
        self.net.path(host).join("host.toml")
    }

    fn add_to_config(&self, host: &str, line: &str) {
        let text = fs::read_to_string(self.config(host)).expect("a config");
        fs::write(self.config(host), format!("{line}\n{text}")).expect("ours");
    }

    /// Runs a host and waits until it answers.
    fn run(&mut self, host: &str, namespace: Option<&str>) {
        let log = fs::File::create(self.net.path(&format!("{host}.log"))).expect("ours");
        let mut command = within(namespace, self.net.command(&["node", "run", "--home", host]));
        command.env("QUORATE_LOG", "info,quorate_net=debug");
        let process = command.stdout(Stdio::null()).stderr(Stdio::from(log)).spawn().expect("it starts");
        self.running.push((host.to_owned(), process));
        self.wait(&format!("{host} to run"), || self.status(host));
    }

    fn status(&self, host: &str) -> Option<HostStatus> {
        let endpoint = Endpoint::socket(&self.net.path(host).join("admin.sock"));
        runtime().block_on(endpoint.get("/api/v1/status")).ok()
    }

    fn metrics(&self, host: &str) -> String {
        let endpoint = Endpoint::socket(&self.net.path(host).join("admin.sock"));
        runtime().block_on(endpoint.get_text("/metrics")).unwrap_or_default()
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "no {what} in time\n{}", self.last_words());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn last_words(&self) -> String {
        let mut text = String::new();
        for (host, _) in &self.running {
            let log = fs::read_to_string(self.net.path(&format!("{host}.log"))).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(25).collect();
            text.push_str(&format!("--- {host}\n"));
            tail.iter().rev().for_each(|line| text.push_str(&format!("{line}\n")));
        }
        text
    }

    /// Makes a counter on the two hosts, both of which must sign. Returns a reference to it.
    fn counter(&self, hosts: [(&str, &str); 2]) -> String {
        for (host, announced) in hosts {
            let card = self.net.vat(&["card", "--home", host, "--announce", announced]).ok().stdout;
            self.net.file(&format!("{host}.card"), &card);
        }
        let [(first, _), (second, _)] = hosts;
        let cards = format!("{first}.card,{second}.card");
        let create = ["create", "counter", "--on", &cards, "--threshold", "2", "--source", "counter.js"];
        let made = self.net.vat(&[&create[..], &["--home", first]].concat()).ok();
        self.net.vat(&["join", "counter.vat", "--home", second, "--yes"]).ok();
        made.stdout.trim().to_owned()
    }

    /// Increments the counter, by a caller beside a host, once it can.
    fn increment(&self, namespace: Option<&str>, reference: &str, card: &str, until: &str) {
        let call = ["call", reference, "increment", "--at", card, "--timeout", "20", "--no-keep"];
        self.wait(&format!("the answer {until}"), || {
            let ran = self.vat(namespace, &call);
            (ran.code == 0).then(|| ran.stdout.trim().to_owned())
        });
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    listener.and_then(|listener| listener.local_addr()).expect("a free port").port()
}

#[test]
fn two_hosts_that_nobody_can_dial_talk_through_a_relay() {
    let mut hosts = Hosts::new();
    let relay = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let [http, first, second] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let relay_key = hosts.init("relay", &relay, &http);
    let keys = [hosts.init("a", &relay, &first), hosts.init("b", &relay, &second)];
    hosts.add_to_config("relay", &format!("relay_for = {keys:?}"));
    for host in ["a", "b"] {
        let text = fs::read_to_string(hosts.config(host)).expect("a config");
        // It takes no connections at all.
        fs::write(hosts.config(host), text.replace(&format!("listen = [\"{relay}\"]"), "listen = []")).expect("ours");
        hosts.add_to_config(host, &format!("relays = [\"{relay_key}@{relay}\"]"));
    }
    for host in ["relay", "a", "b"] {
        hosts.run(host, None);
    }
    let announced = hosts.wait("the relay to agree", || {
        let announced = hosts.status("a")?.announced;
        (!announced.is_empty()).then_some(announced)
    });
    assert!(
        announced.iter().all(|address| address.starts_with(&relay) && address.ends_with("/p2p-circuit")),
        "{announced:?}"
    );
    // The cards name a port at which nobody listens.
    let _reference =
        hosts.counter([("a", &format!("127.0.0.1:{}", free_port())), ("b", &format!("127.0.0.1:{}", free_port()))]);
    // The code is in a block that both have agreed on.
    hosts.wait("the counter to have its code, by both", || {
        let status = hosts.status("b")?;
        let counter = status.vats.iter().find(|vat| vat.name == "counter")?;
        (counter.installed && counter.applied_block > 1).then_some(())
    });
    assert!(metric(&hosts.metrics("relay"), "quorate_relay_circuits", &[]) >= 1.0, "they use the relay");
    assert_eq!(metric(&hosts.metrics("relay"), "quorate_relay_denied_total", &[]), 0.0);
}

/// Network namespaces: a relay in the middle, and two hosts, each behind a NAT of its own. They go with this.
struct Nats {
    prefix: String,
}

impl Nats {
    /// Nothing where this machine does not let us make them, with the reason.
    fn make() -> Result<Nats, String> {
        let nats = Nats { prefix: format!("q{}", std::process::id()) };
        let run = |line: &str| -> Result<(), String> {
            let line = line.replace('@', &nats.prefix);
            let mut words = line.split(' ');
            let program = words.next().unwrap_or_default();
            let ran = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
            if ran.status.success() {
                Ok(())
            } else {
                Err(format!("{line}: {}", String::from_utf8_lossy(&ran.stderr).trim()))
            }
        };
        for space in ["r", "n1", "n2", "a", "b"] {
            run(&format!("ip netns add @{space}"))?;
            run(&format!("ip -n @{space} link set lo up"))?;
        }
        run("ip -n @r link add middle type bridge")?;
        run("ip -n @r addr add 198.51.100.1/24 dev middle")?;
        run("ip -n @r link set middle up")?;
        for (nat, host, number) in [("n1", "a", 1), ("n2", "b", 2)] {
            run(&format!("ip -n @r link add to{number} type veth peer name out netns @{nat}"))?;
            run(&format!("ip -n @r link set to{number} master middle"))?;
            run(&format!("ip -n @r link set to{number} up"))?;
            run(&format!("ip -n @{nat} addr add 198.51.100.1{number}/24 dev out"))?;
            run(&format!("ip -n @{nat} link set out up"))?;
            run(&format!("ip -n @{nat} link add in type veth peer name eth netns @{host}"))?;
            run(&format!("ip -n @{nat} addr add 10.77.{number}.1/24 dev in"))?;
            run(&format!("ip -n @{nat} link set in up"))?;
            run(&format!("ip -n @{host} addr add 10.77.{number}.2/24 dev eth"))?;
            run(&format!("ip -n @{host} link set eth up"))?;
            run(&format!("ip -n @{host} route add default via 10.77.{number}.1"))?;
            run(&format!("ip netns exec @{nat} sysctl -qw net.ipv4.ip_forward=1"))?;
            run(&format!("ip netns exec @{nat} nft add table ip nat"))?;
            run(&format!(
                "ip netns exec @{nat} nft add chain ip nat post {{ type nat hook postrouting priority 100 ; }}"
            ))?;
            run(&format!("ip netns exec @{nat} nft add rule ip nat post oifname out masquerade"))?;
            // As home routers do: what nobody inside has asked for is dropped, without a word.
            run(&format!("ip netns exec @{nat} nft add table ip filter"))?;
            for hook in ["input", "forward"] {
                run(&format!(
                    "ip netns exec @{nat} nft add chain ip filter {hook} {{ type filter hook {hook} priority 0 ; }}"
                ))?;
                run(&format!("ip netns exec @{nat} nft add rule ip filter {hook} iifname out ct state new drop"))?;
            }
        }
        Ok(nats)
    }

    fn space(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        for space in ["r", "n1", "n2", "a", "b"] {
            // It may not have been made.
            let _ = Command::new("ip").args(["netns", "del", &self.space(space)]).output();
        }
    }
}

#[test]
fn two_hosts_behind_different_nats_talk() {
    let nats = match Nats::make() {
        Ok(nats) => nats,
        Err(why) => {
            eprintln!(
                "not run: this machine makes no network namespaces with NAT ({why}); the test with a relay on loopback runs everywhere"
            );
            return;
        }
    };
    let mut hosts = Hosts::new();
    let relay_key = hosts.init("relay", "/ip4/198.51.100.1/tcp/4001", "127.0.0.1:9464");
    let listen = |number: u8| format!("/ip4/10.77.{number}.2/tcp/4001");
    let keys = [hosts.init("a", &listen(1), "127.0.0.1:9464"), hosts.init("b", &listen(2), "127.0.0.1:9464")];
    hosts.add_to_config("relay", &format!("relay_for = {keys:?}"));
    for host in ["a", "b"] {
        hosts.add_to_config(host, &format!("relays = [\"{relay_key}@198.51.100.1:4001\"]"));
    }
    for (host, space) in [("relay", "r"), ("a", "a"), ("b", "b")] {
        hosts.run(host, Some(&nats.space(space)));
    }
    let reference = hosts.counter([("a", "10.77.1.2:4001"), ("b", "10.77.2.2:4001")]);
    hosts.increment(Some(&nats.space("a")), &reference, "a.card", "to a caller beside one of them");
    hosts.increment(Some(&nats.space("b")), &reference, "b.card", "to a caller beside the other");
    let figures = |family: &str| {
        let of = |host: &&str| metric(&hosts.metrics(host), family, &[]);
        ["relay", "a", "b"].iter().map(of).sum::<f64>()
    };
    assert!(figures("quorate_relay_circuits_opened_total") >= 1.0, "they have met through the relay");
    // A direct connection takes the place of the relayed one.
    hosts.wait("a direct connection", || (figures("quorate_holes_punched_total") >= 1.0).then_some(()));
    hosts.wait("the relayed connection to end", || (figures("quorate_relay_circuits") == 0.0).then_some(()));
    hosts.increment(Some(&nats.space("a")), &reference, "a.card", "over the direct connection");
}
