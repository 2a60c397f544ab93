//! Testnets with gateways, and requests over plain HTTP.

#![allow(dead_code, reason = "each test binary uses its own part")]

use crate::support::LONG;
use quorate_testnet::process::{TestNet, stand_in};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

/// A port of loopback that nothing listens at now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it listens").port()
}

/// A vat `desk` of three hosts, alpha, beta and gamma, the first two of which have gateways, and a vat `other` with the same code at gamma alone. Gives
/// the addresses of the gateways, by host.
pub fn desks(code: &str) -> (TestNet, [(&'static str, String); 2]) {
    let net = TestNet::new(stand_in());
    let gateways =
        [("alpha", free_port()), ("beta", free_port())].map(|(host, port)| (host, format!("127.0.0.1:{port}")));
    net.file("desk.js", code);
    let hosts: String = gateways
        .iter()
        .map(|(host, at)| {
            format!("[[host]]\nname = \"{host}\"\ngateway = \"{at}\"\ngateway_origins = [\"https://example.org\"]\n")
        })
        .collect();
    let vat = |name: &str, hosts: &str, threshold: u32| {
        format!("[[vat]]\nname = \"{name}\"\nhosts = [{hosts}]\nthreshold = {threshold}\nsource = \"desk.js\"\n")
    };
    let vats = vat("desk", r#""alpha", "beta", "gamma""#, 2) + &vat("other", r#""gamma""#, 1);
    let config = net.file("testnet.toml", &format!("{hosts}[[host]]\nname = \"gamma\"\n{vats}"));
    net.up(&config, &[]).ok();
    (net, gateways)
}

/// The answer to a request.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Said {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The result of a call.
    #[track_caller]
    pub fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["result"].clone()
    }
}

/// Sends a request on a connection of its own. Nothing where the other end is gone before it has answered.
pub fn ask(at: &str, verb: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Said> {
    let mut stream = TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(LONG)).expect("a timeout");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{verb} {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n{headers}");
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Some(Said { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// Calls a method of what a reference opens, with further headers.
pub fn call(at: &str, reference: &str, method: &str, headers: &[(&str, &str)], body: &str) -> Option<Said> {
    let (object, secret) = reference.split_once('#').expect("a reference with its secret");
    let (vat, object) = object.trim_start_matches("vat://").split_once('/').expect("a vat and an object");
    let method = if method.is_empty() { String::new() } else { format!("/{method}") };
    let bearer = format!("Bearer {secret}");
    let all = [&[("authorization", bearer.as_str()), ("content-type", "application/json")], headers].concat();
    ask(at, "POST", &format!("/v1/vats/{vat}/objects/{object}{method}"), &all, body)
}
