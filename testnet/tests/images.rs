//! Vats of several engine images on one host: an image in a home, one that is fetched from members, and what comes of damaged files.
//!
//! The second image is the program's own with a section of no effect at its end: equal in what it does, another one by its hash.

mod support;

use quorate_engine::{Hash, image::IMAGE_WASM};
use quorate_testnet::process::TestNet;
use serde_json::json;
use std::{fs, process::Command};
use support::{FOUR_HOSTS, counter_net, sturdyref};

/// A custom section of WebAssembly, which no engine looks at: id 0, its size, the size of its name, the name.
const SECTION: &[u8] = b"\x00\x05\x04twin";

/// Puts the second image into a file; returns the file's path and the image's hash.
fn twin(net: &TestNet) -> (String, String) {
    let mut wasm = IMAGE_WASM.to_vec();
    wasm.extend_from_slice(SECTION);
    let file = net.path("twin.wasm");
    fs::write(&file, &wasm).expect("writable");
    (file.to_str().expect("text").to_owned(), Hash::of_parts(&[&wasm]).to_string())
}

fn home(net: &TestNet, host: &str) -> String {
    net.dir().join("hosts").join(host).to_str().expect("text").to_owned()
}

fn image_of(net: &TestNet, host: &str, vat: &str) -> Option<String> {
    let replicas = net.replicas(vat);
    replicas.into_iter().find(|(name, _)| name == host).map(|(_, status)| status.image)
}

#[test]
fn a_host_runs_vats_of_two_images_and_a_newcomer_fetches_the_one_that_it_lacks() {
    let (net, config) = counter_net(FOUR_HOSTS);
    net.up(&config, &[]).ok();
    let own = quorate_engine::image::image_hash().to_string();
    let (file, twin) = twin(&net);

    // Nobody has it yet.
    let code = net.path("counter.js");
    let code = code.to_str().expect("text");
    let create =
        ["create", "older", "--on", "alpha,beta,gamma", "--threshold", "2", "--source", code, "--image", &twin];
    let refused = net.vat(&create);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for part in ["Q-N003", &twin, &own, "vat image add"] {
        assert!(refused.stderr.contains(part), "no {part} in {}", refused.stderr);
    }

    // What is no image is not kept.
    let alpha = home(&net, "alpha");
    for wrong in [code, "nosuch.wasm"] {
        let refused = net.vat(&["image", "add", wrong, "--home", &alpha]);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{wrong}: {}", refused.stderr);
    }
    assert_eq!(net.vat(&["image", "add", &file, "--home", &alpha]).ok().stdout.trim(), twin);
    let listed: serde_json::Value =
        serde_json::from_str(&net.vat(&["image", "list", "--home", &alpha, "--json"]).ok().stdout).expect("JSON");
    assert_eq!(listed, json!({ "images": [{ "image": own, "own": true }, { "image": twin, "own": false }] }));

    // One member has it; the others get it from that one.
    net.vat(&create).ok();
    assert_eq!(net.call("older", "increment", &["5"]), json!(5));
    assert_eq!(net.call("counter", "increment", &["2"]), json!(2));
    for host in ["alpha", "beta", "gamma"] {
        assert_eq!(image_of(&net, host, "older").as_deref(), Some(&*twin), "{host}");
        assert_eq!(image_of(&net, host, "counter").as_deref(), Some(&*own), "{host}");
    }

    // Messages between vats of both images.
    let code = net.file("asker.js", ASKER);
    let (older, counter) = (sturdyref(&net, "older"), sturdyref(&net, "counter"));
    let (older, counter) = (format!("older={older}"), format!("counter={counter}"));
    let code = code.to_str().expect("text");
    net.vat(&["create", "asker", "--on", "delta", "--source", code, "--arg", &older, "--arg", &counter]).ok();
    assert_eq!(net.call("asker", "both", &["1"]), json!([6, 3]));

    // A member that never had the image joins, and runs on without any other host's help after a restart.
    net.vat(&["member", "replace", "--vat", "older", "--out", "gamma", "--in", "delta"]).ok();
    assert_eq!(image_of(&net, "delta", "older").as_deref(), Some(&*twin));
    assert_eq!(net.call("older", "increment", &["1"]), json!(7));
    let kept = net.dir().join(format!("hosts/delta/images/{twin}.wasm"));
    let good = fs::read(&kept).expect("it was kept");
    net.vat(&["testnet", "restart", "delta"]).ok();
    net.wait("delta runs the older vat again", || image_of(&net, "delta", "older").filter(|image| *image == twin));

    // A damaged file is named, and is no reason to keep other vats down. Without the file, the host fetches it again.
    let mut damaged = good.clone();
    damaged[1_000] ^= 1;
    fs::write(&kept, &damaged).expect("writable");
    net.vat(&["testnet", "restart", "delta"]);
    let failure = net.wait("delta says what is wrong", || net.host("delta")?.failed_vats.get("older").cloned());
    assert!(failure.starts_with("Q-N010 ") && failure.contains(kept.to_str().expect("text")), "{failure}");
    assert_eq!(net.call("asker", "both", &["1"]), json!([8, 4]));
    // While those who have it hang, the host's other vats run.
    fs::remove_file(&kept).expect("it is there");
    let others: Vec<u32> = ["alpha", "beta", "gamma"].map(|host| net.host(host).expect("it runs").process).into();
    others.iter().for_each(|process| signal(*process, "-STOP"));
    net.vat(&["testnet", "restart", "delta"]);
    assert_eq!(net.call("asker", "here", &[]), json!("here"));
    let waits = net.wait("delta says what is missing", || net.host("delta")?.failed_vats.get("older").cloned());
    assert!(waits.contains(&twin), "{waits}");
    others.iter().for_each(|process| signal(*process, "-CONT"));
    net.wait("delta runs the older vat again", || image_of(&net, "delta", "older").filter(|image| *image == twin));
    assert_eq!(fs::read(&kept).expect("fetched"), good);
    net.wait("delta is where the others are", || {
        let replicas = net.replicas("older");
        let blocks: Vec<u64> =
            replicas.iter().filter(|(host, _)| host != "gamma").map(|(_, status)| status.applied_block).collect();
        (blocks.len() == 3 && blocks.iter().all(|block| *block == blocks[0])).then_some(())
    });
}

/// Stops a process as it is, or lets it go on.
fn signal(process: u32, signal: &str) {
    let status = Command::new("kill").args([signal, &process.to_string()]).status().expect("kill runs");
    assert!(status.success());
}

/// Asks both counters.
const ASKER: &str = "
import { E, Far } from '@endo/far';
export default argv => Far('asker', {
  here: () => 'here',
  both: by => Promise.all([E(argv.older).increment(by), E(argv.counter).increment(by)]),
});
";
