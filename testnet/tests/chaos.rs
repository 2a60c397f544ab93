//! `make chaos`, briefly: some faults happen to real hosts, in namespaces where the system allows them, and nothing is lost or doubled.

use quorate_testnet::process::{built, stand_in};
use std::process::Command;

/// What fits into half a minute; the long run has all kinds.
const KINDS: [&str; 4] = ["KillLeader", "HaltLeader", "CutOff", "KillAll"];
const SECONDS: &str = "12";

#[test]
fn nothing_is_lost_or_doubled_under_faults() {
    let mut chaos = Command::new(built("examples/chaos"));
    let ran = chaos.args([SECONDS, "7"]).args(KINDS).env("VAT", stand_in()).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    println!("{said}");
    assert!(ran.status.success() && said.contains("nothing doubled"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}
