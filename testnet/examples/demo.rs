//! `make demo`: a testnet at work, told as it happens. It ends with exit code 0 only if everything that it tells is true.
//!
//! With `KEEP=1` in the environment a testnet stays up afterwards, and the last lines say what to try with it and how to stop it.

use quorate_testnet::process::{Ran, TestNet, built, own_file};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

fn main() -> ExitCode {
    let binary = std::env::var_os("VAT").map_or_else(|| built("vat"), PathBuf::from);
    let started = Instant::now();
    let told = tell_quorum(&binary).and_then(|()| tell_counter(&binary));
    let seconds = started.elapsed().as_secs();
    let kept = told.and_then(|()| if is_kept() { keep(&binary).map(Some) } else { Ok(None) });
    match kept {
        Ok(None) => {
            println!("\nAll of this was true, in {seconds} seconds. Nothing is left running.");
            println!("`make demo KEEP=1` leaves a testnet to try it yourself.");
            ExitCode::SUCCESS
        }
        Ok(Some(to_try)) => {
            println!("\nAll of this was true, in {seconds} seconds. {to_try}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("\nThe demo stops here: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether a testnet is to stay up.
fn is_kept() -> bool {
    std::env::var("KEEP").is_ok_and(|keep| !matches!(keep.as_str(), "" | "0" | "no" | "false"))
}

/// Stands up the counter once more, whole, and leaves it. Returns what to say of it: commands that work as they are printed.
fn keep(binary: &Path) -> Result<String, String> {
    say("AND NOW YOU. The counter once more, on four hosts that stay up.");
    let net = TestNet::new(binary);
    up(&net, "counter")?;
    let dir = net.keep();
    let folder = dir.parent().unwrap_or(&dir);
    let vat = quoted(&std::path::absolute(binary).map_err(|error| error.to_string())?)?;
    let (net, folder) = (quoted(&dir)?, quoted(folder)?);
    Ok(format!(
        "A testnet stays up in {net}.\n\nTry:\n\n\
         {vat} call --dir {net} counter increment 5\n\
         {vat} status --dir {net}\n\
         {vat} member replace --dir {net} --vat counter --out gamma --in delta\n\n\
         Stop it, and remove what it left:\n\n\
         {vat} testnet down --dir {net} && rm -r {folder}"
    ))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or("the path of this checkout is not text")?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+".contains(letter);
    Ok(if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) })
}

fn say(text: &str) {
    println!("\n{text}\n");
}

/// Shows a command as a person would type it, and what it says: its notes as they come, for some of them take their time.
fn show(net: &TestNet, args: &[&str], shown: &str) -> Result<Ran, String> {
    println!("  $ vat {shown}");
    let told = |line: &str| println!("    {}", line.trim_end());
    let ran = net.vat_aloud(args, told);
    ran.stdout.lines().for_each(told);
    if ran.code == 0 { Ok(ran) } else { Err(format!("`vat {shown}` ended with exit code {}", ran.code)) }
}

fn run(net: &TestNet, args: &[&str]) -> Result<Ran, String> {
    show(net, args, &args.join(" "))
}

fn up(net: &TestNet, example: &str) -> Result<(), String> {
    let path = own_file(&format!("examples/{example}/testnet.toml"));
    let path = path.to_str().ok_or("the path of this checkout is not text")?;
    show(
        net,
        &["testnet", "up", path, "--detach"],
        &format!("testnet up testnet/examples/{example}/testnet.toml --detach"),
    )
    .map(drop)
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} should be {expected:?} and is {found:?}")) }
}

fn tell_quorum(binary: &Path) -> Result<(), String> {
    say("PART ONE. Three vats that need one another.\n\
         `one` runs on one host, `two` on three hosts of which any two may speak for it, `three` on three hosts that must all\n\
         agree. Seven processes with seven keys and seven databases. `one` greets `two`; `two` answers, greets `one`\n\
         and `three`; `three` passes the greeting on to `one`. No code in them knows how many machines it runs on.");
    let net = TestNet::new(binary);
    up(&net, "quorum")?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !net.console("one").contains("++ EVERYTHING WORKS") {
        if Instant::now() > deadline {
            return Err(format!("`one` did not hear from everybody:\n{}", net.last_words()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!();
    run(&net, &["logs"])?;
    say(
        "Each message was ordered by its vat's Raft log, executed by every replica, signed by the threshold of the sender's hosts,\n\
         and checked again by every replica of the receiver.",
    );
    run(&net, &["testnet", "down"])?;
    Ok(())
}

fn tell_counter(binary: &Path) -> Result<(), String> {
    say("PART TWO. A counter that three hosts keep and any two may speak for.");
    let net = TestNet::new(binary);
    up(&net, "counter")?;
    println!();
    let called = run(&net, &["call", "counter", "increment", "5"])?;
    expect("the count", &called.stdout.trim(), &"5")?;
    println!();
    run(&net, &["status"])?;

    let leader = net.leader("counter");
    say(&format!(
        "Now {leader}, which leads, loses its power (SIGKILL). The next call waits for an election, and loses nothing."
    ));
    run(&net, &["testnet", "kill", &leader])?;
    let called = run(&net, &["call", "counter", "increment"])?;
    expect("the count", &called.stdout.trim(), &"6")?;

    say(&format!(
        "{leader} is not coming back. `delta`, a host that has never seen this vat, takes its place: it fetches the state,\n\
                  checks it against what the others have signed, and signs from then on; {leader}'s key counts no more."
    ));
    run(&net, &["member", "replace", "--vat", "counter", "--out", &leader, "--in", "delta"])?;
    let called = run(&net, &["call", "counter", "increment"])?;
    expect("the count", &called.stdout.trim(), &"7")?;
    println!();
    run(&net, &["status"])?;
    let members: Vec<String> = net
        .replicas("counter")
        .into_iter()
        .find(|(host, _)| host == "delta")
        .map(|(_, status)| status.members.into_iter().map(|member| member.name).collect())
        .ok_or("delta does not carry the counter")?;
    expect("delta among the members", &members.contains(&"delta".to_owned()), &true)?;
    expect("the old member among the members", &members.contains(&leader), &false)?;

    say("What Prometheus reads of delta (a prometheus.yml for all hosts lies in the testnet's directory):");
    let page = net.metrics("delta");
    let wanted = [
        "quorate_raft_term{",
        "quorate_epoch{",
        "quorate_applied_block{",
        "quorate_certified_block{",
        "quorate_deliveries_total{",
        "quorate_heap_bytes{",
        "quorate_connected_peers",
        "quorate_build_info{",
    ];
    println!("  $ curl http://{}/metrics", net.http("delta"));
    for series in wanted {
        let line = page.lines().find(|line| line.starts_with(series)).ok_or(format!("the page has no {series}"))?;
        println!("    {line}");
    }
    println!();
    let read = run(&net, &["call", "counter", "read"])?;
    expect("the count in the end", &read.stdout.trim(), &"7")?;
    run(&net, &["testnet", "down"])?;
    Ok(())
}
