//! A session against vats that a test makes up, and texts as clients send them.

mod at_random;

use super::data::Remote;
use super::session::Session;
use super::vats::Vats;
use quorate_streams::abi::{Method, Value};
use quorate_streams::client::{ClientRef, Completion, Heard, InboundCall, Owed};
use serde_json::{Value as Json, json};

const OBJECT: u64 = 7;

#[derive(Default)]
struct Fake {
    /// What vats were told, one line each.
    said: Vec<String>,
    tickets: Vec<i64>,
    results: u64,
    offers: u64,
}

impl Vats for Fake {
    fn redeem(&mut self, ticket: i64, text: &str) {
        self.said.push(format!("redeem {text}"));
        self.tickets.push(ticket);
    }

    fn call(
        &mut self,
        target: Remote,
        method: Method,
        args: Vec<Value>,
        slots: &[ClientRef],
    ) -> Result<Remote, String> {
        if method == Method::Call("refused".into()) {
            return Err("there is no room".into());
        }
        self.results += 1;
        let args = Value::Array(args).to_json();
        self.said.push(format!("{:?} {method:?} {args} {slots:?} -> {}", target.reference, self.results));
        Ok(Remote { vat: target.vat, reference: ClientRef::Result(self.results) })
    }

    fn keep(&mut self, object: Remote) -> Result<Remote, String> {
        self.results += 1;
        self.said.push(format!("keep {:?} -> {}", object.reference, self.results));
        Ok(Remote { vat: object.vat, reference: ClientRef::Result(self.results) })
    }

    fn kept(&mut self, _result: Remote, answer: &Completion) -> Option<Result<String, String>> {
        (answer.value == Value::String("kept".into())).then(|| Ok("vat://kept".into()))
    }

    fn proof(&mut self, answer: Remote) -> Result<Value, String> {
        Ok(Value::String(format!("proof of {:?}", answer.reference)))
    }

    fn offer(&mut self, _vat: usize) -> Result<ClientRef, String> {
        self.offers += 1;
        Ok(ClientRef::Own(self.offers))
    }

    fn settle(
        &mut self,
        _: usize,
        owed: Owed,
        fulfilled: bool,
        value: &Value,
        slots: &[ClientRef],
    ) -> Result<(), String> {
        if *value == Value::String("too much".into()) {
            return Err("that is too much".into());
        }
        self.said.push(format!("settle {owed:?} {fulfilled} {} {slots:?}", value.to_json()));
        Ok(())
    }

    fn release(&mut self, _: usize, owed: Owed) {
        self.said.push(format!("release {owed:?}"));
    }

    fn drop_object(&mut self, object: Remote) {
        self.said.push(format!("drop {:?}", object.reference));
    }
}

struct Talk(Session<Fake>);

impl Talk {
    fn new() -> Talk {
        Talk(Session::new(Fake::default()))
    }

    /// A session that has redeemed the root of a vat, as export 1.
    fn with_root() -> Talk {
        let mut talk = Talk::new();
        talk.tell(json!(["push", ["pipeline", 0, ["redeem"], ["vat://r"]]]));
        talk.redeemed(ClientRef::Object(0));
        assert_eq!(talk.said(), ["redeem vat://r"]);
        talk
    }

    fn tell(&mut self, message: Json) {
        self.0.receive(&message.to_string());
    }

    fn redeemed(&mut self, reference: ClientRef) {
        let ticket = self.0.vats().tickets.remove(0);
        self.0.redeemed(ticket, Ok(Remote { vat: 0, reference }));
    }

    fn settled(&mut self, result: u64, fulfilled: bool, value: Value, slots: Vec<ClientRef>) {
        let promise = ClientRef::Result(result);
        self.0.heard(0, Heard::Settled(Completion { promise, fulfilled, value, slots }));
    }

    fn called(
        &mut self,
        target: ClientRef,
        method: Method,
        args: Vec<Value>,
        slots: Vec<ClientRef>,
        result: Option<u64>,
    ) {
        let result = result.map(Owed::Answer);
        self.0.heard(0, Heard::Called(InboundCall { target, method, args, slots, result }));
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.0.vats().said)
    }

    fn out(&mut self) -> Vec<Json> {
        self.0.take_out().iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
    }
}

fn call(name: &str) -> Method {
    Method::Call(name.into())
}

#[test]
fn calls_leave_before_what_they_are_made_on_is_known() {
    let mut talk = Talk::new();
    talk.tell(json!(["push", ["pipeline", 0, ["redeem"], ["vat://r"]]]));
    talk.tell(json!(["push", ["pipeline", 1, ["makeCounter"], []]]));
    talk.tell(json!(["push", ["pipeline", 2, ["add"], [5, [[1, ["bigint", "7"]]]]]]));
    talk.tell(json!(["pull", 3]));
    assert_eq!(talk.said(), ["redeem vat://r"]);
    assert!(talk.0.is_waited_for());
    talk.redeemed(ClientRef::Object(0));
    assert_eq!(
        talk.said(),
        [r#"Object(0) Call("makeCounter") [] [] -> 1"#, r#"Result(1) Call("add") [5,[1,{"@bigint":"7"}]] [] -> 2"#]
    );
    talk.settled(2, true, Value::Number(5.0), vec![]);
    assert_eq!(talk.out(), [json!(["resolve", 3, 5])]);
    assert!(!talk.0.is_waited_for());
}

#[test]
fn objects_are_stubs_and_are_dropped_when_nothing_refers_to_them() {
    let mut talk = Talk::with_root();
    talk.tell(json!(["push", ["pipeline", 1, ["make"], []]]));
    talk.tell(json!(["pull", 2]));
    let slots = vec![ClientRef::Object(OBJECT), ClientRef::Object(OBJECT)];
    talk.settled(1, true, Value::Array(vec![Value::Slot(0), Value::Named(1, "counter".into())]), slots);
    assert_eq!(talk.out(), [json!(["resolve", 2, [[["export", -1], ["export", -1]]]])]);
    talk.tell(json!(["push", ["pipeline", -1, ["add"], [["import", -1]]]]));
    talk.said();
    talk.tell(json!(["release", 2, 1]));
    talk.tell(json!(["release", -1, 1]));
    assert_eq!(talk.said(), Vec::<String>::new(), "it was named twice");
    talk.tell(json!(["release", -1, 1]));
    assert_eq!(talk.said(), ["drop Object(7)"]);
    // An answer that nobody waits for holds nothing.
    talk.tell(json!(["push", ["pipeline", 1, ["make"], []]]));
    talk.tell(json!(["release", 4, 1]));
    talk.said();
    talk.settled(3, true, Value::Slot(0), vec![ClientRef::Object(9)]);
    assert_eq!(talk.said(), ["drop Object(9)"]);
    assert_eq!(talk.0.ended(), None);
}

#[test]
fn promises_among_arguments_are_waited_for_and_what_they_came_to_is_passed() {
    let mut talk = Talk::with_root();
    talk.tell(json!(["push", ["pipeline", 1, ["make"], []]]));
    talk.tell(json!(["push", ["pipeline", 1, ["take"], [["pipeline", 2], ["pipeline", 2, ["name"]]]]]));
    talk.tell(json!(["pull", 3]));
    // The client lets go of what it has only passed on.
    talk.tell(json!(["release", 2, 1]));
    assert_eq!(talk.said(), [r#"Object(0) Call("make") [] [] -> 1"#, r#"Result(1) Get("name") [] [] -> 2"#]);
    talk.settled(1, true, Value::Slot(0), vec![ClientRef::Object(OBJECT)]);
    assert_eq!(talk.said(), Vec::<String>::new());
    talk.settled(2, true, Value::String("seven".into()), vec![]);
    assert_eq!(talk.said(), [r#"Object(0) Call("take") [{"@slot":0},"seven"] [Object(7)] -> 3"#, "drop Object(7)"]);
    // One that is rejected rejects the call.
    talk.tell(json!(["push", ["pipeline", 1, ["make"], []]]));
    talk.tell(json!(["push", ["pipeline", 1, ["take"], [["pipeline", 4]]]]));
    talk.tell(json!(["pull", 5]));
    talk.settled(4, false, Value::error("RangeError", "no"), vec![]);
    assert_eq!(talk.out(), [json!(["reject", 5, ["error", "RangeError", "no"]])]);
}

#[test]
fn parts_of_answers_are_reached_here_or_there() {
    let mut talk = Talk::with_root();
    talk.tell(json!(["push", ["pipeline", 1, ["list"], []]]));
    let record = Value::Record(vec![
        ("items".into(), Value::Array(vec![Value::Slot(0), Value::String("two".into())])),
        ("nothing".into(), Value::Null),
    ]);
    talk.settled(1, true, record, vec![ClientRef::Object(OBJECT)]);
    talk.said();
    talk.tell(json!(["push", ["pipeline", 2, ["items", 0, "add"], [1]]]));
    assert_eq!(talk.said(), [r#"Object(7) Call("add") [1] [] -> 2"#]);
    talk.tell(json!(["push", ["pipeline", 2, ["items", 1]]]));
    talk.tell(json!(["push", ["pipeline", 2, ["items", 1, "add"], []]]));
    talk.tell(json!(["push", ["pipeline", 2, ["nothing", "more"]]]));
    talk.tell(json!(["push", ["pipeline", 2, ["items", "length"]]]));
    (4..=7).for_each(|id| talk.tell(json!(["pull", id])));
    let out = talk.out();
    assert_eq!((&out[0], &out[3]), (&json!(["resolve", 4, "two"]), &json!(["resolve", 7, 2])));
    assert!(out[1].to_string().contains("no method") && out[2].to_string().contains("of nothing"), "{out:?}");
}

#[test]
fn a_promise_in_an_answer_comes_when_it_is_there_and_not_before_it_is_named() {
    let mut talk = Talk::with_root();
    talk.tell(json!(["push", ["pipeline", 1, ["pair"], []]]));
    let value = Value::Array(vec![Value::Slot(0), Value::Slot(1)]);
    talk.settled(1, true, value, vec![ClientRef::Promise(1), ClientRef::Promise(2)]);
    let settle = |talk: &mut Talk, promise, value| {
        let promise = ClientRef::Promise(promise);
        talk.0.heard(0, Heard::Settled(Completion { promise, fulfilled: true, value, slots: vec![] }));
    };
    settle(&mut talk, 1, Value::String("early".into()));
    talk.tell(json!(["pull", 2]));
    let out = talk.out();
    assert_eq!(out, [json!(["resolve", 2, [[["promise", -1], ["promise", -2]]]]), json!(["resolve", -1, "early"])]);
    settle(&mut talk, 2, Value::String("late".into()));
    assert_eq!(talk.out(), [json!(["resolve", -2, "late"])]);
    talk.tell(json!(["release", -1, 1]));
    talk.tell(json!(["release", -2, 1]));
    talk.tell(json!(["release", 2, 1]));
    assert_eq!(talk.0.ended(), None);
}

#[test]
fn a_vat_calls_what_it_was_given_and_hears_the_answer() {
    let mut talk = Talk::with_root();
    talk.tell(json!(["push", ["pipeline", 1, ["subscribe"], [["export", -1], ["export", -1]]]]));
    assert_eq!(talk.said(), [r#"Object(0) Call("subscribe") [{"@slot":0},{"@slot":1}] [Own(1), Own(1)] -> 1"#]);
    let args = vec![Value::String("now".into()), Value::Slot(0), Value::Slot(1)];
    let own = ClientRef::Own(1);
    talk.called(own, call("ring"), args, vec![ClientRef::Object(OBJECT), own], Some(1));
    assert_eq!(
        talk.out(),
        [json!(["push", ["pipeline", -1, ["ring"], ["now", ["export", -1], ["import", -1]]]]), json!(["pull", 1])]
    );
    // A call of the answer goes where the answer is.
    talk.called(ClientRef::Owed(Owed::Answer(1)), Method::Apply, vec![], vec![], Some(2));
    assert_eq!(talk.out(), [json!(["push", ["pipeline", 1, [], []]]), json!(["pull", 2])]);
    // The answer is the vat's own object: it comes home, and is released when what was sent to it has been passed on.
    talk.tell(json!(["resolve", 1, ["import", -1]]));
    assert_eq!(talk.said(), [r#"settle Answer(1) true {"@slot":0} [Object(7)]"#]);
    talk.0.heard(0, Heard::Quiet(Owed::Answer(1)));
    assert_eq!((talk.said(), talk.out()), (vec![], vec![]), "a call of it is under way");
    talk.tell(json!(["reject", 2, ["error", "TypeError", "no function"]]));
    assert_eq!(
        talk.said(),
        [r#"settle Answer(2) false {"@error":{"name":"TypeError","message":"no function"}} []"#, "release Answer(1)"]
    );
    assert_eq!(talk.out(), [json!(["release", 1, 1])]);
    talk.0.heard(0, Heard::Quiet(Owed::Answer(2)));
    assert_eq!(talk.out(), [json!(["release", 2, 1])]);
    // Nobody wants an answer.
    talk.called(own, Method::Get("name".into()), vec![], vec![], None);
    assert_eq!(talk.out(), [json!(["push", ["pipeline", -1, ["name"]]]), json!(["release", 3, 1])]);
    talk.0.heard(0, Heard::Dropped(1));
    assert_eq!(talk.out(), [json!(["release", -1, 2])]);
    assert_eq!(talk.0.ended(), None);
}

#[test]
fn promises_of_the_client_are_waited_for() {
    let mut talk = Talk::with_root();
    talk.tell(json!(["push", ["pipeline", 1, ["take"], [["promise", -1], 1]]]));
    assert_eq!(talk.said(), Vec::<String>::new());
    talk.tell(json!(["resolve", -1, { "a": [[["export", -2]]] }]));
    assert_eq!(talk.said(), [r#"Object(0) Call("take") [{"a":[{"@slot":0}]},1] [Own(1)] -> 1"#]);
    assert_eq!(talk.out(), [json!(["release", -1, 1])]);
    // What no vat was given is let go of.
    talk.tell(json!(["push", ["pipeline", 1, ["refused"], [["export", -3]]]]));
    talk.tell(json!(["pull", 3]));
    let out = talk.out();
    assert_eq!(out, [json!(["reject", 3, ["error", "Error", "there is no room"]])], "the vat was offered it");
    talk.tell(json!(["push", ["pipeline", 1, ["take"], [["date", 1], ["export", -4]]]]));
    talk.tell(json!(["pull", 4]));
    let out = talk.out();
    assert_eq!(out[0], json!(["release", -4, 1]));
    assert!(out[1].to_string().contains("no date"), "{out:?}");
    // An answer that can't be given rejects the vat's call.
    talk.called(ClientRef::Own(1), call("big"), vec![], vec![], Some(1));
    talk.out();
    talk.said();
    talk.tell(json!(["resolve", 1, "too much"]));
    let said = talk.said();
    assert!(said[0].starts_with("settle Answer(1) false") && said[0].contains("too much"), "{said:?}");
}

#[test]
fn what_is_kept_is_a_text() {
    let mut talk = Talk::with_root();
    talk.tell(json!(["push", ["pipeline", 1, ["make"], []]]));
    talk.tell(json!(["push", ["pipeline", 0, ["keep"], [["pipeline", 2]]]]));
    talk.tell(json!(["pull", 3]));
    talk.settled(1, true, Value::Slot(0), vec![ClientRef::Object(OBJECT)]);
    talk.settled(2, true, Value::String("kept".into()), vec![]);
    assert_eq!(talk.said()[1], "keep Object(7) -> 2");
    assert_eq!(talk.out(), [json!(["resolve", 3, "vat://kept"])]);
    for wrong in [json!(["pipeline", 0, ["keep"], [7]]), json!(["pipeline", 0, ["other"], []]), json!(["pipeline", 0])]
    {
        talk.tell(json!(["stream", wrong]));
    }
    let out = talk.out();
    assert!(out.len() == 3 && out.iter().all(|out| out[0] == "reject"), "{out:?}");
}

#[test]
fn who_breaks_the_protocol_is_told_and_heard_no_more() {
    let many = (0..40_000).map(|_| json!(["push", 1]).to_string()).collect::<Vec<_>>();
    let large = format!("[\"push\",\"{}\"]", "x".repeat(1 << 20));
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("no JSON", vec!["[".into()]),
        ("no array", vec!["7".into()]),
        ("no name", vec!["[1]".into()]),
        ("not known", vec![r#"["sing",1]"#.into()]),
        ("no expression", vec![r#"["push",[1]]"#.into()]),
        ("a pull of nothing", vec![r#"["pull",9]"#.into()]),
        ("a call of nothing", vec![r#"["push",["pipeline",9,["a"],[]]]"#.into()]),
        ("an argument of nothing", vec![r#"["push",["pipeline",0,["keep"],[["import",-7]]]]"#.into()]),
        ("a number of this side's own", vec![format!(r#"["push",["pipeline",{},["a"],[]]]"#, i64::MIN + 1)]),
        ("a release of nothing", vec![r#"["release",9,1]"#.into()]),
        ("a release of too many", vec![r#"["push",1]"#.into(), r#"["release",1,2]"#.into()]),
        (
            "a release of what only this side needs",
            vec![
                r#"["push",["pipeline",0,["redeem"],["vat://r"]]]"#.into(),
                r#"["push",["pipeline",1,["a"],[]]]"#.into(),
                r#"["release",1,2]"#.into(),
            ],
        ),
        ("a release of none", vec![r#"["push",1]"#.into(), r#"["release",1,0]"#.into()]),
        ("a settlement of nothing", vec![r#"["resolve",-1,1]"#.into()]),
        ("a settlement of an object", vec![r#"["push",[[["export",-1]]]]"#.into(), r#"["resolve",-1,1]"#.into()]),
        (
            "a second settlement",
            vec![
                r#"["push",["pipeline",0,["keep"],[["promise",-1],["promise",-2]]]]"#.into(),
                r#"["resolve",-1,1]"#.into(),
                r#"["reject",-1,1]"#.into(),
            ],
        ),
        ("an export of the wrong number", vec![r#"["push",[[["export",4]]]]"#.into()]),
        ("too many entries", many),
        ("too many bytes", vec![large; 80]),
    ];
    for (what, messages) in cases {
        let mut talk = Talk::new();
        messages.iter().for_each(|message| talk.0.receive(message));
        assert!(talk.0.ended().is_some(), "{what}");
        let out = talk.out();
        assert_eq!(out.last().map(|out| out[0].clone()), Some(json!("abort")), "{what}: {out:?}");
        talk.said();
        talk.tell(json!(["push", ["pipeline", 0, ["redeem"], ["vat://r"]]]));
        assert_eq!((talk.said(), talk.out().len()), (vec![], 0), "{what}");
    }
    let mut talk = Talk::new();
    talk.tell(json!(["abort", ["error", "Error", "bye"]]));
    assert!(talk.0.ended().is_some() && talk.out().is_empty());
}

#[test]
fn what_is_released_leaves_room() {
    let mut talk = Talk::new();
    let large = "x".repeat(1 << 20);
    for id in 1..=200 {
        talk.tell(json!(["push", large]));
        talk.tell(json!(["release", id, 1]));
    }
    assert_eq!(talk.0.ended(), None);
}

#[test]
fn calls_that_wait_for_a_vat_that_is_lost_hear_of_it() {
    let mut talk = Talk::with_root();
    talk.tell(json!(["push", ["pipeline", 1, ["make"], []]]));
    talk.tell(json!(["pull", 2]));
    talk.0.lost(0, "the vat's members refuse");
    assert_eq!(talk.out(), [json!(["reject", 2, ["error", "Error", "the vat's members refuse"]])]);
    // Streams are refused by name.
    talk.tell(json!(["pipe"]));
    talk.tell(json!(["push", ["pipeline", 1, ["read"], [["readable", 3]]]]));
    talk.tell(json!(["pull", 4]));
    assert!(talk.out()[0].to_string().contains("readable"));
}
