//! Traces: a message from one vat to another is one trace at whatever collects them, with spans of all hosts that saw it.

mod support;

use quorate_engine::abi::Value as Passed;
use quorate_testnet::process::{TestNet, stand_in};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};
use support::{FOUR_HOSTS, ask, client};

const MORE: &str = r#"
[vat.argv]
listener = { vat = "listener" }

[[vat]]
name = "listener"
hosts = ["delta"]
threshold = 1
source = "listener.js"
"#;

const COUNTER: &str = "
import { E, Far } from '@endo/far';
export default ({ listener }) => Far('root', { tell(text) { return E(listener).hear(text); } });
";

const LISTENER: &str = "
import { Far } from '@endo/far';
export default () => Far('listener', { hear(text) { return text.length; } });
";

/// A span as it was exported.
#[derive(Clone, Debug)]
struct Span {
    name: String,
    trace: String,
    id: String,
    parent: String,
    host: String,
    attributes: BTreeMap<String, String>,
    begin: u64,
    end: u64,
    links: Vec<String>,
}

/// The smallest collector that OTLP over HTTP allows: it takes everything.
struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let kept = spans.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let found = take(stream);
                kept.lock().expect("nobody panics").extend(found);
            }
        });
        Collector { address, spans }
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("nobody panics").clone()
    }

    /// The spans of each trace, by the trace's id.
    fn traces(&self) -> BTreeMap<String, Vec<Span>> {
        let mut traces: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for span in self.spans() {
            traces.entry(span.trace.clone()).or_default().push(span);
        }
        traces
    }
}

/// Reads one request, says that all is well, and returns the spans in it.
fn take(mut stream: TcpStream) -> Vec<Span> {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).expect("a request");
    assert_eq!(line.trim(), "POST /v1/traces HTTP/1.1");
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        let lower = line.trim().to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if let Some(value) = lower.strip_prefix("content-type:") {
            assert_eq!(value.trim(), "application/json");
        }
        if lower.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(answer.as_bytes()).expect("it reads");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let scopes = body["resourceSpans"].as_array().expect("a list").iter().flat_map(|resource| {
        let service = &resource["resource"]["attributes"][0]["value"]["stringValue"];
        assert_eq!(service, "quorate");
        resource["scopeSpans"].as_array().expect("a list")
    });
    scopes.flat_map(|scope| scope["spans"].as_array().expect("a list")).map(span).collect()
}

fn span(span: &Value) -> Span {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let attributes: BTreeMap<String, String> = span["attributes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|attribute| {
            let value = &attribute["value"];
            let value = value["stringValue"].as_str().or(value["intValue"].as_str()).expect("a value");
            (text(&attribute["key"]), value.to_owned())
        })
        .collect();
    let links = span["links"].as_array().expect("a list").iter().map(|link| text(&link["traceId"])).collect();
    let number = |key: &str| text(&span[key]).parse().expect("a number");
    Span {
        name: text(&span["name"]),
        trace: text(&span["traceId"]),
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        host: attributes["quorate.host"].clone(),
        attributes,
        begin: number("startTimeUnixNano"),
        end: number("endTimeUnixNano"),
        links,
    }
}

/// The hosts that gave spans of this name.
fn hosts<'a>(trace: &'a [Span], name: &str) -> BTreeSet<&'a str> {
    trace.iter().filter(|span| span.name == name).map(|span| span.host.as_str()).collect()
}

const MEMBERS: [&str; 3] = ["alpha", "beta", "gamma"];

fn tell(net: &TestNet) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let client = client(net, "counter").await;
        let told = ask(&client, "tell", vec![Passed::String("news".to_owned())]).await;
        assert!(told.fulfilled);
        client.close().await;
    });
}

#[test]
fn a_message_between_two_vats_is_one_trace_with_the_right_parents() {
    let collector = Collector::start();
    let mut net = TestNet::new(stand_in());
    net.environment("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address));
    net.file("counter.js", COUNTER);
    net.file("listener.js", LISTENER);
    let config = net.file("testnet.toml", &[FOUR_HOSTS, MORE].concat());
    net.up(&config, &[]).ok();
    let vat = |name: &str| net.replicas(name).into_iter().next().expect("it runs").1.vat;
    let (counter, listener) = (vat("counter"), vat("listener"));
    tell(&net);
    // The call: it has an answer, so its trace ends with that.
    let is_call = |trace: &&Vec<Span>| {
        let of = |key: &str| trace[0].attributes[key].as_str();
        (of("quorate.sender"), of("quorate.receiver")) == (counter.as_str(), listener.as_str())
            && !hosts(trace, "settle").is_empty()
    };
    let trace = net.wait("a trace of all steps", || {
        let traces = collector.traces();
        let trace = traces.values().find(is_call)?.clone();
        let members: BTreeSet<&str> = MEMBERS.into();
        let is_whole = !hosts(&trace, "message").is_empty()
            && hosts(&trace, "say") == members
            && hosts(&trace, "certify").len() >= 2
            && !hosts(&trace, "ship").is_empty()
            && hosts(&trace, "take") == BTreeSet::from(["delta"])
            && hosts(&trace, "execute") == BTreeSet::from(["delta"])
            && hosts(&trace, "settle") == members;
        is_whole.then_some(trace)
    });

    let by_id: BTreeMap<&str, &Span> = trace.iter().map(|span| (span.id.as_str(), span)).collect();
    let above = |span: &Span| by_id.get(span.parent.as_str()).map(|parent| parent.name.clone());
    for span in &trace {
        let expected = match span.name.as_str() {
            "message" => {
                assert_eq!(span.parent, "");
                continue;
            }
            "say" | "execute" | "settle" => "message",
            "certify" => "say",
            "ship" => "certify",
            "take" => "ship",
            other => panic!("an unknown span {other}"),
        };
        assert_eq!(above(span).as_deref(), Some(expected), "{span:?}");
        if ["certify", "ship"].contains(&span.name.as_str()) {
            assert_eq!(by_id[span.parent.as_str()].host, span.host, "its own host did what was before");
        }
    }
    for span in &trace {
        assert!(span.begin <= span.end, "{span:?}");
    }
    let message = trace.iter().find(|span| span.name == "message").expect("it is there");
    let own = trace.iter().filter(|span| span.host == message.host);
    assert!(own.clone().all(|span| message.begin <= span.begin), "{trace:#?}");

    // The answer is a message of its own, which the settling names.
    let answer = &trace.iter().find(|span| span.name == "settle").expect("it is there").links[0];
    let answer = net.wait("the trace of the answer", || collector.traces().get(answer).cloned());
    assert_eq!(answer[0].attributes["quorate.sender"], listener);
    assert_eq!(answer[0].attributes["quorate.receiver"], counter);

    // What a client says is a trace, too, which the vat's leader gives.
    net.wait("the trace of the client's call", || {
        let traces = collector.traces();
        let of_client = |trace: &&Vec<Span>| {
            let sender = trace[0].attributes["quorate.sender"].as_str();
            sender != counter && sender != listener && !hosts(trace, "take").is_empty()
        };
        let trace = traces.values().filter(of_client).find(|trace| !hosts(trace, "message").is_empty())?;
        let message = trace.iter().find(|span| span.name == "message")?;
        let take = trace.iter().find(|span| span.name == "take")?;
        (take.parent == message.id).then_some(())
    });
    let exported = net.metrics("alpha");
    let exported = exported.lines().find(|line| line.starts_with("quorate_trace_spans_total{outcome=\"exported\"}"));
    assert!(exported.is_some_and(|line| !line.ends_with(" 0")), "{exported:?}");

    // A host that is started anew executes its log again, and tells nothing of that.
    let before = collector.spans().iter().filter(|span| span.host == "delta").count();
    net.vat(&["testnet", "kill", "delta"]).ok();
    net.vat(&["testnet", "restart", "delta"]).ok();
    tell(&net);
    let executed = |collector: &Collector| {
        let of_delta = collector.spans().into_iter().filter(|span| span.host == "delta");
        of_delta.skip(before).filter(|span| span.name == "execute").map(|span| span.trace).collect::<Vec<_>>()
    };
    let again = net.wait("what came after", || Some(executed(&collector)).filter(|traces| !traces.is_empty()));
    let known: BTreeSet<&str> = trace.iter().map(|span| span.trace.as_str()).collect();
    assert!(again.iter().all(|trace| !known.contains(trace.as_str())), "{again:?}");
}
