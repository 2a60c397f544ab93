//! Vats that refer to each other, in every combination of solo and quorum, and many of them at once: the code can't tell.

mod support;

use quorate_testnet::process::{TestNet, stand_in};
use serde_json::{Value, json};
use support::agree;

/// Both sides of every pair run this. `exercise` returns what did not hold.
const SIDE: &str = r#"
import { E, Far } from '@endo/far';
import { makePromiseKit } from '@endo/promise-kit';

export default ({ name, peer }) => {
  const notes = [];
  const token = Far('token', { who: () => name });
  const chain = depth => Far('link', { next: () => chain(depth - 1), depth: () => depth });

  const rejection = promise => E.when(promise, value => ({ fulfilled: value }), ({ name, message }) => ({ name, message }));

  const references = async check => {
    const home = await E(peer).echo(token);
    check('an own object comes home as itself', home === token);
    const nested = await E(peer).echo(harden({ list: [token, 7n, undefined], deep: { token } }));
    check('also within data', nested.list[0] === token && nested.deep.token === token && nested.list[1] === 7n);
    const theirs = await E(peer).token();
    check('a presence is one object', theirs === (await E(peer).token()));
    check('and is known at its home', await E(peer).isToken(theirs));
    check('as which another one is not', !(await E(peer).isToken(Far('token', {}))));
    check('the root is the root', peer === (await E(peer).self()));
    check('a reference can be called', (await E(peer).askWho(token)) === name);
  };

  const promises = async check => {
    const early = makePromiseKit();
    const doubled = E(peer).doubleLater(early.promise);
    early.resolve(21);
    check('a promise can be passed before it settles', (await doubled) === 42);
    const later = makePromiseKit();
    const who = E(peer).askWho(later.promise);
    later.resolve(token);
    check('and be called by whom it was passed to', (await who) === name);
    const broken = makePromiseKit();
    const waits = rejection(E(peer).doubleLater(broken.promise));
    broken.reject(TypeError('broken on purpose'));
    check('and be broken', (await waits).message === 'broken on purpose');
    const kept = await E(peer).promiseOfToken();
    check('a promise in data arrives as one', (await E(kept.promise).who()) === (await E(peer).name()));
    const back = makePromiseKit();
    const returned = E(peer).echo(back.promise);
    back.resolve(token);
    check('a promise comes home with what it became', (await returned) === token);
  };

  const pipelining = async check => {
    check('two calls in one go', (await E(E(peer).token()).who()) === (await E(peer).name()));
    check('five', (await E(E(E(E(E(peer).chain(9)).next()).next()).next()).depth()) === 6);
    const failed = rejection(E(E(E(peer).fail('no such luck')).anything()).more());
    check('what is sent to a failure fails alike', (await failed).message === 'no such luck');
  };

  const rejections = async check => {
    const { name, message } = await rejection(E(peer).fail('no such luck'));
    check('an error keeps its name and message', name === 'RangeError' && message === 'no such luck');
    const unknown = await rejection(E(peer).undefinedMethod());
    check('an unknown method is an error', unknown.name === 'TypeError' && unknown.message.includes('undefinedMethod'));
    const data = await rejection(E(peer).echo(7));
    check('and data is no error', data.fulfilled === 7);
  };

  const order = async check => {
    for (let number = 0; number < 20; number += 1) E.sendOnly(peer).note(number);
    const notes = await E(peer).takeNotes();
    check('what was sent first arrives first', notes.join() === [...Array(20).keys()].join());
    check('a call may go to and fro', (await E(peer).pingPong(20, root)) === 20);
  };

  const root = Far('root', {
    name: () => name,
    self: () => root,
    echo: value => value,
    token: () => token,
    isToken: value => value === token,
    askWho: object => E(object).who(),
    doubleLater: async promise => 2 * (await promise),
    promiseOfToken: () => harden({ promise: Promise.resolve().then(() => token) }),
    chain,
    fail: message => { throw RangeError(message); },
    note: number => { notes.push(number); },
    takeNotes: () => harden(notes.splice(0)),
    pingPong: (left, other) => left === 0 ? 0 : E.when(E(other).pingPong(left - 1, root), count => count + 1),
    async exercise() {
      const wrong = [];
      const check = (what, holds) => { if (!holds) wrong.push(what); };
      for (const part of [references, promises, pipelining, rejections, order]) {
        try { await part(check); } catch (error) { wrong.push(`${error.name}: ${error.message}`); }
      }
      return harden(wrong);
    },
  });
  return root;
};
"#;

/// A testnet of three hosts in which `left` and `right`, on these hosts, have each other in their arguments.
fn pair(left: &[&str], right: &[&str]) -> TestNet {
    let net = TestNet::new(stand_in());
    net.file("side.js", SIDE);
    let hosts = ["h1", "h2", "h3"].map(|host| format!("[[host]]\nname = \"{host}\"\n")).concat();
    let vat = |name: &str, peer: &str, hosts: &[&str]| {
        format!(
            "[[vat]]\nname = \"{name}\"\nhosts = {hosts:?}\nthreshold = {}\nsource = \"side.js\"\n[vat.argv]\nname = \"{name}\"\npeer = {{ vat = \"{peer}\" }}\n[vat.limits]\ncheckpoint_deliveries = 20\n",
            hosts.len() / 2 + 1
        )
    };
    let config = [hosts, vat("left", "right", left), vat("right", "left", right)].concat();
    let config = net.file("testnet.toml", &config);
    net.up(&config, &[]).ok();
    net
}

/// Both at once, so that their calls cross.
#[track_caller]
fn both_exercise(net: &TestNet) {
    std::thread::scope(|scope| {
        let sides = ["left", "right"].map(|side| scope.spawn(move || net.call(side, "exercise", &[])));
        for (side, done) in ["left", "right"].into_iter().zip(sides) {
            assert_eq!(done.join().expect("the call was answered"), json!([]), "{side}");
        }
    });
}

const TRIO: [&str; 3] = ["h1", "h2", "h3"];

#[test]
fn solo_and_solo() {
    let net = pair(&["h1"], &["h2"]);
    both_exercise(&net);
}

#[test]
fn solo_and_solo_on_one_host() {
    let net = pair(&["h3"], &["h3"]);
    both_exercise(&net);
}

#[test]
fn solo_and_quorum() {
    let net = pair(&["h1"], &TRIO);
    both_exercise(&net);
    agree(&net, "right", 3, 0);
}

#[test]
fn quorum_and_solo() {
    let net = pair(&TRIO, &["h3"]);
    both_exercise(&net);
    agree(&net, "left", 3, 0);
}

#[test]
fn quorum_and_quorum_also_with_a_host_less() {
    let net = pair(&TRIO, &TRIO);
    both_exercise(&net);
    net.vat(&["testnet", "kill", "h2"]).ok();
    both_exercise(&net);
    net.vat(&["testnet", "restart", "h2"]).ok();
    for vat in ["left", "right"] {
        agree(&net, vat, 3, 0);
    }
}

/// One of a ring: each sends its name all the way round at its start, and each notes what passes.
const LINK: &str = r#"
import { E, Far } from '@endo/far';

export default ({ name, next, size }) => {
  const seen = [];
  E.sendOnly(next).pass(name, size - 1);
  return Far('link', {
    pass(from, left) {
      seen.push(from);
      if (left > 0) E.sendOnly(next).pass(from, left - 1);
    },
    tally(left) {
      const own = [name, seen.length, new Set(seen).size];
      return left === 0 ? harden([own]) : E.when(E(next).tally(left - 1), others => harden([own, ...others]));
    },
  });
};
"#;

#[test]
fn twenty_vats_on_four_hosts_all_talk_at_once() {
    const SIZE: usize = 20;
    let net = TestNet::new(stand_in());
    net.file("link.js", LINK);
    let mut config = String::new();
    for host in 0..4 {
        config += &format!("[[host]]\nname = \"h{host}\"\n");
    }
    for link in 0..SIZE {
        // Solo and quorum in turn, on all hosts alike.
        let members = if link % 2 == 0 { 1 } else { 3 };
        let hosts: Vec<String> = (0..members).map(|member| format!("h{}", (link / 2 + member) % 4)).collect();
        config += &format!(
            "[[vat]]\nname = \"v{link}\"\nhosts = {hosts:?}\nthreshold = {}\nsource = \"link.js\"\n[vat.argv]\nname = \"v{link}\"\nsize = {SIZE}\nnext = {{ vat = \"v{}\" }}\n",
            members / 2 + 1,
            (link + 1) % SIZE
        );
    }
    let config = net.file("testnet.toml", &config);
    net.up(&config, &[]).ok();
    let everyone: Vec<Value> = (0..SIZE).map(|link| json!([format!("v{link}"), SIZE, SIZE])).collect();
    let left = (SIZE - 1).to_string();
    net.wait("every name at every vat", || (net.call("v0", "tally", &[&left]) == json!(everyone)).then_some(()));
    // Nothing more comes: each name passed each vat once.
    assert_eq!(net.call("v0", "tally", &[&left]), json!(everyone));
    let status = net
        .wait("a status without complaints", || Some(net.vat(&["status", "--json"])).filter(|status| status.code == 0));
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["replicas"].as_array().map(Vec::len), Some(SIZE / 2 * 4));
}
