//! Looking at hosts that run, that are down, and that are gone: `vat status` and `vat logs` as people and scripts use them.

use quorate_testnet::process::{TestNet, stand_in};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Stdio},
};

const CONFIG: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"

[[vat]]
name = "talker"
hosts = ["alpha"]
source = "talker.js"
"#;

const TALKER: &str = "
import { Far } from '@endo/far';
export default () => {
  console.log('up');
  return Far('talker', { say: text => { console.log(text); console.error(text); } });
};
";

/// A command that goes on until it is stopped, or until nobody reads it.
struct Lasting {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Lasting {
    fn start(net: &TestNet, args: &[&str]) -> Lasting {
        let mut child = net.command(args).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Lasting { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("readable");
        assert!(line.ends_with('\n'), "the command has ended after {line:?}");
        line
    }

    /// Its next line, as JSON.
    fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Closes its standard output from outside, and returns the exit code once it has ended by itself.
    fn leave(self, net: &TestNet) -> Option<i32> {
        let Lasting { mut child, lines } = self;
        drop(lines);
        net.wait("the command's end", || child.try_wait().expect("it can be waited for")).code()
    }
}

#[test]
fn a_panic_is_a_line_of_the_log_and_the_host_goes_on() {
    let mut net = TestNet::new(stand_in());
    net.environment("QUORATE_TEST_PANIC", "alpha");
    net.file("talker.js", TALKER);
    let config = net.file("testnet.toml", CONFIG);
    net.up(&config, &[]).ok();
    let line = net.wait("the panic in the log", || {
        let log = net.vat(&["logs", "alpha"]).ok().stdout;
        // The last line may still be under way.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let mut lines = whole
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        lines.find(|line| line["code"] == "Q-PANIC")
    });
    assert_eq!(
        (&line["level"], &line["panic"], &line["thread"]),
        (&json!("ERROR"), &json!("13 bad luck"), &json!("unlucky"))
    );
    assert!(line["place"].as_str().is_some_and(|place| place.contains("vat_under_test.rs:")), "{line}");
    assert_eq!(net.call("talker", "say", &["still here"]), Value::Null);
}

#[test]
fn status_and_logs_of_hosts_that_run_that_are_down_and_that_are_gone() {
    let net = TestNet::new(stand_in());
    net.file("talker.js", TALKER);
    let config = net.file("testnet.toml", CONFIG);
    net.up(&config, &[]).ok();
    let code = |args: &[&str]| net.vat(args).code;
    net.wait("a status without complaints", || (code(&["status"]) == 0).then_some(()));
    assert_eq!((code(&["status", "talker"]), code(&["status", "nosuch"])), (0, 2));

    // New lines come as they are printed; the command ends with its reader, though nothing more is printed.
    let mut follower = Lasting::start(&net, &["logs", "-f", "--json"]);
    let line = follower.json();
    assert_eq!((&line["vat"], &line["level"], &line["text"]), (&json!("talker"), &json!("info"), &json!("up")));
    net.call("talker", "say", &["hello"]);
    let (info, error) = (follower.json(), follower.json());
    assert_eq!((&info["text"], &error["text"]), (&json!("hello"), &json!("hello")));
    assert_eq!((&info["level"], &error["level"], &info["block"]), (&json!("info"), &json!("error"), &error["block"]));
    assert_eq!(follower.leave(&net), Some(0));
    let home = net.dir().join("hosts/alpha");
    let home = home.to_str().expect("text");
    let mut follower = Lasting::start(&net, &["logs", "talker", "-f", "--home", home]);
    assert_eq!([follower.line(), follower.line(), follower.line()].concat(), "up\nhello\nhello\n");
    assert_eq!(follower.leave(&net), Some(0));
    let mut follower = Lasting::start(&net, &["logs", "alpha", "-f"]);
    follower.json();
    assert_eq!(follower.leave(&net), Some(0));
    assert_eq!((code(&["logs", "nosuch", "--home", home]), code(&["logs", "nosuch"])), (2, 2));

    // Again and again, until it is stopped.
    let mut watcher = Lasting::start(&net, &["status", "talker", "--watch"]);
    let heads = |watcher: &mut Lasting| while !watcher.line().contains("STATE ROOT") {};
    heads(&mut watcher);
    heads(&mut watcher);
    watcher.child.kill().expect("it is ours");
    watcher.child.wait().expect("it can be waited for");

    // Down: that is not well, and yet no error.
    net.vat(&["testnet", "down"]).ok();
    let status = net.vat(&["status", "--json"]);
    assert_eq!(status.code, 1, "{}", status.stderr);
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!((&status["hosts_down"], &status["not_running"]), (&json!(["alpha", "beta"]), &json!(["talker"])));
    assert_eq!((code(&["status", "talker"]), code(&["status", "nosuch"])), (1, 2));
    assert_eq!(net.console("talker"), "up\nhello\nhello\n");

    // Gone: a lost disk is one host less, and no obstacle to the others.
    net.vat(&["testnet", "restart", "alpha"]).ok();
    fs::remove_dir_all(net.dir().join("hosts/beta")).expect("it is there");
    let status = net.wait("a leader after the restart", || {
        let status = net.vat(&["status", "--json"]);
        (status.code == 0).then_some(status)
    });
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["hosts_down"], json!(["beta"]));
    let create = net.vat(&["create", "lost", "--on", "beta"]);
    assert_eq!(create.code, 3, "{}", create.stderr);
    assert!(create.stderr.contains("the home of beta is gone"), "{}", create.stderr);
}
