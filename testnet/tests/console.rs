//! The console: its page in a headless Chromium, with a testnet of real processes, and with 300 vats of hosts that are made up.

mod support;

use ed25519_dalek::SigningKey;
use quorate_admin::{EvidenceReply, IntroductionReply, ProofReply};
use quorate_consensus::{Genesis, Hash, HostId, Introduction, Member, Parameters};
use quorate_protocol::{
    codec,
    proof::ProofFile,
    status::{
        BearerStatus, BlockStatus, CertificateStatus, CertificatesStatus, DiskStatus, HeadStatus, HeldStatus,
        HostStatus, MemberStatus, ObjectsStatus, PeerHoldings, PeerStatus, ReferencesStatus, StreamStatus, VatStatus,
        WaitingStatus, WorkStatus,
    },
};
use quorate_testnet::process::{TestNet, stand_in};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use support::with_counter;

const FIVE_HOSTS: &str = r#"
[[host]]
name = "alpha"
approve = "ask"
[[host]]
name = "beta"
approve = "ask"
[[host]]
name = "gamma"
[[host]]
name = "delta"
[[host]]
name = "epsilon"

[[vat]]
name = "counter"
hosts = ["alpha", "beta", "gamma", "delta"]
threshold = 3
source = "counter.js"

[[vat]]
name = "driver"
hosts = ["epsilon"]
source = "driver.js"

[vat.argv]
counter = { vat = "counter" }
"#;

const DRIVER: &str = r#"
import { E, Far } from '@endo/far';
export default function driver({ counter }) {
  return Far('driver', {
    drive() {
      console.info('driving the counter');
      return E(counter).increment();
    },
  });
}
"#;

/// A console that ends with this.
struct Console {
    child: Child,
    url: String,
    /// What shows that somebody is the owner.
    token: String,
}

impl Console {
    /// Starts it with the arguments of `vat`.
    fn start(mut command: Command) -> Console {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the console starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("it says where it listens");
        let (url, token) = line.trim().split_once("/#token=").expect("an address with a token");
        assert!(url.starts_with("http://127.0.0.1:") && token.len() == 64, "{line}");
        Console { child, url: url.to_owned(), token: token.to_owned() }
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a script in Node.js with a browser, and does what it demands, a word a line, until it says that all is well.
#[track_caller]
fn browse(script: &str, args: &[&str], mut act: impl FnMut(&str)) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/console/web/tests");
    let mut child = Command::new("node")
        .arg(scripts.join(script))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js runs");
    let mut stdin = child.stdin.take().expect("piped");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut is_well = false;
    for line in lines {
        is_well = line == "well";
        if is_well {
            break;
        }
        act(&line);
        stdin.write_all(b"done\n").expect("it reads");
    }
    let status = child.wait().expect("it is ours");
    assert!(is_well && status.success(), "{script} failed; what it said is above");
}

#[test]
fn the_page_shows_who_signs_and_who_lies_and_a_change_of_members_as_it_happens() {
    let mut net = TestNet::new(stand_in());
    net.file("driver.js", DRIVER);
    let config = with_counter(&net, FIVE_HOSTS);
    net.environment("QUORATE_TEST_EQUIVOCATOR", "gamma");
    net.up(&config, &[]).ok();
    for _ in 0..4 {
        net.call("driver", "drive", &[]);
    }
    net.wait("evidence", || net.vat(&["evidence", "counter"]).stdout.contains("equivocation").then_some(()));
    let vat = net.replicas("counter").into_iter().next().expect("it runs").1.vat;
    let mut console = Console::start(net.command(&["console", "--admin", "--listen", "127.0.0.1:0"]));
    let (url, token) = (console.url.clone(), console.token.clone());
    browse("real.mjs", &[&url, &token, &vat], |word| match word {
        "calls" => (0..3).for_each(|_| drop(net.call("counter", "increment", &[]))),
        "replace" => {
            let words = ["member", "replace", "--vat", "counter", "--out", "gamma", "--in", "epsilon"];
            // Two owners are asked, and one of them is needed: on the page.
            assert_eq!(net.vat(&words).code, 3, "it waits");
        }
        "drive" => drop(net.call("driver", "drive", &[])),
        "kill" => ["alpha", "beta"].into_iter().for_each(|host| drop(net.vat(&["testnet", "kill", host]).ok())),
        "end" => console.end(),
        other => panic!("{other:?} is nothing to do"),
    });
}

/// Hosts that are made up: three, which carry 300 vats between them, with everything that a page can have to show.
struct MadeUp {
    keys: [SigningKey; 3],
    geneses: Vec<Genesis>,
    /// How far all vats are.
    block: AtomicU64,
    mode: AtomicU64,
}

const VATS: usize = 300;
/// Modes: as it should be, host 2 hangs, no host has vats.
const WELL: u64 = 0;
const HANGS: u64 = 1;
const EMPTY: u64 = 2;

impl MadeUp {
    fn new() -> MadeUp {
        let keys = [1, 2, 3].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let members = || keys.iter().zip(1..).map(|(key, number)| member(key, number)).collect::<Vec<Member>>();
        let genesis = |number: usize| {
            let mut nonce = [0; 32];
            nonce[..8].copy_from_slice(&number.to_be_bytes());
            Genesis {
                members: members(),
                threshold: 2,
                image: Hash([4; 32]),
                creator: [5; 32],
                bundle: None,
                nonce,
                expires: 0,
                parameters: Parameters::default(),
            }
        };
        let geneses = (0..VATS).map(genesis).collect();
        MadeUp { keys, geneses, block: AtomicU64::new(1_000), mode: AtomicU64::new(WELL) }
    }

    fn id(&self, number: usize) -> String {
        self.geneses[number % VATS].vat_id().to_string()
    }

    fn key(&self, host: usize) -> String {
        host_id(&self.keys[host]).to_string()
    }

    fn members(&self) -> Vec<MemberStatus> {
        let members = &self.geneses[0].members;
        let status = |member: &Member| MemberStatus {
            name: member.name.clone(),
            key: member.key.to_string(),
            addresses: member.addresses.clone(),
        };
        members.iter().map(status).collect()
    }

    fn vat(&self, host: usize, number: usize) -> VatStatus {
        let block = self.block.load(Ordering::Relaxed) + number as u64;
        let stream = |other: usize, ahead: u64| StreamStatus {
            peer: format!("vat-{}", other % VATS),
            named: true,
            vat: self.id(other),
            sent: block / 2,
            unacknowledged: ahead,
            kept_bytes: 144,
            fuel_ahead: 1_000,
            received: block / 2,
            broken: number == 13,
        };
        let base = serde_json::json!({
            "name": format!("vat-{number}"), "vat": self.id(number), "image": "25".repeat(32),
            "role": if host == number % 3 { "leader" } else { "follower" }, "leader": format!("h{}", number % 3 + 1),
            "term": 3, "committed_block": block, "applied_block": block, "certified_block": block - 1, "epoch": 0,
            "certified_epoch": 0, "threshold": 2, "members": self.members(), "pending_change": null, "installed": true,
            "install_error": null, "setup": "ready", "exited": null, "deliveries": 3 * block, "heap_bytes": 22_675_456u64,
            "heap_limit_bytes": 134_217_728u64, "checkpoint_block": 512, "certified_checkpoint_block": 512,
            "state_root": "ab".repeat(32), "equivocations": u64::from(number == 11), "disagreements": 0, "streams": [],
            "fault": null, "idle_s": 1,
        });
        let mut vat: VatStatus = serde_json::from_value(base).expect("a status");
        vat.certified_by = vec![self.key(number % 3), self.key((number + 1) % 3)];
        vat.streams = vec![stream(number + 1, number as u64 % 4), stream(number + VATS - 1, 0)];
        match number {
            // Two of three: the vat is silent.
            5 if host < 2 => vat.fault = Some("Q-C042 its state is not the one that was certified".to_owned()),
            7 if host == 0 => vat.approvals = vec![self.waiting()],
            9 => vat.pending_change = Some("replace h3 by h4 (the newcomer fetches the state)".to_owned()),
            17 => vat.setup = Some("waiting".to_owned()),
            _ => {}
        }
        vat
    }

    fn waiting(&self) -> WaitingStatus {
        WaitingStatus {
            id: "c4".repeat(32),
            change: "replace h3 by h4".to_owned(),
            proposer: "h2".to_owned(),
            is_own: false,
            out: self.members().pop(),
            joining: Some(MemberStatus { name: "h4".to_owned(), key: "07".repeat(32), addresses: Vec::new() }),
            fingerprint: Some("some words of a key".to_owned()),
            threshold_before: 2,
            after: Some((3, 2)),
            answer: None,
            approved: vec!["h2".to_owned()],
            rejected: Vec::new(),
            asked: vec!["h1".to_owned()],
            needed: 2,
            waits_for_newcomer: false,
        }
    }

    fn host(&self, host: usize) -> HostStatus {
        let peer = |other: usize| PeerStatus {
            key: self.key(other),
            connected: true,
            addresses: vec![format!("/ip4/192.0.2.{other}/tcp/4001")],
            last_error: None,
            version: None,
        };
        let vats = if self.mode.load(Ordering::Relaxed) == EMPTY { 0 } else { VATS };
        HostStatus {
            host: format!("h{}", host + 1),
            key: self.key(host),
            version: "0.1.0".to_owned(),
            image: "25".repeat(32),
            process: 4_242,
            uptime_s: 7_200,
            listen: vec!["/ip4/192.0.2.1/tcp/4001".to_owned()],
            announced: Vec::new(),
            http: "127.0.0.1:9100".to_owned(),
            peers: (0..3).filter(|other| *other != host).map(peer).collect(),
            vats: (0..vats).map(|number| self.vat(host, number)).collect(),
            failed_vats: Default::default(),
            disk: Some(DiskStatus { free_bytes: 40 << 30, total_bytes: 100 << 30 }),
            damage: Vec::new(),
            peer_evidence: 0,
            muted: Vec::new(),
        }
    }

    /// The next vat holds an object, and so does a client.
    fn objects(&self, number: usize) -> ObjectsStatus {
        let peer = |name: Option<String>, vat: String, exports: Vec<HeldStatus>| PeerHoldings {
            name,
            vat,
            granted: number == 3,
            grant_expires_ms: None,
            broken: false,
            exports_in_all: exports.len(),
            exports,
            imports_in_all: 0,
            imports: Vec::new(),
            decided_here: 0,
            decided_there: 0,
            deposits: 0,
            withdrawals: 0,
            redeemed: BTreeMap::new(),
        };
        let held = |object: u64, interface: &str| HeldStatus {
            id: object,
            object: Some(object),
            interface: Some(interface.to_owned()),
            count: 1,
            live: true,
            pins: 0,
        };
        let next = (number + 1) % VATS;
        let purses = (4..9).map(|object| held(object, "Alleged: Purse of somebody")).collect();
        let peers = vec![
            peer(Some(format!("vat-{next}")), self.id(next), purses),
            peer(None, "5c".repeat(32), vec![held(4, "Alleged: Purse of somebody")]),
        ];
        ObjectsStatus { block: 9, held: 5, promises: 0, references: 1, peers_in_all: 2, peers, more: false }
    }

    /// What a host answers to a path; nothing where it has no answer.
    fn answer(&self, host: usize, path: &str) -> Option<String> {
        if path == "/api/v1/status" {
            return json(&self.host(host));
        }
        if path == "/api/v1/evidence" {
            let golden = include_str!("../../node/protocol/tests/golden/proof_file.hex").trim();
            let file = ProofFile::decode(&hex(golden)).expect("a file of proofs");
            let evidence = to_hex(&codec::encode(&file));
            return json(&EvidenceReply { evidence, names: Default::default() });
        }
        let (id, what) = path.strip_prefix("/api/v1/vats/")?.split_once('/')?;
        let number = (0..VATS).find(|number| self.id(*number) == id)?;
        let newest = self.block.load(Ordering::Relaxed) + number as u64;
        match what.split('?').next()? {
            "introduction" => {
                let introduction = Introduction { genesis: self.geneses[number].clone(), chain: Vec::new() };
                json(&IntroductionReply { vat: id.to_owned(), introduction: to_hex(&codec::encode(&introduction)) })
            }
            "certificates" => {
                let certificate = |block: u64| CertificateStatus {
                    block,
                    epoch: 0,
                    statement: Hash::of(&block.to_be_bytes()).to_string(),
                    state_root: block.is_multiple_of(16).then(|| "ab".repeat(32)),
                    signers: vec![self.key(block as usize % 3), self.key((block as usize + 1 + host % 2) % 3)],
                };
                let certificates = (newest - 60..newest).map(certificate).collect();
                json(&CertificatesStatus { certified_block: newest - 1, certificates })
            }
            "blocks" => {
                let block = |block: u64| BlockStatus {
                    block,
                    at_ms: 1_790_000_000_000 + block,
                    heads: vec![HeadStatus { peer: self.id(number + 1), end: block / 2, ack: block / 2 }],
                    work: vec![WorkStatus {
                        account: self.id(number + 1),
                        deliveries: 2,
                        fuel: 1_234_567,
                        execution_ms: 1.5,
                        rolled_back: Vec::new(),
                    }],
                };
                json(&(newest - 30..=newest).map(block).collect::<Vec<_>>())
            }
            "proof" => json(&ProofReply { proof: None }),
            "objects" => json(&self.objects(number)),
            "references" => json(&ReferencesStatus { references: vec![reference()] }),
            _ => None,
        }
    }

    /// Serves a host at the socket of its home, for as long as the test runs.
    fn serve(self: &Arc<Self>, host: usize, home: &Path) {
        std::fs::create_dir_all(home).expect("writable");
        let listener = UnixListener::bind(home.join("admin.sock")).expect("a socket");
        let hosts = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let hosts = Arc::clone(&hosts);
                std::thread::spawn(move || hosts.talk(host, stream));
            }
        });
    }

    fn talk(&self, host: usize, mut stream: UnixStream) {
        let mut head = Vec::new();
        let mut bytes = [0; 1_024];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(read) => head.extend_from_slice(&bytes[..read]),
            }
        }
        if host == 1 && self.mode.load(Ordering::Relaxed) == HANGS {
            // Until whoever asks has enough of it.
            let _ = stream.read(&mut bytes);
            return;
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let path = text.split(' ').nth(1).unwrap_or_default();
        let (status, body) = match self.answer(host, path) {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", r#"{"code":"Q-N005","message":"there is none"}"#.to_owned()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        // The console may have gone.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }
}

fn reference() -> BearerStatus {
    BearerStatus {
        key: "ab".repeat(32),
        object: 4,
        interface: None,
        expires_ms: Some(1_990_000_000_000),
        note: "for Ada".to_owned(),
        kept_through: None,
    }
}

fn host_id(key: &SigningKey) -> HostId {
    HostId(key.verifying_key().to_bytes())
}

fn member(key: &SigningKey, number: usize) -> Member {
    let addresses = vec![format!("/ip4/192.0.2.{number}/tcp/4001")];
    Member { key: host_id(key), name: format!("h{number}"), addresses }
}

fn json(value: &impl Serialize) -> Option<String> {
    Some(serde_json::to_string(value).expect("JSON"))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digits).collect()
}

#[test]
fn the_page_is_of_use_with_300_vats_to_keyboards_and_in_narrow_windows_and_in_the_dark() {
    let net = TestNet::new(stand_in());
    let hosts = Arc::new(MadeUp::new());
    let homes: Vec<PathBuf> = (1..=3).map(|number| net.path(&format!("h{number}"))).collect();
    homes.iter().enumerate().for_each(|(host, home)| hosts.serve(host, home));
    let mut words = vec!["console", "--admin", "--listen", "127.0.0.1:0"];
    homes.iter().for_each(|home| words.extend(["--home", home.to_str().expect("text")]));
    let console = Console::start(net.command(&words));
    browse("many.mjs", &[&console.url, &console.token, &VATS.to_string()], |word| match word {
        "grow" => drop(hosts.block.fetch_add(40, Ordering::Relaxed)),
        "hang" => hosts.mode.store(HANGS, Ordering::Relaxed),
        "empty" => hosts.mode.store(EMPTY, Ordering::Relaxed),
        other => panic!("{other:?} is nothing to do"),
    });
}

#[test]
fn the_console_listens_on_loopback_only_and_says_what_is_wrong() {
    let net = TestNet::new(stand_in());
    let open = net.vat(&["console", "--listen", "0.0.0.0:0", "--home", "nowhere"]);
    assert_eq!(open.code, 2, "{open:?}");
    assert!(open.stderr.contains("ssh -L"), "{open:?}");
    let none = net.vat(&["console", "--listen", "127.0.0.1:0"]);
    assert_eq!(none.code, 2, "{none:?}");
}
