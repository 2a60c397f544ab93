//! Messages to one target are done in the order in which they were sent, also where the target turns out to be at home. On the
//! real image, with vats whose messages wait for one another.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod comms_support;
mod vat;

use comms_support::{World, install, root_of, vat as name};
use quorate_engine::VatId;
use quorate_engine::abi::{Method, Value};
use quorate_engine::comms::client::{ClientRef, ClientSession};
use quorate_engine::heap::{Heap, with_engine_stack};
use quorate_engine::machine::{Command, CommandResult};
use vat::{LIMITS, image};

/// Holds something that notes what it is told, and lets it come back in three ways.
const HOME: &str = "
    const noted = [];
    const mine = Far('mine', { note(word) { noted.push(word); } });
    export default ({ other }) => Far('home', {
        async answered() {
            const p = E(other).echo(mine);
            E.sendOnly(p).note('first');
            const home = await p;
            E.sendOnly(home).note('second');
        },
        async chained() {
            const p = E(E(other).later()).echo(mine);
            for (const word of ['1', '2', '3']) E.sendOnly(p).note(word);
            E.when(p, home => { E.sendOnly(p).note('4'); home.note('5'); });
        },
        async decided() {
            const q = E(other).decide();
            E.sendOnly(q).note('first');
            E.sendOnly(other).settle();
            E.sendOnly(q).note('second');
            const home = await q;
            E.sendOnly(home).note('third');
        },
        give() { return mine; },
        noted() { return noted.splice(0); },
    });
";

const AWAY: &str = "
    let resolve;
    const chosen = new Promise(r => { resolve = r; });
    const echoer = Far('echoer', { echo(x) { return x; } });
    export default ({ other }) => Far('away', {
        echo(x) { return x; },
        async later() { await null; return echoer; },
        // A promise of this vat that the other one speaks to, and that turns out to be of the other.
        decide() { return chosen; },
        async settle() { resolve(await E(other).give()); },
    });
";

struct Pair {
    world: World<Heap>,
    home: VatId,
    client: VatId,
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let (home, away, client) = (name(1), name(2), name(3));
        let mut world = World::new(seed);
        for vat in [home, away] {
            world.add(vat, Heap::new(image(), LIMITS).unwrap());
        }
        for (vat, other, source) in [(home, away, HOME), (away, home, AWAY)] {
            let Command::Install(mut command) = install(vec![("other", root_of(other))], vec![other, client]) else {
                unreachable!()
            };
            command.bundle.modules.insert("main.js".to_owned(), source.to_owned());
            assert_eq!(world.apply(vat, Command::Install(command)), CommandResult::Installed);
        }
        world.clients.insert(client, ClientSession::new(client, home));
        Pair { world, home, client }
    }

    fn call(&mut self, method: &str) {
        let session = self.world.clients.get_mut(&self.client).unwrap();
        session.call(ClientRef::Object(0), Method::Call(method.to_owned()), &Value::Array(vec![]), &[]).unwrap();
        self.world.post(self.client);
    }

    fn noted(&mut self) -> Value {
        self.world.settle();
        self.call("noted");
        self.world.settle();
        self.world.completions.last().unwrap().value.clone()
    }
}

fn words(words: &[&str]) -> Value {
    Value::Array(words.iter().map(|word| Value::String((*word).to_owned())).collect())
}

#[test]
fn what_comes_home_is_not_overtaken() {
    with_engine_stack(|| {
        for seed in 0..4 {
            let mut pair = Pair::new(seed);
            pair.call("answered");
            assert_eq!(pair.noted(), words(&["first", "second"]), "seed {seed}");
            pair.call("chained");
            assert_eq!(pair.noted(), words(&["1", "2", "3", "5", "4"]), "seed {seed}: 5 is a plain call");
            pair.call("decided");
            assert_eq!(pair.noted(), words(&["first", "second", "third"]), "seed {seed}");
            assert_eq!(pair.world.machines[&pair.home].summary().rolled_back, 0);
            pair.world.assert_quiet();
        }
    });
}
