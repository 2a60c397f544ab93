//! The routes, against a vat that a test makes up.

use super::*;
use axum::http::Uri;
use futures::future::BoxFuture;
use quorate_client::{Answer, Client, ClientError, Lasted, LastingCall, LastingError};
use quorate_ids::VatId;
use quorate_protocol::sturdyref::Sturdyref;
use quorate_streams::abi::{Method, Value};
use quorate_streams::client::ClientRef;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Longer than a slow machine takes. Nothing here is to be met by it.
const LONG: Duration = Duration::from_secs(120);

/// Answers each call by the name of its method.
struct Fake {
    /// The calls that came, one line each.
    said: Mutex<Vec<String>>,
    /// Lets calls of `wait` go on.
    go: Semaphore,
}

struct Shared(Arc<Fake>);

/// Nobody has frames carried here.
struct NoFrames;

impl crate::carry::Carries for NoFrames {
    fn hand(
        &self,
        _from: quorate_ids::HostId,
        _purpose: quorate_protocol::relay::Carried,
        _frame: axum::body::Bytes,
    ) -> BoxFuture<'static, Result<axum::body::Bytes, String>> {
        Box::pin(async { Err("no host".to_owned()) })
    }

    fn attach(
        &self,
        _client: quorate_ids::HostId,
        _slices: tokio::sync::mpsc::Sender<crate::carry::ForClient>,
    ) -> Box<dyn Send> {
        Box::new(())
    }
}

impl Connects for Shared {
    fn connect(&self, _sturdyref: Sturdyref) -> BoxFuture<'static, Result<Client, String>> {
        Box::pin(async { Err("nobody connects here".to_owned()) })
    }

    fn call(&self, mut call: LastingCall) -> BoxFuture<'static, Lasted> {
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            let Method::Call(name) = call.method.clone() else { return lasted(Ok(fulfilled(Value::Null))) };
            let args = Value::Array(call.args.clone()).to_json();
            let line = format!("{name} {args} {:?} {:?}", call.sturdyref, call.slots);
            fake.said.lock().expect("no test panics with it").push(line);
            let answer = match name.as_str() {
                "echo" => fulfilled(call.args.first().cloned().unwrap_or(Value::Undefined)),
                "fail" => Answer { fulfilled: false, ..fulfilled(Value::error("RangeError", "too far")) },
                "wait" => {
                    fake.go.acquire().await.expect("it is never closed").forget();
                    fulfilled(Value::Null)
                }
                "denied" => return lasted(Err(LastingError::NotOpened("it was revoked".to_owned()))),
                "__getInterfaceGuard__" => fulfilled(guard()),
                "__getMethodNames__" if call.sturdyref.object == GUARDED => {
                    let names = ["__getInterfaceGuard__", "deposit"].map(|name| Value::String(name.to_owned()));
                    fulfilled(Value::Array(names.to_vec()))
                }
                "slow" => return lasted(Err(LastingError::Client(ClientError::Deadline(30.0)))),
                "away" => return lasted(Err(LastingError::Client(ClientError::NotSent("down".to_owned())))),
                _ => {
                    let message = format!("target has no method {name:?}, has [\"echo\",\"fail\",\"not a tool\"]");
                    Answer { fulfilled: false, ..fulfilled(Value::error("TypeError", message)) }
                }
            };
            if let Err(why) = call.records.answered(&answer, None).await {
                return lasted(Err(LastingError::NotRecorded(why)));
            }
            lasted(Ok(answer))
        })
    }
}

/// An object with a guard.
const GUARDED: u64 = 8;

/// As `M.interface('Purse', { deposit: M.call(M.nat()).returns() })` makes it.
fn guard() -> Value {
    let tagged = |tag: &str, payload: Value| Value::Tagged(tag.to_owned(), Box::new(payload));
    let record = |fields: Vec<(&str, Value)>| {
        Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let nat = tagged("match:nat", Value::Array(Vec::new()));
    let method = record(vec![("callKind", Value::String("sync".into())), ("argGuards", Value::Array(vec![nat]))]);
    let methods = record(vec![("deposit", tagged("guard:methodGuard", method))]);
    let interface = record(vec![("interfaceName", Value::String("Purse".into())), ("methodGuards", methods)]);
    tagged("guard:interfaceGuard", interface)
}

fn lasted(answer: Result<Answer, LastingError>) -> Lasted {
    Lasted { answer, kept: Vec::new(), proof: None }
}

fn fulfilled(value: Value) -> Answer {
    Answer { promise: ClientRef::Result(1), fulfilled: true, value, slots: Vec::new() }
}

struct Gateway {
    fake: Arc<Fake>,
    stats: Arc<Stats>,
    address: SocketAddr,
    _folder: TempDir,
    _server: tokio::task::JoinHandle<()>,
}

struct Said {
    status: u16,
    head: String,
    body: String,
}

impl Said {
    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Gateway {
    async fn start() -> Gateway {
        let (fake, folder) =
            (Arc::new(Fake { said: Mutex::default(), go: Semaphore::new(0) }), tempfile::tempdir().expect("a folder"));
        let rules = crate::server::Rules {
            origins: vec!["https://example.org".to_owned()],
            proxies: Vec::new(),
            max_sessions: 4,
            folder: folder.path().join("calls"),
        };
        let stats = Arc::<Stats>::default();
        let connects = Arc::new(Shared(Arc::clone(&fake)));
        let routes = crate::server::routes(connects, Arc::new(NoFrames), rules, Arc::clone(&stats))
            .expect("a folder of this test");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let server = tokio::spawn(crate::server::serve(listener, routes, 1_024));
        Gateway { fake, stats, address, _folder: folder, _server: server }
    }

    /// Sends bytes on a connection of their own, and gives all that comes until its end.
    async fn raw(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        // Where it has had enough, it reads no more.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await;
        let _ = read.expect("the other end closes");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn ask(&self, verb: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Said {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("{verb} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n");
        let text = self.raw(&format!("{head}{headers}content-length: {}\r\n\r\n{body}", body.len())).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{verb} {path}: {text}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Said { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// Calls a method with the bearer, and further headers.
    async fn call(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Said {
        let bearer = format!("Bearer {}", secret());
        let all = [&[("authorization", bearer.as_str()), ("content-type", "application/json")], headers].concat();
        self.ask("POST", &path(method), &all, body).await
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut *self.fake.said.lock().expect("no test panics with it"))
    }

    async fn rpc(&self, message: Json) -> Said {
        let bearer = format!("Bearer {}", reference());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.ask("POST", "/mcp", &headers, &message.to_string()).await
    }
}

fn reference() -> Sturdyref {
    Sturdyref::bearer(VatId([7; 32]), 3, [9; 32])
}

fn secret() -> String {
    "09".repeat(32)
}

fn path(method: &str) -> String {
    format!("/v1/vats/{}/objects/3/{method}", "07".repeat(32))
}

#[track_caller]
fn is_problem(said: &Said, status: u16, code: &str, done: &str) {
    let json = said.json();
    assert!(said.head.contains("application/problem+json"), "{}", said.head);
    assert_eq!((said.status, &json["code"], &json["done"]), (status, &json!(code), &json!(done)), "{json}");
    assert_eq!(json["status"], status);
    assert_eq!(json["type"], format!("urn:quorate:error:{code}"));
}

#[tokio::test]
async fn values_go_in_and_come_out() {
    let gateway = Gateway::start().await;
    for value in [
        json!(5),
        json!("é\n"),
        json!([1, null, true, { "a": { "@bigint": "12345678901234567890" } }]),
        json!({ "@bytes": "00ff" }),
        json!({ "@number": "NaN" }),
        json!({ "@error": { "name": "Error", "message": "m" } }),
        json!({ "@record": [["@ref", 1]] }),
    ] {
        let said = gateway.call("echo", &[], &json!([value]).to_string()).await;
        assert_eq!((said.status, said.json()), (200, json!({ "result": value })));
        assert!(said.head.contains("application/json") && said.head.contains("no-store"), "{}", said.head);
    }
    assert_eq!(gateway.call("echo", &[], "").await.json(), json!({ "result": null }));
    gateway.said();
    // The object is the one that the bearer opens; what is passed is there by its text.
    let argument = json!([{ "@ref": Sturdyref::bearer(VatId([1; 32]), 0, [2; 32]).to_string() }]).to_string();
    gateway.call("take", &[], &argument).await;
    let (vat, other) = ("07".repeat(32), "01".repeat(32));
    let said = format!(r#"take [{{"@slot":0}}] vat://{vat}/3#(secret) [vat://{other}/root#(secret)]"#);
    assert_eq!(gateway.said(), [said]);
    // Without a method it is a function that is called. A proof that there is not is said to be none.
    let bearer = format!("bearer {}", reference());
    let headers = [("authorization", bearer.as_str()), ("quorate-proof", "?1")];
    let said = gateway.ask("POST", &format!("/v1/vats/{vat}/objects/3"), &headers, "").await;
    assert_eq!((said.status, said.json()), (200, json!({ "result": null, "proof": null })));
}

#[tokio::test]
async fn the_path_alone_opens_nothing() {
    let gateway = Gateway::start().await;
    let ask = async |headers: &[(&str, &str)]| gateway.ask("POST", &path("echo"), headers, "").await;
    for headers in [
        &[][..],
        &[("authorization", "")],
        &[("authorization", "Bearer")],
        &[("authorization", "Basic eDp5")],
        &[("authorization", "Bearer 12")],
        &[("authorization", "Bearer x"), ("authorization", "Bearer x")],
        &[("authorization", &*format!("Bearer vat://{}/3", "07".repeat(32)))],
        &[("cookie", "bearer=1")],
    ] {
        let said = ask(headers).await;
        is_problem(&said, 401, "Q-G002", "no");
        assert!(said.head.contains("www-authenticate: bearer"), "{}", said.head);
    }
    let other = Sturdyref::bearer(VatId([7; 32]), 4, [9; 32]).to_string();
    let said = ask(&[("authorization", &format!("Bearer {other}"))]).await;
    is_problem(&said, 403, "Q-G003", "no");
    assert!(!said.body.contains(&secret()), "the secret is shown: {}", said.body);
    assert!(gateway.said().is_empty());
    is_problem(&gateway.call("denied", &[], "").await, 403, "Q-G003", "no");
}

#[tokio::test]
async fn what_the_vat_rejects_is_told_from_what_went_wrong_on_the_way() {
    let gateway = Gateway::start().await;
    let said = gateway.call("fail", &[], "").await;
    is_problem(&said, 422, "Q-G001", "yes");
    assert_eq!(said.json()["rejection"], json!({ "@error": { "name": "RangeError", "message": "too far" } }));
    assert_eq!(said.json()["detail"], "RangeError: too far");
    is_problem(&gateway.call("slow", &[], "").await, 504, "Q-G013", "maybe");
    let away = gateway.call("away", &[], "").await;
    is_problem(&away, 503, "Q-G012", "no");
    assert!(away.head.contains("retry-after:"), "{}", away.head);
}

#[tokio::test]
async fn requests_that_can_not_be_made_are_told_what_is_wrong() {
    let gateway = Gateway::start().await;
    for (headers, body, wanted) in [
        (&[][..], "[", "JSON"),
        (&[], "{}", "array"),
        (&[], "[1e400]", "1e400"),
        (&[], r#"[{"a":1,"a":2}]"#, "twice"),
        (&[], r#"[{"@slot":0}]"#, "@ref"),
        (&[("idempotency-key", "")], "[]", "Idempotency-Key"),
        (&[("idempotency-key", "a b")], "[]", "Idempotency-Key"),
        (&[("idempotency-key", "a"), ("idempotency-key", "b")], "[]", "Idempotency-Key"),
        (&[("prefer", "wait=0")], "[]", "120"),
        (&[("prefer", "respond-async, wait=121")], "[]", "120"),
        (&[("quorate-proof", "yes")], "[]", "?1"),
    ] {
        let said = gateway.call("echo", headers, body).await;
        is_problem(&said, 400, "Q-G005", "no");
        assert!(said.body.contains(wanted), "{body} {headers:?}: {}", said.body);
    }
    let bearer = format!("Bearer {}", secret());
    let bearer = ("authorization", bearer.as_str());
    let text = gateway.ask("POST", &path("echo"), &[bearer, ("content-type", "text/plain")], "[]").await;
    is_problem(&text, 415, "Q-G005", "no");
    let said = gateway.ask("POST", "/v1/vats/77/objects/3/echo", &[bearer], "").await;
    is_problem(&said, 400, "Q-G005", "no");
    is_problem(&gateway.ask("POST", "/v1/nothing", &[bearer], "").await, 404, "Q-G006", "no");
    is_problem(&gateway.ask("GET", &path("echo"), &[bearer], "").await, 405, "Q-G006", "no");
    is_problem(&gateway.ask("GET", "/mcp", &[bearer], "").await, 405, "Q-G006", "no");
    is_problem(&gateway.call("echo", &[], &" ".repeat((1 << 20) + (64 << 10) + 1)).await, 413, "Q-G007", "no");
    assert!(gateway.said().is_empty());
}

#[tokio::test]
async fn a_call_with_a_key_is_done_once() {
    let gateway = Gateway::start().await;
    let key = [("idempotency-key", "one")];
    let first = gateway.call("echo", &key, "[1]").await;
    assert!(!first.head.contains("idempotent-replayed"), "{}", first.head);
    // Written otherwise it is the same key, and the same arguments.
    for key in ["one", "\"one\""] {
        let again = gateway.call("echo", &[("idempotency-key", key)], " [ 1.0 ] ").await;
        assert_eq!((again.status, again.json()), (200, json!({ "result": 1 })));
        assert!(again.head.contains("idempotent-replayed: true"), "{}", again.head);
    }
    is_problem(&gateway.call("echo", &key, "[2]").await, 422, "Q-G009", "no");
    is_problem(&gateway.call("fail", &key, "[1]").await, 422, "Q-G009", "no");
    assert_eq!(gateway.said().len(), 1, "it was done again");
    // A rejection is an answer.
    for _ in 0..2 {
        is_problem(&gateway.call("fail", &[("idempotency-key", "two")], "").await, 422, "Q-G001", "yes");
    }
    assert_eq!(gateway.said().len(), 1, "it was done again");
    // What was not done is done when it is asked for again.
    for _ in 0..2 {
        is_problem(&gateway.call("away", &[("idempotency-key", "three")], "").await, 503, "Q-G012", "no");
    }
    assert_eq!(gateway.said().len(), 2);
    // References of other vats are lent anew each time.
    let argument = json!([{ "@ref": Sturdyref::bearer(VatId([1; 32]), 0, [2; 32]).to_string() }]).to_string();
    is_problem(&gateway.call("echo", &[("idempotency-key", "four")], &argument).await, 400, "Q-G005", "no");
}

/// Calls of references that are made up: nobody knows that before the vat has said so.
#[tokio::test]
async fn strangers_of_one_address_leave_room_for_others() {
    let gateway = Arc::new(Gateway::start().await);
    let call = |from: &'static str, number: u8, method: &'static str| {
        let gateway = Arc::clone(&gateway);
        async move {
            let bearer = format!("Bearer {}", format!("{number:02x}").repeat(32));
            let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", from)];
            gateway.ask("POST", &path(method), &headers, "").await
        }
    };
    // All but half of the places of this host, by one address, as a proxy names it.
    let waiting: Vec<_> = (0..64).map(|number| tokio::spawn(call("192.0.2.1", number, "wait"))).collect();
    while gateway.stats.calls() < 64 {
        tokio::task::yield_now().await;
    }
    let refused = call("192.0.2.1", 99, "echo").await;
    is_problem(&refused, 429, "Q-G008", "no");
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    assert!(refused.json()["detail"].as_str().is_some_and(|text| text.contains("192.0.2.1")), "{}", refused.body);
    // What it says of itself before the proxy does counts for nothing.
    is_problem(&call("198.51.100.7, 192.0.2.1", 99, "echo").await, 429, "Q-G008", "no");
    for other in ["198.51.100.7", "2001:db8::1"] {
        assert_eq!(call(other, 99, "echo").await.status, 200);
    }
    assert_eq!(gateway.stats.refused_total(Refusal::Share), 2);
    gateway.fake.go.add_permits(64);
    for call in waiting {
        assert_eq!(call.await.expect("it ends").status, 200);
    }
    assert_eq!(call("192.0.2.1", 99, "echo").await.status, 200);
    assert_eq!((gateway.stats.calls(), gateway.stats.calls_total(crate::stats::Outcome::Fulfilled)), (0, 67));
}

#[tokio::test]
async fn sessions_of_one_address_leave_room_for_others() {
    let gateway = Gateway::start().await;
    let open = async |from: &str| {
        let mut stream = TcpStream::connect(gateway.address).await.expect("it listens");
        let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        let head = format!("GET /frames HTTP/1.1\r\nhost: here\r\nx-forwarded-for: {from}\r\n{upgrade}\r\n");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut head).await.expect("an answer"), 0, "it was ended");
        }
        (stream, String::from_utf8_lossy(&head).to_lowercase())
    };
    // Four there are: two may be of one address, and each other one finds one.
    let mut sessions = Vec::new();
    for from in ["192.0.2.1", "192.0.2.1", "198.51.100.7"] {
        let (stream, head) = open(from).await;
        assert!(head.starts_with("http/1.1 101"), "{from}: {head}");
        sessions.push(stream);
    }
    let (_, head) = open("192.0.2.1").await;
    assert!(head.starts_with("http/1.1 429") && head.contains("retry-after: 5"), "{head}");
    let (last, head) = open("203.0.113.5").await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    let (_, head) = open("203.0.113.6").await;
    assert!(head.starts_with("http/1.1 503") && head.contains("retry-after: 5"), "{head}");
    assert_eq!(gateway.stats.refused_total(Refusal::Full), 1);
    drop((sessions, last));
}

#[tokio::test]
async fn one_bearer_has_so_many_calls_at_once() {
    let gateway = Arc::new(Gateway::start().await);
    let mut waiting = Vec::new();
    for count in 1..=16 {
        let own = Arc::clone(&gateway);
        waiting.push(tokio::spawn(async move { own.call("wait", &[], "").await.status }));
        while gateway.fake.said.lock().expect("no test panics with it").len() < count {
            tokio::task::yield_now().await;
        }
    }
    let said = gateway.call("echo", &[], "").await;
    is_problem(&said, 429, "Q-G008", "no");
    assert!(said.head.contains("retry-after: 1"), "{}", said.head);
    // Another bearer is not concerned.
    let other = format!("Bearer {}", "08".repeat(32));
    assert_eq!(gateway.ask("POST", &path("echo"), &[("authorization", &other)], "").await.status, 200);
    gateway.fake.go.add_permits(16);
    for waiting in waiting {
        assert_eq!(waiting.await.expect("it does not panic"), 200);
    }
    // Of one key there is one.
    gateway.said();
    let own = Arc::clone(&gateway);
    let keyed = tokio::spawn(async move { own.call("wait", &[("idempotency-key", "one")], "").await.status });
    while gateway.fake.said.lock().expect("no test panics with it").is_empty() {
        tokio::task::yield_now().await;
    }
    is_problem(&gateway.call("wait", &[("idempotency-key", "one")], "").await, 409, "Q-G010", "maybe");
    gateway.fake.go.add_permits(1);
    assert_eq!(keyed.await.expect("it does not panic"), 200);
    assert_eq!(gateway.call("wait", &[("idempotency-key", "one")], "").await.status, 200);
}

#[tokio::test]
async fn only_pages_that_are_listed_may_ask() {
    let gateway = Gateway::start().await;
    for origin in ["https://elsewhere.example", "null", "https://example.org.elsewhere.example"] {
        let said = gateway.call("echo", &[("origin", origin)], "").await;
        is_problem(&said, 403, "Q-G004", "no");
        assert!(!said.head.contains("access-control"), "{}", said.head);
        let said = gateway.ask("OPTIONS", &path("echo"), &[("origin", origin)], "").await;
        assert_eq!(said.status, 403);
        is_problem(&gateway.ask("POST", "/mcp", &[("origin", origin)], "").await, 403, "Q-G004", "no");
    }
    assert!(gateway.said().is_empty());
    let said = gateway.ask("OPTIONS", &path("echo"), &[("origin", "https://example.org")], "").await;
    assert_eq!(said.status, 204);
    assert!(said.head.contains("access-control-allow-headers: authorization,"), "{}", said.head);
    let said = gateway.call("echo", &[("origin", "https://example.org")], "").await;
    assert!(said.head.contains("access-control-allow-origin: https://example.org"), "{}", said.head);
    assert_eq!(said.status, 200);
}

#[tokio::test]
async fn a_request_of_two_lengths_is_the_last_of_its_connection() {
    let gateway = Gateway::start().await;
    let auth = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\nhost: here\r\n", secret());
    let hidden = format!("POST {} HTTP/1.1\r\n{auth}content-length: 0\r\n\r\n", path("hidden"));
    let first = format!("POST {} HTTP/1.1\r\n{auth}", path("echo"));
    // By its chunks it ends before the hidden one, by its length behind it.
    let body = format!("0\r\n\r\n{hidden}");
    let text = format!("{first}content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{body}", body.len());
    let said = gateway.raw(&text).await;
    assert_eq!(said.matches("HTTP/1.1").count(), 1, "{said}");
    let said = gateway.said();
    assert!(said.iter().all(|line| !line.starts_with("hidden")), "{said:?}");
    for head in ["content-length: 1\r\ncontent-length: 2\r\n", "transfer-encoding: gzip\r\n", "content-length: +1\r\n"]
    {
        let said = gateway.raw(&format!("{first}{head}\r\n[]")).await;
        assert!(said.starts_with("HTTP/1.1 400"), "{head}: {said}");
    }
    let many: String = (0..1_000).map(|count| format!("x-{count}: y\r\n")).collect();
    for head in [many, format!("x: {}\r\n", "y".repeat(1 << 20))] {
        let said = gateway.raw(&format!("{first}{head}\r\n")).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    }
    assert!(gateway.said().is_empty());
}

#[tokio::test]
async fn the_description_names_all_that_is_served_and_nothing_else() {
    let gateway = Gateway::start().await;
    let said = gateway.ask("GET", "/openapi.json", &[], "").await;
    let description = said.json();
    assert_eq!(description["openapi"], "3.1.0");
    let paths = description["paths"].as_object().expect("paths");
    // As the sources name them.
    let sources = include_str!("mod.rs");
    let routes: Vec<(&str, &str)> = sources
        .split(".route(\"")
        .skip(1)
        .map(|rest| {
            let (path, rest) = rest.split_once("\", ").expect("a path, and what is done there");
            (path, rest.split_once('(').expect("a verb").0)
        })
        .collect();
    assert!(routes.len() >= 4, "{routes:?}");
    let described = paths
        .iter()
        .flat_map(|(path, verbs)| verbs.as_object().expect("verbs").keys().map(|verb| (path.as_str(), verb.as_str())));
    assert_eq!(described.collect::<BTreeSet<_>>(), routes.into_iter().collect());
    for (path, verbs) in paths {
        for (verb, operation) in verbs.as_object().expect("verbs") {
            let path = path.replace("{vat}", &"07".repeat(32)).replace("{object}", "3").replace("{method}", "echo");
            assert!(path.parse::<Uri>().is_ok());
            let said = gateway.ask(&verb.to_uppercase(), &path, &[], "").await;
            let is_open = operation["security"] == json!([]);
            assert_eq!(said.status, if is_open { 200 } else { 401 }, "{verb} {path}");
        }
    }
    // What it refers to is there.
    for (at, _) in said.body.match_indices("\"#/") {
        let pointer = said.body[at + 2..].split('"').next().expect("it ends");
        assert!(description.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn methods_are_tools() {
    let gateway = Gateway::start().await;
    let ask = async |method: &str, params: Json| {
        let said = gateway.rpc(json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })).await;
        assert_eq!(said.status, 200, "{}", said.body);
        assert_eq!(said.json()["id"], 7);
        said.json()
    };
    for (wanted, given) in [("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-11-25"), ("1999-01-01", "2025-11-25")] {
        let answer = ask("initialize", json!({ "protocolVersion": wanted })).await;
        assert_eq!(answer["result"]["protocolVersion"], given);
    }
    let said = gateway.rpc(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    assert_eq!((said.status, &*said.body), (202, ""));
    assert_eq!(ask("ping", json!({})).await["result"], json!({}));
    let tools = ask("tools/list", json!({})).await;
    let names: Vec<&Json> =
        tools["result"]["tools"].as_array().expect("tools").iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["echo", "fail"]);
    let answer = ask("tools/call", json!({ "name": "echo", "arguments": { "args": [{ "@bigint": "7" }] } })).await;
    assert_eq!(answer["result"]["structuredContent"], json!({ "result": { "@bigint": "7" } }));
    assert_eq!(answer["result"]["content"], json!([{ "type": "text", "text": r#"{"@bigint":"7"}"# }]));
    assert_eq!(answer["result"]["isError"], false);
    let answer = ask("tools/call", json!({ "name": "fail" })).await;
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(answer["result"]["content"][0]["text"], "RangeError: too far");
    assert_eq!(ask("tools/call", json!({})).await["error"]["code"], -32_602);
    assert_eq!(
        ask("tools/call", json!({ "name": "echo", "arguments": { "args": 5 } })).await["error"]["code"],
        -32_602
    );
    assert_eq!(ask("resources/list", json!({})).await["error"]["code"], -32_601);
    // What is not known of arguments is said; what an object's guard says is there.
    let echo = &tools["result"]["tools"][0];
    assert_eq!(echo["inputSchema"]["properties"]["args"]["items"], json!({}));
    assert!(echo["description"].as_str().is_some_and(|text| text.contains("does not say")), "{echo}");
    let guarded = Sturdyref::bearer(VatId([7; 32]), GUARDED, [9; 32]);
    let headers = [("authorization", &*format!("Bearer {guarded}")), ("content-type", "application/json")];
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let tools = gateway.ask("POST", "/mcp", &headers, &list).await.json()["result"]["tools"].clone();
    let args = json!({
        "type": "array", "description": "The arguments, in order", "minItems": 1, "maxItems": 1, "items": false,
        "prefixItems": [{
            "type": "object", "properties": { "@bigint": { "type": "string", "pattern": "^[0-9]+$" } },
            "required": ["@bigint"], "additionalProperties": false,
        }],
    });
    let input = json!({
        "type": "object", "properties": { "args": args }, "required": ["args"], "additionalProperties": false,
    });
    let deposit =
        json!({ "name": "deposit", "description": "Calls the method deposit of Purse.", "inputSchema": input });
    assert_eq!(tools, json!([deposit]));
    for message in [json!([]), json!({}), json!({ "jsonrpc": "2.0", "id": {}, "method": "ping" })] {
        let said = gateway.rpc(message).await;
        assert_eq!((said.status, &said.json()["error"]["code"]), (400, &json!(-32_600)));
    }
    let bearer = format!("Bearer {}", reference());
    let headers = [("authorization", bearer.as_str()), ("mcp-protocol-version", "1999-01-01")];
    is_problem(&gateway.ask("POST", "/mcp", &headers, "").await, 400, "Q-G005", "no");
    let said = gateway.ask("POST", "/mcp", &[("authorization", &format!("Bearer {}", secret()))], "").await;
    is_problem(&said, 401, "Q-G002", "no");
}
