//! Homes that earlier versions have left are opened by this one, and their vats go on: the promise of a rolling upgrade. Each file of
//! `homes/` is a testnet that was stopped; `homes/store` makes one with the program of a release.

use quorate_engine::image::image_hash;
use quorate_testnet::process::{TestNet, own_file, stand_in};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];

/// The archives, the oldest first.
fn archives() -> Vec<PathBuf> {
    let entries = fs::read_dir(own_file("tests/homes")).expect("the folder of stored homes");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut archives: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "zst")).collect();
    archives.sort();
    archives
}

/// Unpacks an archive where a test's testnet is.
fn unpack(archive: &Path) -> TestNet {
    let net = TestNet::new(stand_in());
    let packed = fs::File::open(archive).expect("the archive");
    let tar = net.path("homes.tar");
    let mut unpacked = fs::File::create(&tar).expect("writable");
    zstd::stream::copy_decode(packed, &mut unpacked).expect("it is whole");
    let folder = tar.parent().expect("it is in a folder");
    let done = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(folder).status().expect("there is tar");
    assert!(done.success(), "{}", archive.display());
    net
}

/// The engine image of the stored vats.
fn image(net: &TestNet) -> String {
    let list: Value = serde_json::from_str(&net.vat(&["list", "--json"]).ok().stdout).expect("JSON");
    let images: Vec<&str> =
        list["vats"].as_array().expect("vats").iter().filter_map(|vat| vat["image"].as_str()).collect();
    assert_eq!(images.len(), 2, "{list}");
    images[0].to_owned()
}

#[test]
fn homes_of_earlier_versions_are_opened_and_their_vats_go_on_through_a_rolling_upgrade() {
    // The addresses of members are stored, too: one run at a time on this machine.
    let lock = fs::File::create(std::env::temp_dir().join("quorate-stored-homes.lock")).expect("a lock");
    lock.lock().expect("nobody holds it for ever");
    assert!(!archives().is_empty(), "the stored homes are gone");
    for archive in archives() {
        let net = unpack(&archive);
        let is_own_image = image(&net) == image_hash().to_string();
        for host in HOSTS {
            net.vat(&["testnet", "restart", host]).ok();
        }
        if !is_own_image {
            // The home is opened; the vat waits for an image that members would have, and says which.
            let status = net.vat(&["status"]);
            assert!(
                status.stdout.contains("Q-N003") || status.stdout.contains("engine image"),
                "{}: {}",
                archive.display(),
                status.stdout
            );
            continue;
        }
        net.leader("counter");
        assert_eq!(net.call("counter", "read", &[]), 6, "{}", archive.display());
        assert_eq!(net.call("alone", "increment", &[]), 8);
        let stored = fs::read_to_string(net.dir().join("stored.ref")).expect("a reference");
        let references = net.vat(&["ref", "list", "counter"]).ok().stdout;
        assert!(references.contains("stored") && stored.starts_with("vat://"), "{references}");
        let mut count = 6;
        for host in HOSTS {
            net.vat(&["testnet", "kill", host]).ok();
            count += 1;
            assert_eq!(net.call("counter", "increment", &[]), count, "without {host}");
            net.vat(&["testnet", "restart", host]).ok();
            net.wait("the host as a member", || {
                let replicas = net.replicas("counter");
                let newest = replicas.iter().map(|(_, status)| status.applied_block).max()?;
                let there = replicas.iter().find(|(name, _)| name == host)?;
                (there.1.fault.is_none() && there.1.leader.is_some() && there.1.applied_block == newest).then_some(())
            });
        }
        let status = net.vat(&["status"]);
        assert_eq!(status.code, 0, "{}{}", status.stdout, status.stderr);
    }
}
