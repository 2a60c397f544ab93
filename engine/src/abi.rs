//! The protocol between the host and the guest image: what is handed to a vat, and what it says back.
//!
//! This one file is compiled into both sides (`engine/guest` includes it by path), so the two cannot disagree. Every
//! message is a version byte followed by bincode's standard configuration; a change of any type here is a change of
//! [`ABI_VERSION`] and of the image. Only what comes at the end of an enum, and is said to no image that does not export that it knows it
//! (`quorate_hands_over`), leaves the version as it is: so images of before go on.
//!
//! Invariants: ids come from counters and are never reused; a guest names only what it was told of or allocated itself;
//! there is nothing in here about peers, streams or keys, which a guest cannot see.

#[cfg(not(target_arch = "wasm32"))]
#[path = "abi/json.rs"]
pub mod json;
#[path = "abi/value.rs"]
pub mod value;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// First byte of every encoding, and what the image's `quorate_abi` export returns.
pub const ABI_VERSION: u8 = 2;

/// Nesting of a passable deeper than this is refused on both sides: decoders recurse.
pub const MAX_VALUE_DEPTH: usize = 128;

/// Most values in one [`CapData`]: each value counts one, and so does each field of a record. Bounds what a short message can make both
/// sides build.
pub const MAX_VALUES: usize = 32_768;

/// Most decimal digits of a bigint, with its sign: to make a number of n digits takes more than n steps, and nobody has asked for it yet.
pub const MAX_BIGINT_DIGITS: usize = 32_768;

/// Most capabilities in one message: each may cost the receiver a table entry.
pub const MAX_SLOTS: usize = 1_024;

/// Most things that a guest says of its own accord in one delivery: messages, and settlements of promises that it first named in the same
/// delivery. What others have asked for does not count: settlements of earlier promises, and timers, are bounded apart.
pub const MAX_OUTPUTS: usize = 4_096;

/// Longest interface name that travels with a reference, in bytes.
pub const MAX_INTERFACE_BYTES: usize = 128;

/// Most references that one [`Output::Drop`] names; the next collection names the rest.
pub const MAX_DROPS: usize = 16_384;

/// Most timers of one vat that have not fired.
pub const MAX_TIMERS: usize = 65_536;

/// Longest name under which a vat publishes something, in bytes.
pub const MAX_PUBLISHED_NAME_BYTES: usize = 256;

/// Largest value that a vat publishes, in bytes of its encoding: an answer with its proof fits a small frame.
pub const MAX_PUBLISHED_VALUE_BYTES: usize = 64 << 10;

/// Most names under which a vat publishes something at a time.
pub const MAX_PUBLISHED: usize = 1_024;

/// Most bytes of all that a vat publishes at a time, names and values together: members keep them beside the heap.
pub const MAX_PUBLISHED_BYTES: usize = 1 << 20;

/// The `level` argument of the image's `quorate.log` import.
pub mod log_level {
    pub const DEBUG: i32 = 0;
    pub const INFO: i32 = 1;
    pub const WARN: i32 = 2;
    pub const ERROR: i32 = 3;
}

/// A capability as a guest names it. Objects and promises are counted apart; `Vat*` ids are allocated by the guest,
/// `Host*` ids by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// An object of this vat. `VatObject(0)` is the root.
    VatObject(u64),
    /// An object that lives in another vat.
    HostObject(u64),
    /// A promise that this guest first spoke of: the result of one of its sends, or a promise in an argument.
    VatPromise(u64),
    /// A promise that the host first spoke of: the result of an inbound call (this guest settles it), or a promise in
    /// an inbound argument (the host tells when it settles).
    HostPromise(u64),
}

/// Marshalled data and the capabilities in it: `body` is an encoded [`Value`] in which [`Value::Slot`] and [`Value::Named`] index `slots`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapData<S> {
    pub body: Vec<u8>,
    pub slots: Vec<S>,
}

/// Passable data. Strings are well-formed Unicode; a lone surrogate is refused at the sender. Its encoding, also inside
/// other types, is that of [`Value::encode`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Undefined,
    Null,
    Bool(bool),
    /// IEEE 754; every NaN is the canonical one, `-0` is kept.
    Number(f64),
    String(String),
    /// Decimal digits with an optional minus sign.
    BigInt(String),
    /// A registered symbol's key (`Symbol.for`).
    Symbol(String),
    Array(Vec<Value>),
    /// Own enumerable string-keyed properties, in the object's own order.
    Record(Vec<(String, Value)>),
    Error {
        name: String,
        message: String,
    },
    /// Index into the slots beside the body.
    Slot(u32),
    /// The same, and the interface name of the object there, without `Alleged: `. It is what the object's home, or a vat that passed the
    /// reference on, says of it. See [`value::is_interface_name`] for what may stand there.
    Named(u32, String),
    Bytes(Vec<u8>),
    Tagged(String, Box<Value>),
}

/// What is done to a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// `E(x).name(...args)`
    Call(String),
    /// `E(x)(...args)`
    Apply,
    /// `E.get(x).name`; the arguments are empty
    Get(String),
}

/// How a promise settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    Fulfilled(CapData<Slot>),
    Rejected(CapData<Slot>),
}

/// A vat's code: ES modules by normalised path (`src/main.js`, `/`-separated, no leading slash).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    pub entry: String,
    pub modules: BTreeMap<String, String>,
}

/// One thing handed to a guest; the guest runs until no job is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// Evaluate the bundle, call its default export with `argv`, keep what it returns as the root. `argv` is a record;
    /// `endowments` names further properties of it that are functions of the host (`exit`).
    Start { bundle: Bundle, argv: CapData<Slot>, endowments: Vec<String> },
    /// Call a method of `target` (an own object, or a promise that this guest settles). `args` is an array. If `result` is
    /// given (always a `HostPromise`), the guest settles it.
    Call { target: Slot, method: Method, args: CapData<Slot>, result: Option<Slot> },
    /// Promises that others decide have settled.
    Settle(Vec<(Slot, Resolution)>),
    /// A promise that others decide will settle to an object of this vat, once what was sent to it has come back here: from now
    /// on the guest keeps what is sent to it, and its settlement follows.
    Hold(Slot),
    /// The caller of the call with this result, which is open, wants no answer any more.
    Cancel(Slot),
    /// Collect garbage, and say which objects of other vats the program holds no longer ([`Output::Drop`]). Deterministic: the
    /// machine decides when, as a function of the log.
    Collect,
    /// Collect garbage and say nothing: a delivery found no room and is tried once more.
    MakeRoom,
    /// The timer with this number is due. With `failure`, what it set off was rolled back for that reason, and must not be tried again.
    Wake { timer: u64, failure: Option<String> },
    /// Say what would outlive an upgrade now: [`Output::HandOver`]. What that changes is undone.
    HandOver,
    /// As `Start`, in a heap that takes the place of another one.
    Upgrade(Box<Upgrade>),
}

/// What a heap starts with that takes the place of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    pub bundle: Bundle,
    pub argv: CapData<Slot>,
    pub endowments: Vec<String>,
    /// What the heap before it handed over. In `argv` and in here, objects of this vat have the numbers that they had there.
    pub durable: Durable,
    /// Numbers of the objects of this vat that others hold, but for the root.
    pub held: Vec<u64>,
    /// The first number that this heap gives to an object or promise: none before it was so high.
    pub first_number: u64,
}

/// What outlives an upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durable {
    /// The baggage, what `prepareExo` made, and then whatever can be reached from these, from instances that others hold, and from answers.
    pub holdings: Vec<Holding>,
    /// How promises came out to which others may still send, as far as the objects in that outlive the upgrade.
    pub answers: Vec<(Slot, Resolution)>,
}

/// An instance of a kind, or a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Its kind; those of the runtime begin with `@`.
    pub kind: String,
    /// Its objects, with their numbers. What is no kit has one, without a name.
    pub facets: Vec<(String, u64)>,
    /// Its values by their names, or its entries by their keys.
    pub entries: Vec<(CapData<Slot>, CapData<Slot>)>,
}

/// What the host has learned since the last turn, beside the delivery itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Time of the log in ms since the Unix epoch; 0 before the first tick.
    pub now_ms: u64,
    /// Promises that nobody will name again. The guest forgets them when the delivery is done.
    pub retired: Vec<Slot>,
    /// Own objects that no other vat holds any more. The guest forgets their numbers before the delivery begins, and gives an object
    /// that it exports again a new one. The root, 0, is never among them.
    pub freed: Vec<u64>,
}

/// What a guest is handed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    pub delivery: Delivery,
    pub news: News,
}

impl Turn {
    /// The bytes of a turn that is not made.
    pub fn encode_parts(delivery: &Delivery, news: &News) -> Vec<u8> {
        encode(&(delivery, news))
    }
}

/// One thing a guest said, in the order it said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// A message to an object or promise of another vat. `result` is a fresh `VatPromise`.
    Send { target: Slot, method: Method, args: CapData<Slot>, result: Option<Slot> },
    /// A promise that this guest decides has settled.
    Settle { promise: Slot, resolution: Resolution },
    /// The guest used its `exit` endowment: nothing is delivered after this.
    Exit { value: CapData<Slot> },
    /// The setup function's result has settled: the root is there, or (text for people) will never be. Said once; a setup that
    /// fails within the `Start` is an [`Outcome::StartFailed`] instead.
    Setup { failure: Option<String> },
    /// The answer to a call of this guest, which is open, is not wanted any more: `result` is that of an [`Output::Send`].
    Cancel { result: Slot },
    /// In a [`Delivery::Collect`] only: the guest holds these objects of other vats no longer, and has forgotten them. Sorted; at most
    /// [`MAX_DROPS`].
    Drop { slots: Vec<Slot> },
    /// Wake the guest when the log's time is `at_ms` or later. `timer` is a number of the guest's that no waiting timer has.
    SetTimer { timer: u64, at_ms: u64 },
    /// Do not wake the guest for this timer any more.
    CancelTimer { timer: u64 },
    /// In a [`Delivery::HandOver`] only.
    HandOver(Durable),
    /// From now on anybody can read this value under this name; without a value, nothing is to be read there. `value` is an encoded
    /// [`Value`] without references.
    Publish { name: String, value: Option<Vec<u8>> },
}

/// What came of one delivery. It was rolled back (by the host) unless it is `Done`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Done {
        outputs: Vec<Output>,
    },
    /// `Start` only: the bundle does not parse or link, its body or its setup function threw, it has no default export, or the
    /// promise that the setup gave was rejected at once. Text for people, with module and line where they are known.
    StartFailed {
        message: String,
    },
    /// A limit of the guest's own fired (recursion, outputs): guest code cannot catch it, the heap has changed.
    Limit {
        name: String,
    },
}

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The first byte is not [`ABI_VERSION`].
    Version(u8),
    /// Truncated, oversized, trailing or malformed bytes.
    Malformed,
    /// Deeper than [`MAX_VALUE_DEPTH`].
    TooDeep,
    /// More than [`MAX_VALUES`].
    TooMany,
    /// A bigint of more than [`MAX_BIGINT_DIGITS`].
    LongBigInt,
}

/// Encodes with the version byte in front.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![ABI_VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("plain data of this module always encodes into memory");
    bytes
}

/// Decodes what [`encode`] made; refuses other versions, trailing bytes, and anything claiming more than the bytes hold.
pub fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, DecodeError> {
    /// Bounds what a length prefix can make the decoder reserve.
    const LIMIT: usize = 64 << 20;
    let (&version, rest) = bytes.split_first().ok_or(DecodeError::Malformed)?;
    if version != ABI_VERSION {
        return Err(DecodeError::Version(version));
    }
    let config = bincode::config::standard().with_limit::<LIMIT>();
    match bincode::serde::decode_from_slice(rest, config) {
        Ok((value, used)) if used == rest.len() => Ok(value),
        _ => Err(DecodeError::Malformed),
    }
}
