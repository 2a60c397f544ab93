//! A host as a service: what it tells systemd, and the files that packages bring for it.

use quorate_testnet::process::{TestNet, own_file, stand_in};
use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

/// A host's process; it ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// The next message of a service. Each is a datagram of lines.
fn heard(manager: &UnixDatagram) -> String {
    let mut message = [0; 4_096];
    let length = manager.recv(&mut message).expect("the host says something in time");
    String::from_utf8_lossy(&message[..length]).into_owned()
}

#[test]
fn a_host_tells_its_service_manager_when_it_serves_that_it_lives_and_that_it_stops() {
    let net = TestNet::new(stand_in());
    let (home, socket) = (net.path("home"), net.path("notify"));
    let init =
        ["node", "init", "--home", text(&home), "--name", "alpha", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    net.vat(&init).ok();
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(240))).expect("a socket waits");
    let mut run = net.command(&["node", "run", "--home", text(&home)]);
    // A watchdog of two seconds: it is fed at half of them.
    run.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "2000000");
    run.stderr(fs::File::create(net.path("host.log")).expect("writable"));
    let mut service = Service(run.spawn().expect("it starts"));
    let first = heard(&manager);
    assert!(first.contains("STATUS=loading"), "{first}");
    let ready = loop {
        let message = heard(&manager);
        if message.contains("READY=1") {
            break message;
        }
        assert!(message == "WATCHDOG=1" || message == "WATCHDOG=1\n", "{message}");
    };
    assert!(ready.contains("STATUS=alpha serves"), "{ready}");
    // Whoever was told so asks at once.
    let status = net.vat(&["status", "--home", text(&home)]);
    assert_eq!(status.code, 0, "{}{}", status.stdout, status.stderr);
    for _ in 0..2 {
        assert_eq!(heard(&manager).trim(), "WATCHDOG=1");
    }
    let process = service.0.id().to_string();
    assert!(Command::new("kill").arg(&process).status().expect("there is kill").success());
    let last = loop {
        let message = heard(&manager);
        if message.trim() != "WATCHDOG=1" {
            break message;
        }
    };
    assert!(last.contains("STOPPING=1"), "{last}");
    let code = net.wait("the host's end", || service.0.try_wait().expect("it is ours")).code();
    assert_eq!(code, Some(0));
}

#[test]
fn a_host_whose_manager_is_gone_runs_all_the_same() {
    let net = TestNet::new(stand_in());
    let home = net.path("home");
    let init =
        ["node", "init", "--home", text(&home), "--name", "alpha", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    net.vat(&init).ok();
    let mut run = net.command(&["node", "run", "--home", text(&home)]);
    run.env("NOTIFY_SOCKET", net.path("nobody"));
    run.stderr(fs::File::create(net.path("host.log")).expect("writable"));
    let _service = Service(run.spawn().expect("it starts"));
    net.wait("the host", || (net.vat(&["status", "--home", text(&home)]).code == 0).then_some(()));
}

/// The service file as a package brings it, for a `vat` at this path.
fn unit(vat: &str) -> String {
    let text = fs::read_to_string(own_file("deploy/systemd/quorate.service")).expect("the service file");
    text.replace("BINDIR/vat", vat)
}

#[test]
fn the_service_file_is_understood_and_lets_the_host_do_little() {
    let file_text = unit("/usr/bin/vat");
    for wanted in [
        "Type=notify",
        "ExecStart=/usr/bin/vat node run --home /var/lib/quorate",
        // What `docs/usage.md` says of exit codes.
        "RestartPreventExitStatus=2 6",
        "Environment=QUORATE_CACHE=/var/cache/quorate",
    ] {
        assert!(file_text.lines().any(|line| line == wanted), "no {wanted}");
    }
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("there is no systemd-analyze here; the file is not looked at any closer");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("quorate.service");
    // One that is there, and no page of a manual that is not.
    let here = unit(text(&stand_in()))
        .lines()
        .filter(|line| !line.starts_with("Documentation="))
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(&file, here).expect("writable");
    let verify = Command::new("systemd-analyze").arg("verify").arg(&file).output().expect("it runs");
    let said = String::from_utf8_lossy(&verify.stderr);
    let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("quorate.service")).collect();
    assert!(of_ours.is_empty(), "{said}");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", "--threshold=30"]).arg(&file);
    let security = security.output().expect("it runs");
    let said = [security.stdout, security.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    // Older versions can't look at a file.
    let is_known = !said.contains("unrecognized option");
    assert!(!is_known || security.status.success(), "exposed by more than 3.0: {said}");
}

#[test]
fn the_scripts_of_packages_are_shell() {
    let bash = ["package", "check"];
    let sh = ["debian/postinst", "debian/prerm", "debian/postrm"];
    for (shell, name) in bash.into_iter().map(|name| ("bash", name)).chain(sh.into_iter().map(|name| ("sh", name))) {
        let checked = Command::new(shell).arg("-n").arg(own_file(&format!("deploy/{name}"))).output().expect("a shell");
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}
