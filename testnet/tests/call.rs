//! Calls from outside: how many round trips they take, what they do while a host hangs, and what is left of them.

use quorate_testnet::process::{TestNet, stand_in};
use serde_json::{Value, json};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

const NOTES: &str = "
import { Far } from '@endo/far';
export default () => {
  let notes = 0;
  return Far('notes', {
    add: text => { notes += 1; return text.length; },
    count: () => notes,
    same: value => value,
    fail: text => { throw new RangeError(text); },
  });
};
";

/// A port that nobody listens at just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has an address").port()
}

/// A line to a host that carries one flight at a time: all that one end says until it is quiet. It counts the flights of those who
/// dial.
struct Line {
    port: u16,
    flights: Arc<AtomicUsize>,
}

/// An end that says nothing for so long has said all, unless its process gets no processor for longer. All flights of a call must
/// take less than a command waits before it asks again.
const QUIET: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(5);

impl Line {
    fn to(host: u16) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it has an address").port();
        let flights = Arc::new(AtomicUsize::new(0));
        let counted = flights.clone();
        thread::spawn(move || {
            for dialled in listener.incoming().map_while(Result::ok) {
                let Ok(host) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], host))) else { continue };
                let counted = counted.clone();
                thread::spawn(move || carry(dialled, host, &counted));
            }
        });
        Line { port, flights }
    }

    /// Flights since the last time.
    fn take_flights(&self) -> usize {
        self.flights.swap(0, Ordering::Relaxed)
    }
}

/// Carries flights until one end is closed.
fn carry(dialled: TcpStream, host: TcpStream, counted: &AtomicUsize) {
    for stream in [&dialled, &host] {
        stream.set_read_timeout(Some(LOOK)).expect("a timeout");
    }
    loop {
        for (from, to, is_dialler) in [(&dialled, &host, true), (&host, &dialled, false)] {
            let Some(flight) = flight(from) else { return };
            if flight.is_empty() {
                continue;
            }
            counted.fetch_add(usize::from(is_dialler), Ordering::Relaxed);
            let mut to = to;
            if to.write_all(&flight).is_err() {
                return;
            }
        }
    }
}

/// What an end says until it is quiet; nothing if it has nothing to say now, none if it is closed.
fn flight(mut from: &TcpStream) -> Option<Vec<u8>> {
    let (mut flight, mut piece, mut quiet) = (Vec::new(), [0; 65_536], Duration::ZERO);
    loop {
        match from.read(&mut piece) {
            Ok(0) | Err(_) if flight.is_empty() && quiet.is_zero() && is_closed(from) => return None,
            Ok(0) => return Some(flight),
            Ok(count) => {
                flight.extend_from_slice(&piece[..count]);
                quiet = Duration::ZERO;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                quiet += LOOK;
                if flight.is_empty() || quiet >= QUIET {
                    return Some(flight);
                }
            }
            Err(_) => return None,
        }
    }
}

fn is_closed(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]), Ok(0))
}

/// A vat of these hosts: name, where it listens, and what it announces.
fn testnet(hosts: &[(&str, u16, u16)], threshold: usize) -> TestNet {
    let net = TestNet::new(stand_in());
    net.file("notes.js", NOTES);
    let mut config = String::new();
    for (name, listen, announce) in hosts {
        config.push_str(&format!(
            "[[host]]\nname = \"{name}\"\nlisten = \"127.0.0.1:{listen}\"\nannounce = \"127.0.0.1:{announce}\"\n"
        ));
    }
    let names: Vec<&str> = hosts.iter().map(|(name, ..)| *name).collect();
    config.push_str(&format!(
        "[[vat]]\nname = \"notes\"\nhosts = {names:?}\nthreshold = {threshold}\nsource = \"notes.js\"\n"
    ));
    let config = net.file("testnet.toml", &config);
    net.up(&config, &[]).ok();
    net
}

#[test]
fn a_call_takes_four_round_trips_and_three_when_the_vat_is_known() {
    let port = free_port();
    let line = Line::to(port);
    let net = testnet(&[("alpha", port, line.port)], 1);
    let flights = |known: bool| {
        if !known {
            // What an earlier call remembered; nothing, before the first.
            let _ = std::fs::remove_dir_all(net.dir().join("known"));
        }
        line.take_flights();
        assert_eq!(net.call("notes", "count", &[]), json!(0));
        line.take_flights()
    };
    // A slow machine breaks a flight into several, so the fewest of some calls count. One more round trip connects; the last flight
    // is the farewell, which nobody waits for.
    let fewest = |known: bool, most: usize| {
        let mut found = Vec::new();
        while found.len() < 12 && found.last().is_none_or(|flights| *flights > most) {
            found.push(flights(known));
        }
        assert!(found.last().is_some_and(|flights| *flights <= most), "{found:?} flights, and {most} are enough");
    };
    // The handshake, who the members are, the call, and the farewell.
    fewest(false, 4);
    // The handshake, the call, and the farewell.
    fewest(true, 3);
}

#[test]
fn a_first_member_that_hangs_or_is_down_holds_no_call_up() {
    // It takes connections, as the kernel does for a process that was stopped, and says nothing.
    let hung = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hung_port = hung.local_addr().expect("it has an address").port();
    for first in [hung_port, free_port()] {
        let ports = [free_port(), free_port(), free_port()];
        let hosts = [("alpha", ports[0], first), ("beta", ports[1], ports[1]), ("gamma", ports[2], ports[2])];
        let net = testnet(&hosts, 2);
        // Three seconds are plenty, but a slow machine may need longer now and then.
        let soon = || {
            net.wait("an answer in three seconds", || {
                (net.vat(&["call", "--timeout", "3", "notes", "count"]).code == 0).then_some(())
            })
        };
        for expected in 1..=3 {
            soon();
            assert_eq!(net.call("notes", "add", &["x"]), json!(1));
            assert_eq!(net.call("notes", "count", &[]), json!(expected), "each call was done once");
        }
        // What was remembered may be wrong.
        std::fs::remove_dir_all(net.dir().join("known")).expect("something was remembered");
        soon();
        let files: Vec<_> = std::fs::read_dir(net.dir().join("known")).expect("a folder").flatten().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        std::fs::write(files[0].path(), b"garbage").expect("it can be written");
        soon();
    }
}

/// How many streams the vat knows, on the host that knows most.
fn streams(net: &TestNet) -> usize {
    net.replicas("notes").iter().map(|(_, status)| status.streams.len()).max().unwrap_or(0)
}

#[test]
fn clients_that_ended_leave_nothing_and_many_at_once_are_all_answered() {
    let ports = [free_port(), free_port(), free_port()];
    let net = testnet(&[("a", ports[0], ports[0]), ("b", ports[1], ports[1]), ("c", ports[2], ports[2])], 2);
    for number in 0..10 {
        assert_eq!(net.call("notes", "same", &[&number.to_string()]), json!(number));
    }
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let mut command = net.command(&["call", "--timeout", "240", "notes", "add", "x"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    for call in calls {
        let output = call.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(net.call("notes", "count", &[]), json!(40));
    // A farewell that is lost on the way leaves its client until its time is over: of fifty calls that may happen to a few.
    let left = net.wait("the clients to be forgotten", || Some(streams(&net)).filter(|left| *left <= 5));
    // Nor does a checkpoint or a restart bring one back, or a call that was made twice.
    net.vat(&["testnet", "restart", "b"]).ok();
    net.leader("notes");
    assert_eq!(net.call("notes", "count", &[]), json!(40));
    net.wait("the clients to be forgotten", || (streams(&net) <= left + 1).then_some(()));
}

#[test]
fn arguments_come_from_files_and_standard_input_and_numbers_arrive_as_they_were_written() {
    let port = free_port();
    let net = testnet(&[("alpha", port, port)], 1);
    let large = "x".repeat(400_000);
    net.file("large.txt", &format!("{large}\n"));
    net.file("value.json", "{\"amount\": 10, \"to\": [1, 2.5]}\n");
    assert_eq!(net.call("notes", "add", &["@large.txt"]), json!(400_000));
    assert_eq!(net.call("notes", "same", &["@value.json"]), json!({ "amount": 10, "to": [1, 2.5] }));
    assert_eq!(net.call("notes", "same", &["@@file"]), json!("@file"));
    let mut piped = net.command(&["call", "notes", "same", "@-"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(b"from a pipe\n").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value, json!("from a pipe"));

    assert_eq!(net.call("notes", "same", &["-0"]), json!({ "@number": "-0" }));
    assert_eq!(net.call("notes", "same", &["9007199254740992"]), json!(9_007_199_254_740_992_u64));
    for (written, shown) in [("1.2345678901234568e17", "123456789012345680\n"), ("[1e21,2.5e-7]", "[1e+21,2.5e-7]\n")] {
        assert_eq!(net.vat(&["call", "notes", "same", written]).ok().stdout, shown);
    }
    let before = net.call("notes", "count", &[]);
    for (wrong, written) in [
        ("12345678901234567890", "{\"@bigint\":\"12345678901234567890\"}"),
        ("1e400", "\"1e400\""),
        ("[1,{\"x\":1e400}]", "1e400"),
        ("NaN", "{\"@number\":\"NaN\"}"),
        ("{\"a\":1,\"a\":2}", "twice"),
        ("@nosuch.txt", "@@nosuch.txt"),
    ] {
        let ran = net.vat(&["call", "notes", "add", wrong]);
        assert!(ran.code == 2 && ran.stderr.contains(written), "{wrong}: {} {}", ran.code, ran.stderr);
    }
    assert_eq!(net.call("notes", "count", &[]), before, "nothing was sent");
}

#[test]
fn a_call_says_at_once_why_it_can_never_be_answered() {
    let port = free_port();
    let net = testnet(&[("alpha", port, port)], 1);
    // No code yet, code that does not start, and code at last.
    let made = net.vat(&["create", "empty", "--on", "alpha", "--json"]).ok().stdout;
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let target = format!("vat://{}/root", made["vat"].as_str().expect("an id"));
    let call = |target: &str| net.vat(&["call", "--timeout", "600", target, "count"]);
    let ran = call(&target);
    assert!(ran.code == 1 && ran.stderr.contains("no code yet"), "{} {}", ran.code, ran.stderr);
    net.file("broken.js", "export default () => { throw new Error('out of doubloons'); };");
    assert_eq!(net.vat(&["install", "empty", "broken.js"]).code, 2);
    let ran = call(&target);
    assert!(ran.code == 1 && ran.stderr.contains("out of doubloons"), "{} {}", ran.code, ran.stderr);
    net.vat(&["install", "empty", "notes.js"]).ok();
    assert_eq!(net.call("empty", "count", &[]), json!(0));
    // Nobody is there: nothing was sent, which is not the same as no answer.
    net.vat(&["testnet", "down"]).ok();
    let ran = call("notes");
    assert!(ran.code == 7 && ran.stderr.contains("nothing was sent"), "{} {}", ran.code, ran.stderr);
}
