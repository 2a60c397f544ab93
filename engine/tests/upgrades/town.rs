//! A bank, a shop that it knows, and a client of the bank, on the real image.

use crate::comms_support::{World, root_of, vat};
use quorate_engine::abi::{Bundle, Method, Value};
use quorate_engine::comms::client::{ClientRef, ClientSession, Completion};
use quorate_engine::heap::{Heap, HeapManifest, Limits};
use quorate_engine::image::{IMAGE_WASM, Image, ImageSource};
use quorate_engine::machine::{ArgValue, Command, CommandResult, Deliver, Install, Machine, Upgrade};
use quorate_engine::{EngineError, Hash, VatId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const BANK: VatId = vat(1);
pub const SHOP: VatId = vat(2);
pub const CLIENT: VatId = vat(9);

pub const LIMITS: Limits = Limits { fuel_per_delivery: 100_000_000, memory_bytes: 64 << 20 };

/// A bank whose purses outlive upgrades, and whose tickets do not.
pub const BANK_1: &str = "
import { Far, E } from '@endo/far';
import { prepareExo, prepareExoClass, prepareExoClassKit, provide, provideDurableMapStore } from '@agoric/vat-data';
export default ({ name, shop, timer }, baggage) => {
  const makePurse = prepareExoClass(baggage, 'Purse', undefined, balance => ({ balance, log: [] }), {
    deposit(amount) { this.state.balance += amount; this.state.log = [...this.state.log, amount]; return this.state.balance; },
    balance() { return this.state.balance; },
    log() { return this.state.log; },
    fail() { this.state.balance = -1; for (;;); },
    self() { return this.self; },
  });
  const makeAccount = prepareExoClassKit(baggage, 'Account', undefined, purse => ({ purse, closed: false }), {
    owner: { close() { this.state.closed = true; }, viewer() { return this.facets.viewer; } },
    viewer: { see() { return [this.state.closed, this.state.purse]; } },
  });
  const desk = prepareExo(baggage, 'Desk', undefined, { greet: () => `${name} 1` });
  const purses = provideDurableMapStore(baggage, 'purses');
  const count = provide(baggage, 'count', () => 0n);
  if (shop !== undefined && !baggage.has('shop')) baggage.init('shop', shop);
  const attempt = f => { try { f(); return 'kept'; } catch (error) { return `${error.name}: ${error.message}`; } };
  return Far('bank', {
    open(key, amount) { purses.init(key, makePurse(amount)); baggage.set('count', baggage.get('count') + 1n); return purses.get(key); },
    find: key => purses.get(key),
    keys: () => purses.keys(),
    account: key => makeAccount(purses.get(key)).owner,
    viewer: owner => E(owner).viewer(),
    desk: () => desk,
    ticket: () => Far('ticket', { use: () => 'used' }),
    same: (a, b) => a === b,
    count: () => baggage.get('count'),
    version: () => 1,
    never: () => new Promise(() => {}),
    later: ms => E(timer).delay(ms),
    ask: () => E(shop).hang(),
    shopping: () => E(baggage.get('shop')).name(),
    forget: () => { baggage.delete('shop'); },
    hold: other => { baggage.init('other', other); },
    refusals: () => [
      attempt(() => baggage.init('f', Far('f', {}))), attempt(() => baggage.init('p', Promise.resolve(1))),
      attempt(() => { makePurse(Far('f', {})); }), attempt(() => prepareExo(baggage, 'Desk', undefined, {})),
      attempt(() => prepareExo({}, 'X', undefined, {})), attempt(() => prepareExo(baggage, 'X', {}, {})),
      attempt(() => makePurse.call(1, 5n).deposit.call({}, 1n)),
    ],
  });
};
";

/// The same bank, later: purses also say their owner, and there is an interest.
pub const BANK_2: &str = "
import { Far, E } from '@endo/far';
import { prepareExo, prepareExoClass, prepareExoClassKit, provideDurableMapStore } from '@agoric/vat-data';
export default ({ name }, baggage) => {
  const purses = provideDurableMapStore(baggage, 'purses');
  const desk = prepareExo(baggage, 'Desk', undefined, { greet: () => `${name} 2` });
  prepareExoClassKit(baggage, 'Account', undefined, purse => ({ purse, closed: false }), {
    owner: { close() { this.state.closed = true; }, viewer() { return this.facets.viewer; } },
    viewer: { see() { return [this.state.closed, this.state.purse, 'seen by 2']; } },
  });
  const makePurse = prepareExoClass(baggage, 'Purse', undefined, balance => ({ balance, log: [], owner: 'new' }), {
    deposit(amount) { this.state.balance += amount; return this.state.balance; },
    balance() { return this.state.balance; },
    log() { return this.state.log; },
    owner() { return this.state.owner; },
    self() { return this.self; },
  }, { migrate: state => ({ owner: 'old', ...state }) });
  return Far('bank', {
    open(key, amount) { purses.init(key, makePurse(amount)); return purses.get(key); },
    find: key => purses.get(key),
    keys: () => purses.keys(),
    desk: () => desk,
    ticket: () => Far('ticket', { use: () => 'used' }),
    same: (a, b) => a === b,
    count: () => baggage.get('count'),
    total: () => purses.values().reduce((sum, purse) => sum + purse.balance(), 0n),
    version: () => 2,
    shopping: () => E(baggage.get('shop')).name(),
    cancelled: () => E(baggage.get('shop')).cancelled(),
    forget: () => { baggage.delete('shop'); },
    hold: other => { baggage.init('other', other); },
    kept: () => baggage.get('other'),
  });
};
";

pub const SHOP_CODE: &str = "
import { E, Far } from '@endo/far';
export default () => {
  let cancelled = 0;
  return Far('shop', {
    name: () => 'the shop',
    hang() {
      E.whenCancelled().then(() => { cancelled += 1; });
      return new Promise(() => {});
    },
    cancelled: () => cancelled,
    thing: () => Far('thing', { what: () => 'a thing' }),
  });
};
";

pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("images")
}

pub fn own_image() -> Arc<Image> {
    Image::load(&cache()).unwrap()
}

/// The program's image with another letter in a text that no test reads: another one by its hash, whose base heap has a page of its own.
pub fn twin() -> Arc<Image> {
    let text = b"it was not kept";
    let mut wasm = IMAGE_WASM.to_vec();
    let at = wasm.windows(text.len()).position(|part| part == text).unwrap();
    wasm[at] = b'I';
    Image::from_wasm(&wasm, &cache()).unwrap()
}

pub struct Both(pub Arc<Image>, pub Arc<Image>);

impl ImageSource for Both {
    fn image(&self, hash: &Hash) -> Result<Arc<Image>, EngineError> {
        [&self.0, &self.1]
            .into_iter()
            .find(|image| image.hash() == *hash)
            .cloned()
            .ok_or(EngineError::NoImage { hash: *hash })
    }
}

pub fn bundle(source: &str) -> Bundle {
    Bundle { entry: "main.js".into(), modules: BTreeMap::from([("main.js".to_owned(), source.to_owned())]) }
}

pub fn named(name: &str) -> Vec<(String, ArgValue)> {
    vec![("name".to_owned(), ArgValue::Data(Value::String(name.to_owned())))]
}

pub fn upgrade_to(source: &str) -> Upgrade {
    Upgrade { bundle: bundle(source), argv: named("late"), endowments: vec![], image: None }
}

/// A bank, a shop that it knows, and a client of the bank.
pub struct Town {
    pub world: World<Heap>,
}

impl Town {
    pub fn new() -> Town {
        Town::with(BANK_1)
    }

    pub fn with(source: &str) -> Town {
        Town::within(source, LIMITS)
    }

    pub fn within(source: &str, limits: Limits) -> Town {
        let mut world = World::new(3);
        let images: Arc<dyn ImageSource> = Arc::new(Both(own_image(), twin()));
        for name in [BANK, SHOP] {
            let heap = Heap::new(own_image(), limits).unwrap().with_images(images.clone());
            world.add(name, heap);
        }
        let install = |source: &str, argv, grants| {
            let endowments = vec!["timer".to_owned()];
            Command::Install(Install { bundle: bundle(source), argv, endowments, grants, bearers: vec![] })
        };
        let mut argv = named("early");
        argv.push(("shop".to_owned(), root_of(SHOP)));
        for name in [BANK, SHOP] {
            world.apply(name, Command::Tick { now_ms: 1_000 });
        }
        assert_eq!(world.apply(SHOP, install(SHOP_CODE, vec![], vec![BANK])), CommandResult::Installed);
        assert_eq!(world.apply(BANK, install(source, argv, vec![CLIENT])), CommandResult::Installed);
        world.clients.insert(CLIENT, ClientSession::new(CLIENT, BANK));
        Town { world }
    }

    pub fn bank(&mut self) -> &mut Machine<Heap> {
        self.world.machines.get_mut(&BANK).unwrap()
    }

    /// Says something to the bank that is not delivered yet.
    pub fn say(&mut self, target: ClientRef, method: &str, args: Vec<Value>, slots: &[ClientRef]) -> ClientRef {
        let session = self.world.clients.get_mut(&CLIENT).unwrap();
        let id = session.call(target, Method::Call(method.into()), &Value::Array(args), slots).unwrap();
        self.world.post(CLIENT);
        ClientRef::Result(id)
    }

    pub fn settle(&mut self) {
        self.world.settle();
    }

    pub fn answer(&mut self, promise: ClientRef) -> Option<Completion> {
        let at = self.world.completions.iter().position(|completion| completion.promise == promise)?;
        Some(self.world.completions.remove(at))
    }

    pub fn ask(&mut self, target: ClientRef, method: &str, args: Vec<Value>, slots: &[ClientRef]) -> Completion {
        let promise = self.say(target, method, args, slots);
        self.settle();
        self.answer(promise).unwrap_or_else(|| panic!("{method} has no answer"))
    }

    /// What a call gives, which must succeed.
    pub fn get(&mut self, target: ClientRef, method: &str, args: Vec<Value>, slots: &[ClientRef]) -> Value {
        let completion = self.ask(target, method, args, slots);
        assert!(completion.fulfilled, "{method}: {completion:?}");
        completion.value
    }

    /// The one object that a call gives.
    pub fn object(&mut self, target: ClientRef, method: &str, args: Vec<Value>) -> ClientRef {
        let completion = self.ask(target, method, args, &[]);
        assert!(completion.fulfilled && completion.slots.len() == 1, "{method}: {completion:?}");
        completion.slots[0]
    }

    /// What a call is rejected with.
    pub fn refused(&mut self, target: ClientRef, method: &str) -> (String, String) {
        let completion = self.ask(target, method, vec![], &[]);
        match completion.value {
            Value::Error { name, message } if !completion.fulfilled => (name, message),
            other => panic!("{method}: {other:?}"),
        }
    }

    /// A command with all that the client has said and the bank has not acknowledged.
    pub fn deliver(&self) -> Deliver {
        let session = &self.world.clients[&CLIENT];
        let messages: Vec<Vec<u8>> = session.unacked().map(|(_, message)| message.to_vec()).collect();
        let begin = session.unacked().next().unwrap().0;
        Deliver { from: CLIENT, begin, messages, end: session.head().end, ack: session.head().ack }
    }

    pub fn upgrade(&mut self, upgrade: Upgrade) -> CommandResult {
        self.world.apply(BANK, Command::Upgrade(upgrade))
    }

    pub fn fails(&mut self, upgrade: Upgrade, why: &str) {
        let before = self.heap_root();
        let (held, promises) = (self.bank().comms().inventory(None, 9), self.bank().summary().promises);
        let foreseen = self.bank().foresee(upgrade.clone()).unwrap().failure;
        match self.upgrade(upgrade) {
            CommandResult::UpgradeFailed { message } | CommandResult::Refused { message } => {
                assert!(message.contains(why), "{message}");
                assert_eq!(foreseen, Some(message));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(self.heap_root(), before, "the heap is as it was");
        assert_eq!((self.bank().comms().inventory(None, 9), self.bank().summary().promises), (held, promises));
    }

    pub fn heap_root(&mut self) -> Hash {
        manifest(self.bank()).root()
    }
}

/// The heap's part of a checkpoint.
pub fn manifest(machine: &mut Machine<Heap>) -> HeapManifest {
    let checkpoint = machine.checkpoint().unwrap();
    let found = std::cell::RefCell::new(None);
    let look = |manifest: &HeapManifest| {
        *found.borrow_mut() = Some(manifest.clone());
        Err(EngineError::Failed)
    };
    let _ = Machine::<Heap>::restore_with(BANK, &checkpoint.manifest, look);
    found.into_inner().unwrap()
}

pub const ROOT: ClientRef = ClientRef::Object(0);

pub fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

pub fn big(number: i64) -> Value {
    Value::BigInt(number.to_string())
}

/// The client's references, from before the upgrade.
pub struct Held {
    pub purse: ClientRef,
    pub owner: ClientRef,
    pub desk: ClientRef,
    pub ticket: ClientRef,
}

pub fn open_accounts(town: &mut Town) -> Held {
    let purse = town.object(ROOT, "open", vec![text("ann"), big(10)]);
    town.object(ROOT, "open", vec![text("ben"), big(20)]);
    assert_eq!(town.get(purse, "deposit", vec![big(5)], &[]), big(15));
    let owner = town.object(ROOT, "account", vec![text("ann")]);
    let (desk, ticket) = (town.object(ROOT, "desk", vec![]), town.object(ROOT, "ticket", vec![]));
    assert_eq!(town.get(desk, "greet", vec![], &[]), text("early 1"));
    Held { purse, owner, desk, ticket }
}
