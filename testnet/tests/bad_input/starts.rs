//! Configs and homes that nothing is started with, and sturdyrefs that open nothing.

use crate::support::{LONG, counter_net, sturdyref};
use quorate_config::{
    home::{HOME_FORMAT, Home},
    init::Plan,
    layout::TestnetDir,
    testnet::TestnetConfig,
};
use quorate_consensus::Hash;
use quorate_protocol::sturdyref::Sturdyref;
use quorate_testnet::process::{Ran, TestNet, own_file, stand_in};
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

/// One host, one vat.
const SMALL: &str = r#"
[[host]]
name = "alone"

[[vat]]
name = "counter"
hosts = ["alone"]
source = "counter.js"
"#;

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

#[test]
fn ten_mistakes_are_ten_errors_and_nothing_starts() {
    let cases = own_file("../testnet/config/src/testnet/cases");
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
    assert!(!home.join("data").exists(), "a refused start leaves nothing");
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
