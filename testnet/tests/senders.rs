//! Vats that do their worst to another one, and to themselves, beside honest callers, over processes: the honest ones are answered.

mod support;

use quorate_engine::{abi::Value, comms::client::Completion};
use quorate_testnet::process::{TestNet, stand_in};
use support::{agree, ask, client, metric};

/// Little fuel, so that what never ends is soon stopped.
const CONFIG: &str = r#"
[[host]]
name = "alpha"
[[host]]
name = "beta"
[[host]]
name = "gamma"
[[host]]
name = "delta"

[limits]
fuel_per_delivery = 150000000

[[vat]]
name = "victim"
hosts = ["alpha", "beta", "gamma"]
threshold = 2
source = "victim.js"
[vat.limits]
checkpoint_deliveries = 10
memory_mb = 32

[[vat]]
name = "attacker"
hosts = ["delta"]
source = "attacker.js"
[vat.argv]
target = { vat = "victim" }
"#;

const VICTIM: &str = "
import { Far } from '@endo/far';
const waiting = [];
export default () => Far('root', {
  spin() { for (;;); },
  take(list) { return list.length; },
  note() {},
  next() { return new Promise(resolve => { waiting.push(resolve); }); },
  waiting() { return waiting.length; },
  ping(value) { return value === undefined ? 'pong' : value; },
});
";

const ATTACKER: &str = "
import { E, Far } from '@endo/far';
export default ({ target }) => {
  let fresh = 0;
  const name = () => { fresh += 1; return Symbol.for(`fresh-${fresh}`); };
  return Far('root', {
    spin(n) { for (let i = 0; i < n; i += 1) E.sendOnly(target).spin(); return n; },
    symbols() { return E(target).take(Array.from({ length: 1000 }, name)); },
    burst(n) {
      for (let i = 0; i < n; i += 1) E(target).note(i).then(() => { for (let k = 0; k < 1e6; k += 1); });
      return n;
    },
    async retry(n) {
      const large = 'x'.repeat(600000);
      for (let i = 0; i < n; i += 1) await E(target).note(large).catch(() => {});
      return n;
    },
    answers(n) { for (let i = 0; i < n; i += 1) E(target).next(); return n; },
    ping() { return 'pong'; },
  });
};
";

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn net() -> TestNet {
    let net = TestNet::new(stand_in());
    net.file("victim.js", VICTIM);
    net.file("attacker.js", ATTACKER);
    let config = net.file("testnet.toml", CONFIG);
    net.up(&config, &[]).ok();
    net
}

#[track_caller]
fn pong(answer: &Completion) {
    assert!(answer.fulfilled && answer.value == text("pong"), "{answer:?}");
}

/// Loops of which each burns all that a delivery may: a caller that has work is served before them.
#[test]
fn endless_loops_of_one_vat_do_not_hold_up_a_caller() {
    const PINGS: u32 = 40;
    let net = net();
    // Metrics are fetched by a runtime of their own.
    let loops = || {
        let page = tokio::task::block_in_place(|| net.metrics("alpha"));
        metric(&page, "quorate_rolled_back_deliveries_total", &["victim", "\"fuel\""])
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (honest, attacker) = (client(&net, "victim").await, client(&net, "attacker").await);
        pong(&ask(&honest, "ping", vec![]).await);
        assert!(ask(&attacker, "spin", vec![Value::Number(4_000.0)]).await.fulfilled);
        net.wait("the first loop", || (loops() > 0.0).then_some(()));
        pong(&ask(&honest, "ping", vec![]).await);
        let before = loops();
        for _ in 0..PINGS {
            pong(&ask(&honest, "ping", vec![]).await);
        }
        let during = loops() - before;
        assert!(during < f64::from(PINGS / 2), "{during} loops beside {PINGS} calls");
        // They are not lost: they come when nobody else has work.
        let before = loops();
        net.wait("more loops", || (loops() > before + 3.0).then_some(()));
        honest.close().await;
        attacker.close().await;
    });
    for host in ["alpha", "beta", "gamma"] {
        let page = net.metrics(host);
        assert!(
            metric(&page, "quorate_fuel_ahead", &["victim"]) >= 0.0 && page.contains("quorate_kept_bytes{"),
            "{page}"
        );
    }
}

/// Symbols that no message brought before: one vat's do not close the door for others.
#[test]
fn symbols_of_one_vat_leave_room_for_those_of_others() {
    let net = net();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (honest, attacker) = (client(&net, "victim").await, client(&net, "attacker").await);
        for _ in 0..10 {
            let answer = ask(&attacker, "symbols", vec![]).await;
            assert_eq!(answer.value, Value::Number(1_000.0), "{answer:?}");
        }
        for number in 0..20 {
            let symbol = Value::Symbol(format!("of another caller {number}"));
            let answer = ask(&honest, "ping", vec![symbol.clone()]).await;
            assert!(answer.fulfilled && answer.value == symbol, "{answer:?}");
        }
        honest.close().await;
        attacker.close().await;
    });
    agree(&net, "victim", 3, 0);
}

/// A method that answers later, as notifiers do, asked more often than a vat's memory holds: whoever asks runs out of its own share, and others
/// are answered, also after a restart.
#[test]
fn answers_that_never_come_leave_room_for_others_and_for_a_restart() {
    let net = net();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let number = |answer: &Completion| match answer.value {
        Value::Number(number) if answer.fulfilled => number,
        _ => panic!("{answer:?}"),
    };
    let asked = runtime.block_on(async {
        let (honest, attacker) = (client(&net, "victim").await, client(&net, "attacker").await);
        for _ in 0..5 {
            number(&ask(&attacker, "answers", vec![Value::Number(4_000.0)]).await);
            pong(&ask(&honest, "ping", vec![]).await);
        }
        tokio::task::block_in_place(|| {
            net.wait("all of them to be taken in", || {
                let unsaid = metric(&net.metrics("delta"), "quorate_unacknowledged_messages", &["attacker"]);
                (unsaid == 0.0).then_some(())
            });
        });
        pong(&ask(&honest, "ping", vec![]).await);
        let asked = number(&ask(&honest, "waiting", vec![]).await);
        honest.close().await;
        attacker.close().await;
        asked
    });
    for host in ["alpha", "beta", "gamma"] {
        net.vat(&["testnet", "restart", host]).ok();
    }
    agree(&net, "victim", 3, 0);
    runtime.block_on(async {
        let honest = client(&net, "victim").await;
        pong(&ask(&honest, "ping", vec![]).await);
        let now = number(&ask(&honest, "waiting", vec![]).await);
        assert!(now >= asked && now > 0.0, "{asked} waited before the restart, and {now} after it");
        honest.close().await;
    });
}

/// Each send is refused and tried again: nothing is missing, so nothing need come from outside for it to end.
#[test]
fn a_loop_of_refused_sends_comes_to_its_end() {
    let net = net();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let attacker = client(&net, "attacker").await;
        let answer = ask(&attacker, "retry", vec![Value::Number(200.0)]).await;
        assert!(answer.fulfilled && answer.value == Value::Number(200.0), "{answer:?}");
        attacker.close().await;
    });
}

/// A vat that sends very much, and does very much at each answer, is there for other callers.
#[test]
fn a_vat_that_sends_very_much_goes_on_answering() {
    let net = net();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (caller, other) = (client(&net, "attacker").await, client(&net, "attacker").await);
        let refused = ask(&caller, "burst", vec![Value::Number(20_000.0)]).await;
        let named = matches!(&refused.value, Value::Error { message, .. } if message.contains("outputs"));
        assert!(!refused.fulfilled && named, "{refused:?}");
        assert!(ask(&caller, "burst", vec![Value::Number(4_000.0)]).await.fulfilled);
        for _ in 0..5 {
            pong(&ask(&other, "ping", vec![]).await);
        }
        let victim = client(&net, "victim").await;
        pong(&ask(&victim, "ping", vec![]).await);
        for each in [caller, other, victim] {
            each.close().await;
        }
    });
}
