//! What a running host is not hurt by, and what it will not start with: mistaken configs, frames of strangers, forged and replayed
//! slices, and homes that are not what they should be. Broken bytes on its ports are in `strangers.rs`.

mod support;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use quorate_consensus::{Genesis, Hash, HostId, Introduction, Member, MemberSignature, Parameters, Statement};
use quorate_engine::{
    VatId,
    abi::{Method, Value},
    comms::{
        client::{ClientRef, ClientSession},
        stream::StreamHead,
    },
    wire::Op,
};
use quorate_net::{BoxFuture, Handler, Libp2pNetwork, NetError, NetLimits, NetOptions, Network, Purpose};
use quorate_node::{
    codec,
    evidence::{Slice, outbox_path, outbox_root},
    home::{HOME_FORMAT, Home},
    sturdyref::Sturdyref,
    testnet::{config::TestnetConfig, init::Plan, layout::TestnetDir},
    vat::wire::{DirectoryReply, DirectoryRequest, SliceReply, VatFrame},
};
use quorate_testnet::process::{Ran, TestNet, own_file, stand_in};
use std::{
    fs,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use support::{LONG, agree, counter_net, metric, sturdyref};

/// A counter on three hosts, another one that knows it, and one that alpha shares with a host that never runs: the tests use its
/// key.
const CONFIG: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
[[host]]
name = "absent"

[[vat]]
name = "counter"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "counter.js"
[vat.limits]
checkpoint_deliveries = 5

[[vat]]
name = "other"
hosts = ["alpha"]
source = "counter.js"
[vat.argv]
known = { vat = "counter" }

[[vat]]
name = "shared"
hosts = ["alpha", "beta", "absent"]
threshold = 2
source = "counter.js"
"#;

/// One host, one vat.
const SMALL: &str = r#"
[[host]]
name = "alone"

[[vat]]
name = "counter"
hosts = ["alone"]
source = "counter.js"
"#;

fn three_hosts() -> TestNet {
    let (net, config) = counter_net(CONFIG);
    net.up(&config, &["--without", "absent"]).ok();
    net
}

/// Runs a command that has to end by itself.
#[track_caller]
fn ends(net: &TestNet, args: &[&str]) -> Ran {
    let mut command = net.command(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let deadline = Instant::now() + LONG;
    while child.try_wait().expect("it can be waited for").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("it is ours");
            let output = child.wait_with_output().expect("it has ended");
            panic!("{args:?} did not end: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().expect("it has ended");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

// --- Configs and homes ---

#[test]
fn ten_mistakes_are_ten_errors_and_nothing_starts() {
    let cases = own_file("../node/src/testnet/config/cases");
    let read = |name: &str| fs::read_to_string(cases.join(name)).expect("a case of the config's own tests");
    let (net, config) = counter_net(&read("ten.toml"));
    net.file("code.js", &read("code.js"));
    let refused = net.up(&config, &[]);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{}", refused.stderr);
    let errors: Vec<&str> =
        refused.stderr.lines().filter_map(|line| line.split_once("testnet.toml:")).map(|it| it.1).collect();
    let wanted = read("ten.txt");
    let wanted: Vec<&str> = wanted.lines().filter_map(|line| line.strip_prefix("ten.toml:")).collect();
    assert_eq!((errors.len(), &errors), (10, &wanted), "{}", refused.stderr);
    assert!(!net.dir().exists(), "nothing may be made of a config with mistakes");
}

#[test]
fn mistakes_in_code_are_errors_with_a_place_and_nothing_starts() {
    let (net, config) = counter_net(SMALL);
    net.file("counter.js", "import { E } from '@endo/far';\nimport gone from './gone.js';\nimport 'left-pad';\n");
    let refused = net.up(&config, &[]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for wanted in ["counter.js:2:", "counter.js:3:"] {
        assert!(refused.stderr.contains(wanted), "{}", refused.stderr);
    }
    assert!(!net.dir().exists(), "nothing may be made of code with mistakes");
}

#[test]
fn a_home_runs_once_and_only_as_what_it_is() {
    let (net, config) = counter_net(SMALL);
    net.up(&config, &[]).ok();
    let home = net.dir().join("hosts/alone");
    let home_text = home.to_str().expect("text");
    let run = ["node", "run", "--home", home_text];
    let process = net.host("alone").expect("it runs").process;

    let second = ends(&net, &run);
    assert_eq!(second.code, 2, "{}", second.stderr);
    assert!(second.stderr.contains(&format!("process {process}")), "{}", second.stderr);
    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(1));
    net.vat(&["testnet", "down"]).ok();

    let format = home.join("FORMAT");
    fs::write(&format, "quorate-home 99\n").expect("writable");
    let other_format = ends(&net, &run);
    assert_eq!(other_format.code, 2, "{}", other_format.stderr);
    assert!(other_format.stderr.contains("quorate-home 99"), "{}", other_format.stderr);
    assert!(other_format.stderr.contains(HOME_FORMAT), "{}", other_format.stderr);
    fs::write(&format, format!("{HOME_FORMAT}\n")).expect("writable");

    // A key whose data is gone could sign twice.
    fs::rename(home.join("data"), home.join("data.moved")).expect("it was there");
    let without_data = ends(&net, &run);
    assert_eq!(without_data.code, 6, "{}", without_data.stderr);
    assert!(without_data.stderr.contains("Q-R004"), "{}", without_data.stderr);
    assert!(without_data.stderr.contains("vat member replace"), "{}", without_data.stderr);
    fs::remove_dir_all(home.join("data")).expect("a refused start leaves little");
    fs::rename(home.join("data.moved"), home.join("data")).expect("back again");

    // None of this did any harm.
    net.vat(&["testnet", "restart", "alone"]).ok();
    assert_eq!(net.call("counter", "read", &[]), serde_json::json!(1));
}

#[test]
fn an_address_that_no_host_can_listen_at_makes_no_home() {
    let net = TestNet::new(stand_in());
    for wrong in ["foo", "127.0.0.1", "/ip4/127.0.0.1/7001", "/dns/example.org/tcp/7001"] {
        let refused = net.vat(&["node", "init", "--home", "home", "--name", "h", "--listen", wrong]);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{wrong}: {}", refused.stderr);
        assert!(refused.stderr.contains(wrong) && refused.stderr.contains("IP:PORT"), "{}", refused.stderr);
        assert!(!net.path("home").exists(), "{wrong}");
    }
    net.vat(&["node", "init", "--home", "home", "--name", "h", "--listen", "127.0.0.1:7001"]).ok();
    let home = Home::open(&net.path("home")).expect("a home");
    assert_eq!(home.config.listen, ["/ip4/127.0.0.1/tcp/7001"]);
}

#[test]
fn a_vat_of_another_engine_image_is_refused_by_both_hashes() {
    let (net, config) = counter_net(SMALL);
    let plan = Plan::new(TestnetConfig::load(&config).expect("a good config")).expect("good code");
    plan.write(&TestnetDir::new(net.dir()), Hash([0x11; 32])).expect("written");
    let home = net.dir().join("hosts/alone");
    let refused = ends(&net, &["node", "run", "--home", home.to_str().expect("text")]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let own = quorate_engine::image::image_hash().to_string();
    for wanted in ["Q-N003", "counter", &"11".repeat(32), &own] {
        assert!(refused.stderr.contains(wanted), "no {wanted} in {}", refused.stderr);
    }
}

#[test]
fn a_bearer_with_another_seed_is_refused() {
    let (net, config) = counter_net(SMALL);
    net.up(&config, &[]).ok();
    let vat = sturdyref(&net, "counter").vat;
    for wrong in
        [Sturdyref::bearer(vat, 0, [0x22; 32]), Sturdyref::grantee(vat, 0), Sturdyref::bearer(vat, 7, [0x22; 32])]
    {
        let refused = net.vat(&["call", &wrong.to_string(), "increment"]);
        assert_eq!(refused.code, 1, "{wrong:?}: {}", refused.stderr);
        assert!(refused.stderr.contains("refuse the call"), "{wrong:?}: {}", refused.stderr);
    }
    assert_eq!(net.call("counter", "read", &[]), serde_json::json!(0));
}

// --- Frames of strangers ---

fn host_id(net: &TestNet, host: &str) -> HostId {
    let place = net.cluster().layout.hosts.into_iter().find(|place| place.name == host).expect("a known host");
    place.key.parse().expect("a layout's keys are keys")
}

fn home(net: &TestNet, host: &str) -> Home {
    net.cluster().home(host).expect("a home")
}

/// Keeps the slices that it gets, and takes none.
#[derive(Default)]
struct Mailbox(Mutex<Vec<Bytes>>);

impl Handler for Mailbox {
    fn permits(&self, _from: HostId, _purpose: Purpose) -> bool {
        true
    }

    fn handle(&self, _from: HostId, purpose: Purpose, frame: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        // A courier may also ask, on another purpose, whether this host is there.
        if purpose == Purpose::Slice {
            self.0.lock().expect("no panic holds it").push(frame);
        }
        Box::pin(async { Err("not now".to_owned()) })
    }
}

/// A network of its own key that knows the testnet's hosts.
async fn outsider(net: &TestNet, secret: [u8; 32]) -> (Arc<Libp2pNetwork>, Arc<Mailbox>) {
    let mailbox = Arc::new(Mailbox::default());
    let options = NetOptions { secret, listen: vec![], handler: mailbox.clone(), limits: NetLimits::default() };
    let network = Libp2pNetwork::start(options).await.expect("a network");
    for place in net.cluster().layout.hosts.into_iter().filter(|place| place.name != "absent") {
        network.set_addresses(place.key.parse().expect("a key"), vec![place.address]);
    }
    (network, mailbox)
}

fn garbage() -> [Vec<u8>; 5] {
    let slice_of_nothing = [&[1u8][..], &[0; 300]].concat();
    let claims_four_gigabytes = [&[1u8, 253][..], &u64::MAX.to_le_bytes()].concat();
    [vec![], vec![0xff; 10_000], b"\x01".to_vec(), slice_of_nothing, claims_four_gigabytes]
}

#[test]
fn frames_of_strangers_and_of_members_of_other_vats_are_refused() {
    const AGREEMENT: [Purpose; 4] = [Purpose::Append, Purpose::Vote, Purpose::Snapshot, Purpose::Propose];
    let net = three_hosts();
    let counter = sturdyref(&net, "counter").vat;
    let shared = sturdyref(&net, "shared").vat;
    let alpha = host_id(&net, "alpha");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (stranger, _) = outsider(&net, [0x33; 32]).await;
        // Once each: whatever a stranger sends there is closed before it is read, which `strangers.rs` shows with raw bytes.
        for purpose in AGREEMENT {
            let frame = Bytes::from([&counter.0[..], &[0xff; 100]].concat());
            let refused = stranger.request(alpha, purpose, frame, LONG).await;
            assert_eq!(refused, Err(NetError::Forbidden { host: alpha, purpose }));
        }
        // On the share channel, a member that has only just been admitted introduces itself: strangers may try.
        for purpose in [Purpose::Slice, Purpose::Directory, Purpose::Share] {
            for body in garbage() {
                let frame = if purpose == Purpose::Share { [&counter.0[..], &body].concat() } else { body };
                let refused = stranger.request(alpha, purpose, frame.into(), LONG).await;
                assert!(matches!(refused, Err(NetError::Refused(_))), "{purpose}: {refused:?}");
            }
        }
        let nobody = codec::encode(&DirectoryRequest::WhoIs(VatId([0x44; 32])));
        let answer = stranger.request(alpha, Purpose::Directory, nobody.into(), LONG).await.expect("an answer");
        assert_eq!(codec::decode(&answer), Ok(DirectoryReply::Unknown));
        stranger.shutdown().await;

        // A member of one vat may open such streams. It is still a stranger to the other vats, and garbage is garbage.
        let (member, _) = outsider(&net, home(&net, "absent").key.to_bytes()).await;
        for vat in [counter, shared, VatId([0x44; 32])] {
            for purpose in AGREEMENT {
                for body in garbage() {
                    let frame = Bytes::from([&vat.0[..], &body].concat());
                    let answer = member.request(alpha, purpose, frame, LONG).await;
                    // To Raft messages of those whom a replica does not know it answers that it does not know them.
                    let unknown = vat == counter && matches!(purpose, Purpose::Append | Purpose::Vote);
                    let refused = matches!(answer, Err(NetError::Refused(_)));
                    assert!(refused || unknown && answer.is_ok(), "{purpose}: {answer:?}");
                }
            }
        }
        member.shutdown().await;
    });
    let page = net.metrics("alpha");
    // The stranger's on the open purposes, the member's to its own vat on the others.
    for purpose in Purpose::ALL {
        let labels = [&*format!("purpose=\"{purpose}\"")];
        let malformed = metric(&page, "quorate_malformed_frames_total", &labels);
        assert_eq!(malformed, garbage().len() as f64, "{purpose}");
    }
    for purpose in AGREEMENT {
        let purpose = format!("purpose=\"{purpose}\"");
        let forbidden = metric(&page, "quorate_net_rejected_total", &[&purpose, "reason=\"forbidden\""]);
        assert_eq!(forbidden, 1.0, "{purpose}");
        let refused = metric(&page, "quorate_net_rejected_total", &[&purpose, "reason=\"refused\""]);
        assert!(refused >= 2.0 * garbage().len() as f64, "{purpose}: {refused}");
    }
    for vat in ["counter", "shared"] {
        assert_eq!(net.call(vat, "increment", &[]), serde_json::json!(1));
    }
    // A member of `shared` is missing from the beginning.
    net.wait("a status without complaints", || (net.vat(&["status", "counter"]).code == 0).then_some(()));
}

// --- Slices ---

/// A solo vat without code, made by hand: it can say what is wrong.
struct Stranger {
    key: SigningKey,
    genesis: Genesis,
    session: ClientSession,
    blocks: u64,
    network: Arc<Libp2pNetwork>,
    mailbox: Arc<Mailbox>,
}

impl Stranger {
    async fn new(net: &TestNet, seed: u8, target: VatId) -> Stranger {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = key.verifying_key().to_bytes();
        let genesis = Genesis {
            members: vec![Member { key: HostId(public), name: "stranger".into(), addresses: vec![] }],
            threshold: 1,
            image: Hash([0; 32]),
            creator: public,
            nonce: [seed; 32],
            expires: 0,
            parameters: Parameters::default(),
        };
        let session = ClientSession::new(genesis.vat_id(), target);
        let (network, mailbox) = outsider(net, key.to_bytes()).await;
        Stranger { key, genesis, session, blocks: 0, network, mailbox }
    }

    fn vat(&self) -> VatId {
        self.session.vat()
    }

    fn redeem(&mut self, sturdyref: &Sturdyref, grantee: &VatId) {
        let redemption = sturdyref.redeem_for(grantee).expect("a bearer");
        let signature = redemption.signature.try_into().expect("64 bytes");
        self.session.redeem(0, redemption.bearer, signature).expect("room");
    }

    fn increment(&mut self, by: u32) {
        let args = Value::Array(vec![Value::Number(by.into())]);
        self.session.call(ClientRef::Object(0), Method::Call("increment".into()), &args, &[]).expect("room");
    }

    /// Everything said so far from message `begin` on, well certified.
    fn slice(&mut self, begin: u64) -> Slice {
        let head = self.session.head();
        let messages = self.session.unacked().filter(|(number, _)| *number >= begin);
        let messages = messages.map(|(_, message)| message.to_vec()).collect();
        self.certified(head, begin, messages)
    }

    fn certified(&mut self, head: StreamHead, begin: u64, messages: Vec<Vec<u8>>) -> Slice {
        self.blocks += 1;
        let heads = [head];
        let statement = Statement {
            vat: self.vat(),
            epoch: 0,
            block: self.blocks,
            previous: Hash([0; 32]),
            outbox_root: Hash(outbox_root(&heads).expect("a head").0),
            state_root: None,
        };
        let signatures = vec![MemberSignature::sign(&self.key, &statement.payload())];
        Slice {
            genesis: Some(self.genesis.clone()),
            chain: vec![],
            certificate: quorate_consensus::Certificate { statement, signatures },
            head,
            path: outbox_path(&heads, 0),
            begin,
            messages,
            tail: vec![],
        }
    }

    /// Hands a slice to a member of a vat.
    async fn ship(&self, to: VatId, host: HostId, slice: &Slice) -> SliceReply {
        let frame = VatFrame { to, from: slice.sender(), slice: Box::new(slice.clone()) };
        let answer = self.network.request(host, Purpose::Slice, codec::encode(&frame).into(), LONG).await;
        codec::decode(&answer.expect("an answer")).expect("a reply")
    }

    /// A slice that came for this vat.
    async fn received(&self) -> Slice {
        for _ in 0..600 {
            let frame = self.mailbox.0.lock().expect("no panic holds it").first().cloned();
            if let Some(frame) = frame {
                return *codec::decode::<VatFrame>(&frame).expect("a slice").slice;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no slice came");
    }

    /// Asks a host who the members of a vat are.
    async fn who_is(&self, host: HostId, vat: VatId) -> Introduction {
        let request = codec::encode(&DirectoryRequest::WhoIs(vat));
        let answer = self.network.request(host, Purpose::Directory, request.into(), LONG).await.expect("an answer");
        match codec::decode(&answer) {
            Ok(DirectoryReply::Known { introduction, .. }) => *introduction,
            other => panic!("{other:?}"),
        }
    }
}

fn is_refused(reply: &SliceReply) -> bool {
    matches!(reply, SliceReply::Refused { .. })
}

fn is_taken(reply: &SliceReply, wanted: u64) -> bool {
    matches!(reply, SliceReply::Taken { next, .. } if *next == wanted)
}

/// Ways to falsify a good slice whose last message is the only one.
fn falsified(slice: &Slice, key: &SigningKey, elsewhere: &Genesis) -> Vec<(&'static str, Slice)> {
    let other_key = SigningKey::from_bytes(&[0x77; 32]);
    let mut all = Vec::new();
    let mut falsify = |what, change: &dyn Fn(&mut Slice)| {
        let mut slice = slice.clone();
        change(&mut slice);
        all.push((what, slice));
    };
    falsify("another message", &|slice| *slice.messages[0].last_mut().expect("bytes") ^= 1);
    falsify("no message", &|slice| slice.messages.clear());
    falsify("no message, and a number before the first", &|slice| {
        slice.messages.clear();
        slice.begin = 0;
    });
    falsify("numbers beyond the last", &|slice| slice.begin = u64::MAX);
    falsify("one message more", &|slice| slice.messages.push(slice.messages[0].clone()));
    falsify("the message twice, numbered so", &|slice| {
        slice.messages.push(slice.messages[0].clone());
        slice.head.end += 1;
    });
    falsify("another head", &|slice| slice.head.hash.0[0] ^= 1);
    falsify("another acknowledgement", &|slice| slice.head.ack += 1);
    falsify("another path", &|slice| slice.path.leaves += 1);
    falsify("another outbox", &|slice| slice.certificate.statement.outbox_root.0[0] ^= 1);
    falsify("another epoch, signed", &|slice| {
        slice.certificate.statement.epoch = 1;
        slice.certificate.signatures = vec![MemberSignature::sign(key, &slice.certificate.statement.payload())];
    });
    falsify("no signature", &|slice| slice.certificate.signatures.clear());
    falsify("a broken signature", &|slice| slice.certificate.signatures[0].signature[5] ^= 1);
    falsify("another's signature", &|slice| {
        slice.certificate.signatures = vec![MemberSignature::sign(&other_key, &slice.certificate.statement.payload())];
    });
    falsify("another's name", &|slice| {
        slice.certificate.statement.vat = elsewhere.vat_id();
        slice.genesis = Some(elsewhere.clone());
        slice.certificate.signatures = vec![MemberSignature::sign(key, &slice.certificate.statement.payload())];
    });
    falsify("another's name with the own genesis", &|slice| {
        slice.certificate.statement.vat = elsewhere.vat_id();
        slice.certificate.signatures = vec![MemberSignature::sign(key, &slice.certificate.statement.payload())];
    });
    all
}

#[test]
fn forged_and_replayed_slices_are_refused() {
    let net = three_hosts();
    let bearer = sturdyref(&net, "counter");
    let (counter, other) = (bearer.vat, sturdyref(&net, "other").vat);
    let (alpha, beta) = (host_id(&net, "alpha"), host_id(&net, "beta"));
    let count = |expected: u32| assert_eq!(net.call("counter", "read", &[]), serde_json::json!(expected));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");

    let mut honest = runtime.block_on(Stranger::new(&net, 0x51, counter));
    let vat = honest.vat();
    honest.redeem(&bearer, &vat);
    honest.increment(5);
    let first = honest.slice(1);
    let taken = runtime.block_on(honest.ship(counter, alpha, &first));
    assert!(is_taken(&taken, 3), "{taken:?}");
    count(5);

    // Replayed, at each member.
    for host in [alpha, beta] {
        let again = runtime.block_on(honest.ship(counter, host, &first));
        assert!(is_taken(&again, 3), "{again:?}");
    }
    count(5);

    // Falsified. The last good slice stays unsaid until the end.
    let elsewhere = runtime.block_on(honest.who_is(alpha, counter)).genesis;
    honest.increment(7);
    let next = honest.slice(3);
    for (what, slice) in falsified(&next, &honest.key, &elsewhere) {
        let reply = runtime.block_on(honest.ship(counter, alpha, &slice));
        // One without messages says nothing new, whatever is wrong with it.
        assert!(is_refused(&reply) || is_taken(&reply, 3) && slice.messages.is_empty(), "{what}: {reply:?}");
    }
    honest.increment(1_000);
    let early = honest.slice(4);
    let reply = runtime.block_on(honest.ship(counter, alpha, &early));
    assert!(matches!(reply, SliceReply::NotYet { next: 3, .. }), "{reply:?}");
    let reply = runtime.block_on(honest.ship(other, alpha, &next));
    assert!(is_refused(&reply), "what was said to one vat is nothing to another: {reply:?}");
    count(5);

    // What the counter said to us is nothing to others, and can't be altered on the way.
    let genuine = runtime.block_on(honest.received());
    assert!(genuine.genesis.is_some(), "whoever has not heard of the vat is told who it is");
    genuine.verify(None, &vat).expect("it was certified");
    let reply = runtime.block_on(honest.ship(other, alpha, &genuine));
    assert!(is_refused(&reply), "{reply:?}");
    let mut redirected = genuine;
    redirected.head.peer = other;
    redirected.genesis = Some(elsewhere.clone());
    let reply = runtime.block_on(honest.ship(other, alpha, &redirected));
    assert!(is_refused(&reply), "{reply:?}");

    // The slice itself is as good as ever.
    let taken = runtime.block_on(honest.ship(counter, beta, &next));
    assert!(is_taken(&taken, 4), "{taken:?}");
    count(12);
    agree(&net, "counter", 3, 0);
}

#[test]
fn strangers_have_no_authority_and_break_only_their_own_streams() {
    let net = three_hosts();
    let bearer = sturdyref(&net, "counter");
    let counter = bearer.vat;
    let alpha = host_id(&net, "alpha");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut seed = 0x61;
    let mut stranger = || {
        seed += 1;
        runtime.block_on(Stranger::new(&net, seed, counter))
    };
    let ship = |stranger: &Stranger, slice: &Slice| runtime.block_on(stranger.ship(counter, alpha, slice));

    // Whoever is not known must introduce itself.
    let mut unknown = stranger();
    let vat = unknown.vat();
    unknown.redeem(&bearer, &vat);
    let mut slice = unknown.slice(1);
    slice.genesis = None;
    assert_eq!(ship(&unknown, &slice), SliceReply::Introduce);

    // Without a reference, or with a proof that was made for another vat, nothing is taken and nothing remembered.
    let peers = || metric(&net.metrics("alpha"), "quorate_peer_vats", &["vat=\"counter\""]);
    let before = peers();
    let mut powerless = stranger();
    let slice = powerless.certified(powerless.session.head(), 1, vec![]);
    assert!(is_refused(&ship(&powerless, &slice)), "it says nothing");
    powerless.increment(1);
    let slice = powerless.slice(1);
    assert!(is_refused(&ship(&powerless, &slice)), "it has no reference");
    let mut thief = stranger();
    thief.redeem(&bearer, &powerless.vat());
    thief.increment(1);
    let slice = thief.slice(1);
    assert!(is_refused(&ship(&thief, &slice)), "it has another's");
    assert_eq!(peers(), before);

    // Well certified nonsense breaks its own stream only.
    let mut babbler = stranger();
    let nonsense = [vec![], vec![0xff; 100], Op::Redeem { object: 0, bearer: [0; 32], signature: vec![1] }.encode()];
    for message in nonsense {
        let vat = babbler.vat();
        babbler.redeem(&bearer, &vat);
        let (_, redemption) = babbler.session.unacked().next().expect("it was said");
        let messages = vec![redemption.to_vec(), message];
        let mut stream = quorate_engine::comms::stream::OutStream::new(&vat, &counter);
        messages.iter().for_each(|message| {
            stream.push(message.clone().into());
        });
        let head = StreamHead { peer: counter, end: 2, hash: stream.hash(), ack: 0 };
        let slice = babbler.certified(head, 1, messages);
        let reply = ship(&babbler, &slice);
        assert!(!matches!(reply, SliceReply::Introduce | SliceReply::NotYet { .. }), "{reply:?}");
        babbler = stranger();
    }
    net.wait("three broken streams in the metrics", || {
        let broken = metric(&net.metrics("alpha"), "quorate_broken_streams", &["vat=\"counter\""]);
        assert!(broken <= 3.0, "{broken}");
        (broken == 3.0).then_some(())
    });

    assert_eq!(net.call("counter", "increment", &[]), serde_json::json!(1));
    agree(&net, "counter", 3, 0);
}

#[test]
fn one_member_of_a_quorum_is_not_believed_however_often_it_signs() {
    let net = three_hosts();
    let (counter, other) = (sturdyref(&net, "counter").vat, sturdyref(&net, "other").vat);
    let alpha = host_id(&net, "alpha");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // A member alone speaks for the counter, with its real key.
    let mut liar = runtime.block_on(Stranger::new(&net, 0x71, other));
    liar.genesis = runtime.block_on(liar.who_is(alpha, counter)).genesis;
    liar.session = ClientSession::new(counter, other);
    liar.key = home(&net, "gamma").key;
    liar.increment(66);
    for _ in 0..3 {
        let mut slice = liar.slice(1);
        let once = slice.certificate.signatures[0];
        slice.certificate.signatures = vec![once, once];
        let reply = runtime.block_on(liar.ship(other, alpha, &slice));
        assert!(matches!(reply, SliceReply::NotYet { next: 1, .. }), "{reply:?}");
    }
    // Two signatures over two different statements are no two signatures.
    liar.key = home(&net, "beta").key;
    liar.increment(67);
    let slice = liar.slice(1);
    let reply = runtime.block_on(liar.ship(other, alpha, &slice));
    assert!(matches!(reply, SliceReply::NotYet { next: 1, .. }), "{reply:?}");
    assert_eq!(net.call("other", "read", &[]), serde_json::json!(0));
    let other = net.replicas("other").remove(0).1;
    assert!(other.streams.iter().all(|stream| stream.peer != "counter" || stream.received == 0), "{:?}", other.streams);
}
