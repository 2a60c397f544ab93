//! Exports spans: OTLP over HTTP, in JSON (<https://opentelemetry.io/docs/specs/otlp/>). A batch that the collector does not take in time is given
//! up.

use super::{Message, Span, Step};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use quorate_config::testnet::TracesConfig;
use quorate_consensus::HostId;
use quorate_courier::log_limiter::LogLimiter;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Spans in one request.
const BATCH: usize = 512;
/// How long spans are gathered for one request.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the collector may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// An answer longer than this is not read.
const ANSWER_BYTES: usize = 64 << 10;

/// What became of spans.
#[derive(Debug, Default)]
pub struct Stats([AtomicU64; 3]);

/// As [`Stats::get`] orders them.
pub const OUTCOMES: [&str; 3] = ["exported", "failed", "dropped"];

impl Stats {
    fn add(&self, outcome: usize, count: usize) {
        self.0[outcome].fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.add(2, 1);
    }

    /// How many were exported, were not taken by the collector, and found no room in the queue.
    pub fn get(&self) -> [u64; 3] {
        [0, 1, 2].map(|outcome: usize| self.0[outcome].load(Ordering::Relaxed))
    }
}

/// Sends what comes from a queue.
pub(super) struct Exporter {
    config: TracesConfig,
    host: HostId,
    name: String,
    stats: Arc<Stats>,
    failures: LogLimiter,
}

impl Exporter {
    pub(super) fn new(config: TracesConfig, host: HostId, name: &str, stats: Arc<Stats>) -> Exporter {
        Exporter { config, host, name: name.to_owned(), stats, failures: LogLimiter::default() }
    }

    /// Runs until nobody gives spans any more.
    pub(super) async fn run(mut self, mut spans: mpsc::Receiver<Span>) {
        let mut batch = Vec::with_capacity(BATCH);
        while spans.recv_many(&mut batch, BATCH).await > 0 {
            tokio::time::sleep(PAUSE).await;
            while batch.len() < BATCH
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            let count = batch.len();
            let body = self.body(batch.drain(..)).to_string();
            let sent = tokio::time::timeout(DEADLINE, post(&self.config, body)).await;
            match sent.unwrap_or_else(|_| Err("it did not answer in time".to_owned())) {
                Ok(()) => self.stats.add(0, count),
                Err(why) => {
                    self.stats.add(1, count);
                    if let Some(left_out) = self.failures.admit(Instant::now()) {
                        let endpoint = &self.config.endpoint;
                        tracing::warn!(%endpoint, %why, left_out, "traces could not be exported");
                    }
                }
            }
        }
    }

    /// A request's body.
    fn body(&self, spans: impl Iterator<Item = Span>) -> Value {
        let spans: Vec<Value> = spans.map(|span| self.span(&span)).collect();
        let attributes = [
            text("service.name", "quorate"),
            text("service.instance.id", &self.host.to_string()),
            text("host.name", &self.name),
        ];
        json!({ "resourceSpans": [{
            "resource": { "attributes": attributes },
            "scopeSpans": [{ "scope": { "name": "quorate", "version": env!("CARGO_PKG_VERSION") }, "spans": spans }],
        }] })
    }

    fn span(&self, span: &Span) -> Value {
        let Message { sender, receiver, number } = &span.message;
        let trace = span.message.trace();
        let mut attributes = vec![
            text("quorate.sender", &sender.to_string()),
            text("quorate.receiver", &receiver.to_string()),
            whole("quorate.message", *number),
            text("quorate.host", &self.name),
        ];
        attributes.extend(span.block.map(|block| whole("quorate.block", block)));
        let link = |message: &Message| {
            let trace = message.trace();
            json!({ "traceId": hex::encode(trace), "spanId": hex::encode(Step::Message.span(&trace)) })
        };
        let parent = span.step.parent().map(|parent| hex::encode(parent.span(&trace)));
        // Of the kinds of OpenTelemetry: what was called, what calls, and everything else.
        let kind = match span.step {
            Step::Take { .. } => 2,
            Step::Ship { .. } => 3,
            _ => 1,
        };
        json!({
            "traceId": hex::encode(trace),
            "spanId": hex::encode(span.step.span(&trace)),
            "parentSpanId": parent.unwrap_or_default(),
            "name": span.step.name(),
            "kind": kind,
            "startTimeUnixNano": span.begin.0.to_string(),
            "endTimeUnixNano": span.end.0.max(span.begin.0).to_string(),
            "attributes": attributes,
            "links": span.link.iter().map(link).collect::<Vec<_>>(),
        })
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit numbers are strings in the JSON of protocol buffers.
fn whole(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

/// Posts a body to the endpoint.
async fn post(config: &TracesConfig, body: String) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let stream = tokio::net::TcpStream::connect(&config.address).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let connection = tokio::spawn(connection);
    let request =
        Request::post(&config.path).header("host", &config.address).header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = response.status();
    let answer = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|error| failed(&error));
    connection.abort();
    let answer = answer?.to_bytes();
    if status.is_success() {
        return Ok(());
    }
    let answer: String = String::from_utf8_lossy(&answer).chars().take(200).collect();
    Err(format!("it answered {status}: {answer}"))
}

#[cfg(test)]
mod tests {
    use super::super::Moment;
    use super::*;
    use quorate_engine::VatId;

    #[test]
    fn a_span_is_written_as_the_json_of_otlp() {
        let config = TracesConfig::parse("http://127.0.0.1:4318", 1).expect("an endpoint");
        let host = HostId([3; 32]);
        let exporter = Exporter::new(config, host, "alpha", Arc::default());
        let message = Message { sender: VatId([1; 32]), receiver: VatId([2; 32]), number: 9 };
        let answer = Message { sender: VatId([2; 32]), receiver: VatId([1; 32]), number: 4 };
        let (begin, end) = (Moment(1_000), Moment(900));
        let span = Span { message, step: Step::Settle(host), begin, end, block: Some(12), link: Some(answer) };
        let body = exporter.body([span].into_iter());
        let resource = &body["resourceSpans"][0];
        assert_eq!(
            resource["resource"]["attributes"][0],
            json!({ "key": "service.name", "value": { "stringValue": "quorate" } })
        );
        let span = &resource["scopeSpans"][0]["spans"][0];
        assert_eq!(span["name"], "settle");
        assert_eq!(span["traceId"], hex::encode(message.trace()));
        assert_eq!(span["traceId"].as_str().map(str::len), Some(32));
        assert_eq!(span["parentSpanId"], hex::encode(Step::Message.span(&message.trace())));
        assert_eq!(span["startTimeUnixNano"], "1000");
        assert_eq!(span["endTimeUnixNano"], "1000", "clocks that are set back make no negative times");
        assert_eq!(span["links"][0]["traceId"], hex::encode(answer.trace()));
        let block = json!({ "key": "quorate.block", "value": { "intValue": "12" } });
        assert!(span["attributes"].as_array().expect("a list").contains(&block), "{span}");
    }
}
