//! Vats on hosts that are run by hand, and testnets.

use super::*;

#[test]
fn vats_are_made_called_and_looked_at_on_hosts_run_by_hand() {
    let bench = Bench::new();
    bench.file("counter.js", COUNTER);
    let ports = free_ports::<4>();
    let mut keys = Vec::new();
    for (name, index) in [("alpha", 0), ("beta", 1)] {
        let listen = format!("/ip4/127.0.0.1/tcp/{}", ports[2 * index]);
        let http = format!("127.0.0.1:{}", ports[2 * index + 1]);
        let made = bench
            .vat(&["node", "init", "--home", name, "--name", name, "--listen", &listen, "--http", &http, "--json"]);
        let made = made.ok().json();
        assert_eq!(made["name"], json!(name));
        keys.push(made["key"].as_str().expect("a key").to_owned());
    }
    let again = bench.vat(&["node", "init", "--home", "alpha", "--name", "alpha"]);
    assert_eq!(again.code, 2, "{}", again.stderr);
    let down = bench.vat(&["create", "counter", "--on", "./alpha"]);
    assert_eq!(down.code, 3, "{}", down.stderr);
    assert!(down.stderr.contains("vat node run --home"), "{}", down.stderr);
    bench.run_host("alpha");
    bench.run_host("beta");

    // Created with code, on two hosts.
    let args = ["create", "counter", "--on", "./alpha,./beta", "--source", "counter.js", "--arg", "start=5"];
    let made = bench.vat(&args).ok();
    let sturdyref = made.stdout.trim().to_owned();
    assert!(sturdyref.starts_with("vat://") && sturdyref.contains("/root#"), "{sturdyref}");
    assert!(made.stderr.contains("2 of 2 sign"), "{}", made.stderr);
    let taken = bench.vat(&args);
    assert_eq!(taken.code, 2, "{}", taken.stderr);

    // Called, with nothing but the sturdyref and a host.
    let alpha = status_of(&bench, "alpha");
    let address = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", ports[0], peer_id(&keys[0]));
    let call = |args: &[&str]| bench.vat(&[&["call", &sturdyref], args, &["--at", &address]].concat());
    assert_eq!(wait("the first answer", || Some(call(&["increment", "2"]))).ok().json(), json!(7));
    assert_eq!(call(&["read"]).ok().stdout, "7\n");
    let by_key = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", ports[0], keys[0]);
    assert_eq!(bench.vat(&["call", &sturdyref, "read", "--at", &by_key]).ok().json(), json!(7));
    let nearly = call(&["echo", "{amount: 10}"]).ok();
    assert_eq!(nearly.json(), json!("{amount: 10}"));
    assert!(nearly.stderr.contains("is not JSON"), "{}", nearly.stderr);
    let reference = call(&["echo", r#"{"@slot":0}"#]);
    assert_eq!(reference.code, 2, "{}", reference.stderr);
    assert!(reference.stderr.contains("a reference in a result has a number only there"), "{}", reference.stderr);
    // Over what a message may have; the operating system takes no longer argument.
    let large = "x".repeat(120_000);
    let refused = call(&[&["echo"][..], &[large.as_str(); 5]].concat());
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let value = r#"{"list":[1,-2.5,"x",null,true],"empty":{}}"#;
    assert_eq!(call(&["echo", value]).ok().json(), serde_json::from_str::<Value>(value).expect("JSON"));
    assert_eq!(call(&["echo", "a bare string"]).ok().json(), json!("a bare string"));
    assert_eq!(call(&["increment", "-7"]).ok().json(), json!(0));
    let rejected = call(&["fail", "no luck"]);
    assert_eq!((rejected.code, rejected.stdout.as_str()), (1, ""));
    assert!(rejected.stderr.contains("rejected: RangeError: no luck"), "{}", rejected.stderr);
    let unknown = call(&["undo"]);
    assert_eq!(unknown.code, 1, "{}", unknown.stderr);
    let nowhere = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", free_ports::<1>()[0], peer_id(&keys[0]));
    // Where the hosts of a vat are is remembered, so this needs a vat that was never called.
    let never_called = format!("vat://{}/root#{}", "5e".repeat(32), "5c".repeat(32));
    let unreachable = bench.vat(&["call", &never_called, "read", "--at", &nowhere]);
    assert_eq!(unreachable.code, 7, "nothing was sent: {}", unreachable.stderr);
    let unasked = bench.vat(&["call", &never_called, "read"]);
    assert_eq!(unasked.code, 2, "{}", unasked.stderr);

    // Created first, given its code later; a start that fails can be mended.
    let homes = ["--home", "alpha", "--home", "beta"];
    let id = bench.vat(&[&["create", "late", "--on", "./beta", "--json"], &homes[..]].concat()).ok().json();
    assert_eq!(id["sturdyref"], Value::Null);
    let late = |args: &[&str]| bench.vat(&[args, &homes].concat());
    bench.file("broken.js", "export default () => { throw Error('half done'); };");
    let broken = late(&["install", "late", "broken.js"]);
    assert_eq!(broken.code, 2, "{}", broken.stderr);
    assert!(broken.stderr.contains("half done"), "{}", broken.stderr);
    let installed = late(&["install", "late", "counter.js", "--arg", "name=\"late\""]).ok();
    let sturdyref = installed.stdout.trim();
    let answer = bench.vat(&["call", sturdyref, "increment", "--at", &address]);
    assert_eq!(answer.ok().json(), json!(1), "alpha was told who carries it");
    let twice = late(&["install", "late", "counter.js"]);
    assert_eq!(twice.code, 2, "{}", twice.stderr);
    assert_eq!(late(&["install", "early", "counter.js"]).code, 2);

    // What can't work is refused before there is a vat.
    let exiting =
        late(&["create", "exiting", "--on", "./alpha,./beta", "--source", "counter.js", "--endowment", "exit"]);
    assert_eq!((exiting.code, exiting.stdout.as_str()), (2, ""), "{}", exiting.stderr);
    let unknown = late(&["status", "exiting"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (2, ""), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("there are: counter, late"), "{}", unknown.stderr);

    // Looked at.
    // A slow machine may hold an election at any time.
    let status =
        wait("a status without complaints", || Some(late(&["status", "--json"])).filter(|ran| ran.code == 0)).json();
    let names: Vec<_> =
        status["replicas"].as_array().expect("replicas").iter().map(|row| row["status"]["name"].clone()).collect();
    assert_eq!(names, [json!("counter"), json!("counter"), json!("late")]);
    assert_eq!(alpha["vats"][0]["name"], json!("counter"));
    let table = late(&["status", "counter"]).ok().stdout;
    assert!(table.contains("2 of 2") && !table.contains("late"), "{table}");
    let console = bench.vat(&["logs", "late", "--home", "beta"]).ok();
    assert!(console.stdout.contains("late begins at 0"), "{}", console.stdout);
    let console = bench.vat(&["logs", "counter", "--home", "alpha", "--json"]).ok().stdout;
    let lines: Vec<Value> = console.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(
        (&lines[0]["vat"], &lines[0]["level"], &lines[0]["text"]),
        (&json!("counter"), &json!("info"), &json!("counter begins at 5"))
    );
    // The call that was rejected is told with the author's line, here alone.
    let failed = lines[1]["text"].as_str().expect("a text");
    assert!(failed.starts_with("fail failed: RangeError: no luck (at counter.js:") && lines.len() == 2, "{failed}");

    // Code that does not start is no success, and the vat's id commits to it.
    let broken = late(&["create", "broken", "--on", "./beta", "--source", "broken.js"]);
    assert_eq!((broken.code, broken.stdout.as_str()), (2, ""), "{}", broken.stderr);
    assert!(broken.stderr.contains("half done") && broken.stderr.contains("another vat"), "{}", broken.stderr);
    assert_eq!(late(&["status", "broken"]).code, 1);
    assert_eq!(late(&["install", "broken", "counter.js"]).code, 2, "its id commits to other code");

    // Stopped as a service is; a vat of two can't answer without its other member.
    assert_eq!(bench.stop_host(1), Some(0));
    assert_eq!(late(&["status", "--json"]).json()["hosts_down"], json!(["beta"]));
    let silent = bench.vat(&["call", made.stdout.trim(), "read", "--at", &address, "--timeout", "15"]);
    assert_eq!(silent.code, 3, "{}", silent.stderr);
    assert_eq!(bench.stop_host(0), Some(0));
    // What lies in the homes tells a vat that is down from one that never was.
    assert_eq!((late(&["status"]).code, late(&["status", "late"]).code, late(&["status", "nosuch"]).code), (1, 1, 2));
}

/// What a host says of itself at its HTTP interface, as a script would read it.
fn status_of(bench: &Bench, home: &str) -> Value {
    let status = bench.vat(&["status", "--json", "--home", home]).json();
    let replicas = status["replicas"].as_array().expect("replicas");
    json!({ "vats": replicas.iter().map(|row| row["status"].clone()).collect::<Vec<_>>() })
}

/// A host's key as libp2p writes it.
fn peer_id(key: &str) -> String {
    use quorate_net::PeerName as _;
    key.parse::<quorate_net::HostId>().expect("a key").peer_id().to_string()
}

#[test]
fn a_testnet_can_be_laid_out_and_its_homes_run_by_hand() {
    let bench = Bench::new();
    bench.file("counter.js", COUNTER);
    bench.file(
        "testnet.toml",
        "[[host]]\nname = \"h1\"\n[[host]]\nname = \"h2\"\n[[host]]\nname = \"h3\"\n
[[vat]]\nname = \"counter\"\nhosts = [\"h1\", \"h2\", \"h3\"]\nthreshold = 2\nsource = \"counter.js\"\n[vat.argv]\nstart = 10\n",
    );
    let made = bench.vat(&["testnet", "init", "testnet.toml", "--dir", "net"]).ok();
    assert_eq!(made.stdout.trim(), "net");
    let dir = bench.path("net");
    for part in ["testnet.json", "prometheus.yml", "refs/counter.ref", "hosts/h1/FORMAT", "hosts/h3/host.toml"] {
        assert!(dir.join(part).exists(), "{part}");
    }
    use std::os::unix::fs::PermissionsExt;
    for secret in ["refs/counter.ref", "hosts/h1/host.key"] {
        let mode = fs::metadata(dir.join(secret)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{secret} is for its owner only");
    }
    let down = bench.vat(&["testnet", "status", "--dir", "net", "--json"]);
    assert_eq!(down.code, 1);
    assert_eq!(down.json()[2], json!({ "host": "h3", "state": "down" }));

    // Anywhere: a home does not care where it lies.
    fs::rename(dir.join("hosts/h1"), bench.path("moved")).expect("it can be moved");
    bench.run_host("moved");
    bench.run_host("net/hosts/h2");
    let homes = ["--home", "moved", "--home", "net/hosts/h2"];
    wait("the code", || {
        let status = bench.vat(&[&["status", "--json"], &homes[..]].concat()).json();
        let rows = status["replicas"].as_array().expect("replicas").clone();
        (rows.len() == 2 && rows.iter().all(|row| row["status"]["installed"] == json!(true))).then_some(())
    });
    // The testnet's own commands find it where it was.
    fs::create_dir_all(dir.join("hosts")).expect("it is there");
    std::os::unix::fs::symlink(bench.path("moved"), dir.join("hosts/h1")).expect("a link");
    assert_eq!(bench.vat(&["call", "counter", "increment", "--dir", "net"]).ok().json(), json!(11));

    // The same config again is the same testnet; another one is refused.
    assert!(bench.vat(&["testnet", "init", "testnet.toml", "--dir", "net"]).ok().stderr.is_empty());
    bench.file("counter.js", &COUNTER.replace("start = 0", "start = 1"));
    let changed = bench.vat(&["testnet", "init", "testnet.toml", "--dir", "net"]);
    assert_eq!(changed.code, 2, "{}", changed.stderr);
    assert!(changed.stderr.contains("choose another directory"), "{}", changed.stderr);
}

#[test]
fn a_testnet_goes_up_and_down() {
    let bench = Bench::new();
    bench.file("counter.js", COUNTER);
    bench.file(
        "testnet.toml",
        "[[host]]\nname = \"h1\"\n[[host]]\nname = \"h2\"\n
[[vat]]\nname = \"counter\"\nhosts = [\"h1\"]\nsource = \"counter.js\"\n",
    );
    let up = bench.vat(&["testnet", "up", "testnet.toml", "--dir", "net", "--detach"]).ok();
    assert_eq!(up.stdout, "");
    assert!(up.stderr.contains("vat testnet down --dir net"), "{}", up.stderr);
    let dir = ["--dir", "net"];
    let vat = |args: &[&str]| bench.vat(&[args, &dir].concat());
    assert_eq!(vat(&["call", "counter", "increment", "3"]).ok().stdout, "3\n");
    let wrong = vat(&["call", "conter", "read"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("counter"), "{}", wrong.stderr);
    let (reference, aside) = (bench.path("net/refs/counter.ref"), bench.path("net/refs/aside"));
    fs::rename(&reference, &aside).expect("it is there");
    let lost = vat(&["call", "counter", "read"]);
    assert_eq!(lost.code, 2, "{}", lost.stderr);
    assert!(lost.stderr.contains("net/refs/counter.ref"), "{}", lost.stderr);
    fs::rename(&aside, &reference).expect("it is there");
    assert_eq!(vat(&["logs", "counter"]).ok().stdout, "counter begins at 0\n");
    assert!(vat(&["logs", "h1"]).ok().stdout.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert_eq!(vat(&["logs", "h9"]).code, 2);
    let hosts = vat(&["testnet", "status", "--json"]).ok().json();
    assert_eq!(hosts[1]["status"]["vats"], json!([]));
    let port = hosts[0]["status"]["http"].as_str().expect("an address").to_owned();
    assert!(fs::read_to_string(bench.path("net/prometheus-hosts.json")).expect("it is there").contains(&port));

    // On running hosts, by their names in the testnet.
    vat(&["create", "purse", "--on", "h1,h2", "--source", "counter.js", "--arg", "name=purse"]).ok();
    assert_eq!(vat(&["call", "purse", "increment"]).ok().stdout, "1\n");
    assert_eq!(vat(&["logs", "--json"]).ok().stdout.lines().count(), 2, "a line of each vat");
    // A name is one vat's, or its sturdyref would be overwritten.
    let sturdyref = fs::read_to_string(bench.path("net/refs/counter.ref")).expect("it is there");
    for (name, host) in [("counter", "h2"), ("purse", "h1"), ("h1", "h2")] {
        let taken = vat(&["create", name, "--on", host, "--source", "counter.js"]);
        assert_eq!((taken.code, taken.stdout.as_str()), (2, ""), "{name}: {}", taken.stderr);
        assert!(taken.stderr.contains("another name"), "{}", taken.stderr);
    }
    assert_eq!(fs::read_to_string(bench.path("net/refs/counter.ref")).expect("it is there"), sturdyref);
    assert!(!bench.path("net/refs/purse.ref.pending").exists());
    // An install of which nothing was heard is repeated with the same bearer: whichever takes effect, it is the right one.
    vat(&["create", "later", "--on", "h1"]).ok();
    let vats = vat(&["status", "later", "--json"]).ok().json();
    let id = vats["replicas"][0]["status"]["vat"].as_str().expect("an id").to_owned();
    let bearer = format!("vat://{id}/root#{}", "5c".repeat(32));
    bench.file("net/refs/later.ref.pending", &bearer);
    assert_eq!(vat(&["install", "later", "counter.js"]).ok().stdout.trim(), bearer);
    assert_eq!(fs::read_to_string(bench.path("net/refs/later.ref")).expect("it is there").trim(), bearer);
    assert_eq!(vat(&["call", "later", "increment"]).ok().stdout, "1\n");
    assert_eq!(vat(&["testnet", "kill", "h9"]).code, 2);
    assert_eq!(vat(&["create", "more", "--on", "h9"]).code, 2);
    vat(&["testnet", "kill", "h2"]).ok();
    assert_eq!(vat(&["testnet", "status"]).code, 1);
    let status = vat(&["status", "counter", "--json"]).ok().json();
    assert_eq!(status["hosts_down"], json!(["h2"]));
    vat(&["testnet", "restart", "h2"]).ok();
    assert_eq!(vat(&["call", "purse", "increment"]).ok().stdout, "2\n");
    assert!(vat(&["testnet", "down"]).ok().stderr.contains("stopped 2 hosts"));
    assert!(vat(&["testnet", "down"]).ok().stderr.contains("stopped 0 hosts"));
    let gone = vat(&["call", "counter", "read"]);
    assert_eq!(gone.code, 7, "nothing was sent: {}", gone.stderr);
    assert_eq!((vat(&["status"]).code, vat(&["status", "purse"]).code, vat(&["status", "nosuch"]).code), (1, 1, 2));

    // Up again is where it was.
    vat(&["testnet", "up", "testnet.toml", "--detach"]).ok();
    assert_eq!(vat(&["call", "counter", "read"]).ok().stdout, "3\n");
}

#[test]
fn a_home_whose_path_is_too_long_for_a_socket_works() {
    let bench = Bench::new();
    let home = "h".repeat(120);
    let ports = free_ports::<2>();
    let listen = format!("/ip4/127.0.0.1/tcp/{}", ports[0]);
    let http = format!("127.0.0.1:{}", ports[1]);
    bench.vat(&["node", "init", "--home", &home, "--name", "far-away", "--listen", &listen, "--http", &http]).ok();
    bench.run_host(&home);
    assert!(bench.path(&home).join("data").exists());
    assert_eq!(bench.stop_host(0), Some(0));
}
