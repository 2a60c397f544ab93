//! Objects that are handed on between vats in processes: the same object everywhere, messages in order, and introducers that are killed.
//! All interleavings of the like are in `engine/src/machine/handoff_check`.

use quorate_testnet::process::{TestNet, stand_in};
use serde_json::{Value, json};

/// All four vats run this and know one another. Each has one object, which notes what it is told.
const VAT: &str = r#"
import { E, Far } from '@endo/far';
import { makePromiseKit } from '@endo/promise-kit';

export default others => {
  const noted = [];
  const mine = Far('mine', { note(word) { noted.push(word); } });
  const gates = new Map();
  const gate = name => {
    if (!gates.has(name)) gates.set(name, makePromiseKit());
    return gates.get(name);
  };
  let held;
  const root = Far('root', {
    give: () => mine,
    // What is handed on is a promise until it was withdrawn.
    isMine: async object => (await object) === mine,
    noted: () => harden(noted.splice(0)),
    ping: name => (name === undefined ? 'pong' : E(others[name]).ping()),
    open: name => { gate(name).resolve(); },

    // Hands its own object on, along these vats; the last one says whether it is its own.
    travel: path => root.carry(mine, path),
    carry(object, [next, ...rest]) {
      E.sendOnly(object).note(next);
      return rest.length > 0 ? E(others[next]).carry(object, rest) : E(others[next]).isMine(object);
    },

    // Calls what the last of these vats gives once its gate is open, before it is, while it opens, and after.
    async along(round, path, count) {
      const [first, ...rest] = path;
      const object = E(others[first]).through(round, rest);
      let sent = 0;
      const send = () => { sent += 1; E.sendOnly(object).note(`a${sent}`); };
      for (let early = 0; early < count; early += 1) send();
      E.sendOnly(others[path[path.length - 1]]).open(round);
      for (let late = 0; late < count; late += 1) {
        await E(others.d).ping();
        send();
      }
      E.sendOnly(await object).note('end');
      return sent;
    },
    through(round, [next, ...rest]) {
      if (next === undefined) return gate(round).promise.then(() => mine);
      const object = E(others[next]).through(round, rest);
      E.sendOnly(object).note('on the way');
      return object;
    },
    // The last one decides for an object of another vat, which it has sent to before.
    async tribble(round, home) {
      const object = await E(others[home]).give();
      await gate(round).promise;
      E.sendOnly(object).note('decider');
      return object;
    },
    async middle(round, decider, home) {
      const object = E(others[decider]).tribble(round, home);
      E.sendOnly(object).note('middle');
      return object;
    },
    async fourWay(round, count) {
      const object = E(others.b).middle(round, 'c', 'd');
      let sent = 0;
      const send = () => { sent += 1; E.sendOnly(object).note(`a${sent}`); };
      for (let early = 0; early < count; early += 1) send();
      E.sendOnly(others.c).open(round);
      for (let late = 0; late < count; late += 1) {
        await E(others.b).ping();
        send();
      }
      E.sendOnly(await object).note('end');
      return E(others.d).isMine(await object);
    },

    // Introductions whose parts are done one by one.
    async fetch(home) { held = await E(others[home]).give(); },
    pass(to) { E.sendOnly(others[to]).hold(held); },
    hold(object) { held = object; },
    holds: () => held !== undefined,
    tell(word) { E.sendOnly(held).note(word); },
    async isHome(home) { return E(others[home]).isMine(await held); },
    forget() { held = undefined; },
    // Asks for what another one has, once its gate is open there.
    ask(name, round) { held = E(others[name]).later(round); },
    later: round => gate(round).promise.then(() => held),
  });
  return root;
};
"#;

const VATS: [&str; 4] = ["a", "b", "c", "d"];

/// Four vats that know one another: three on hosts of their own, `d` on two, both of which sign. And `e`, which only `b` knows.
fn net() -> TestNet {
    let net = TestNet::new(stand_in());
    net.file("vat.js", VAT);
    let mut config: String = (1..=4).map(|host| format!("[[host]]\nname = \"h{host}\"\n")).collect();
    let hosts = [r#"["h1"]"#, r#"["h2"]"#, r#"["h3"]"#, r#"["h1", "h4"]"#];
    for (name, hosts) in VATS.into_iter().zip(hosts) {
        let threshold = hosts.split(',').count();
        config += &format!(
            "[[vat]]\nname = \"{name}\"\nhosts = {hosts}\nthreshold = {threshold}\nsource = \"vat.js\"\n[vat.argv]\n"
        );
        for other in VATS.into_iter().filter(|other| *other != name) {
            config += &format!("{other} = {{ vat = \"{other}\" }}\n");
        }
        if name == "b" {
            config += "e = { vat = \"e\" }\n";
        }
    }
    config += "[[vat]]\nname = \"e\"\nhosts = [\"h4\"]\nsource = \"vat.js\"\n[vat.argv]\nb = { vat = \"b\" }\n";
    let config = net.file("testnet.toml", &config);
    net.up(&config, &[]).ok();
    net
}

/// Waits until a vat's object was told so much.
#[track_caller]
fn told(net: &TestNet, vat: &str, count: usize) -> Vec<Value> {
    let mut words = Vec::new();
    net.wait(&format!("{count} words at {vat}"), || {
        words.extend(net.call(vat, "noted", &[]).as_array().cloned().unwrap_or_default());
        assert!(words.len() <= count, "{words:?}");
        (words.len() == count).then_some(())
    });
    words
}

/// Waits until a vat's object was told all of this and nothing else.
#[track_caller]
fn was_told(net: &TestNet, vat: &str, expected: &[String]) {
    assert_eq!(json!(told(net, vat, expected.len())), json!(expected));
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (1..=count).map(|number| format!("a{number}"))
}

#[test]
fn what_is_handed_on_stays_itself_and_in_order() {
    let net = net();
    // A → B → C → home, and longer ways.
    for path in [vec!["b", "c", "a"], vec!["b", "c", "d", "a"], vec!["d", "b", "d", "a"]] {
        assert_eq!(net.call("a", "travel", &[&json!(path).to_string()]), json!(true), "{path:?}");
        assert_eq!(told(&net, "a", path.len())[0], json!(path[0]), "the one that the giver sent before is the first");
    }
    assert_eq!(net.call("a", "travel", &[r#"["b", "c", "d"]"#]), json!(false), "it is nobody else's");
    net.wait("the last notes", || (net.call("a", "noted", &[]).as_array().map(Vec::len) == Some(0)).then_some(()));

    // Through four vats before anything has resolved. Those on the way send, too, before they pass anything on.
    for (round, path) in [["b", "c", "d"], ["c", "b", "d"], ["d", "b", "c"]].into_iter().enumerate() {
        let round = format!("\"along {round}\"");
        let sent = net.call("a", "along", &[&round, &json!(path).to_string(), "5"]);
        assert_eq!(sent, json!(10), "{path:?}");
        let on_the_way = ["on the way", "on the way"].map(str::to_owned);
        let expected: Vec<String> = on_the_way.into_iter().chain(numbered(10)).chain(["end".to_owned()]).collect();
        was_told(&net, path[2], &expected);
    }

    // The case of Tribble: A awaits a promise of B, B resolves it to one of C, C that to an object of D.
    for round in 0..3 {
        assert_eq!(net.call("a", "fourWay", &[&format!("\"four {round}\""), "5"]), json!(true));
        let before = ["decider", "middle"].map(str::to_owned);
        let expected: Vec<String> = before.into_iter().chain(numbered(10)).chain(["end".to_owned()]).collect();
        was_told(&net, "d", &expected);
    }
}

fn host(net: &TestNet, what: &str, host: &str) {
    net.vat(&["testnet", what, host]).ok();
}

#[test]
fn an_introducer_that_is_killed_holds_up_only_what_depends_on_it() {
    let net = net();
    // Killed after the handoff: nothing is missing.
    net.call("b", "fetch", &["c"]);
    net.call("b", "pass", &["a"]);
    net.wait("the gift", || (net.call("a", "holds", &[]) == json!(true)).then_some(()));
    assert_eq!(net.call("a", "isHome", &["c"]), json!(true));
    host(&net, "kill", "h2");
    net.call("a", "tell", &["without b"]);
    was_told(&net, "c", &["without b".to_owned()]);
    assert_eq!(net.call("a", "isHome", &["c"]), json!(true));
    host(&net, "restart", "h2");

    // Killed between the gift and the deposit: the home is away while the gift is made, and the giver when the home comes back. One of
    // the receivers is a stranger to the home, which turns it away until then.
    net.call("a", "forget", &[]);
    host(&net, "kill", "h3");
    for receiver in ["a", "e"] {
        net.call("b", "pass", &[receiver]);
        net.wait("the gift", || (net.call(receiver, "holds", &[]) == json!(true)).then_some(()));
    }
    host(&net, "kill", "h2");
    host(&net, "restart", "h3");
    net.call("a", "tell", &["a waits for b"]);
    net.call("e", "tell", &["e waits for b"]);
    // What does not depend on it goes on, in the same streams.
    assert_eq!(net.call("a", "ping", &["c"]), json!("pong"));
    assert_eq!(net.call("d", "ping", &["c"]), json!("pong"));
    assert_eq!(net.call("c", "noted", &[]), json!([]), "nobody has said what the gift is");
    host(&net, "restart", "h2");
    let mut words = told(&net, "c", 2);
    words.sort_by_key(ToString::to_string);
    assert_eq!(json!(words), json!(["a waits for b", "e waits for b"]));
    net.call("e", "tell", &["e again"]);
    was_told(&net, "c", &["e again".to_owned()]);
    assert_eq!(net.call("a", "isHome", &["c"]), json!(true));

    // Killed before it gave anything: what was asked of it waits, and nothing else.
    net.call("a", "ask", &["b", "late"]);
    net.call("a", "tell", &["asked of b"]);
    host(&net, "kill", "h2");
    assert_eq!(net.call("a", "ping", &["c"]), json!("pong"));
    host(&net, "restart", "h2");
    assert_eq!(net.call("c", "noted", &[]), json!([]));
    net.call("b", "open", &["late"]);
    was_told(&net, "c", &["asked of b".to_owned()]);
    assert_eq!(net.call("a", "isHome", &["c"]), Value::Bool(true));
}
