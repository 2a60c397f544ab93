//! What makes two configs the same testnet.
//!
//! Invariant: whatever changes what a host, a vat or its code would be changes the digest; comments, blank lines, the order of the
//! sections, and where the files lie do not.

use crate::testnet::{Argument, TestnetConfig, VatLimits};
use quorate_engine::abi::{self, Bundle};
use quorate_protocol::disk::DiskLimits;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// SHA-256 over hosts, vats and the vats' code, in hex.
pub fn digest(config: &TestnetConfig, bundles: &BTreeMap<String, Bundle>) -> String {
    let mut fields = Fields(Sha256::new());
    let mut hosts: Vec<_> = config.hosts.iter().collect();
    hosts.sort_by_key(|host| &host.name);
    fields.count(hosts.len());
    for host in hosts {
        fields.text(&host.name);
        fields.option(host.listen.as_deref());
        fields.option(host.announce.as_deref());
        fields.option(host.http.map(|http| http.to_string()).as_deref());
        fields.text(host.approve.as_str());
        // Configs of before there were limits are the same testnets as they were. No host has such a name.
        if host.disk != DiskLimits::default() {
            let DiskLimits { soft, hard, vat_quota } = host.disk;
            fields.text("limits of the disk");
            let limits = [soft, hard, vat_quota];
            limits.iter().for_each(|limit| fields.option(limit.map(|limit| limit.to_string()).as_deref()));
        }
        if let Some(archive) = &host.archive {
            fields.text("an archive");
            fields.text(&archive.folder.to_string_lossy());
            fields.text(&archive.bytes.to_string());
            fields.option(archive.blocks.map(|blocks| blocks.to_string()).as_deref());
        }
        if let Some(gateway) = &host.gateway {
            fields.text("a gateway");
            fields.text(&gateway.listen.to_string());
            fields.list(&gateway.origins);
            if !gateway.proxies.is_empty() {
                fields.text("proxies");
                fields.list(&gateway.proxies.iter().map(ToString::to_string).collect::<Vec<_>>());
            }
        }
    }
    let mut vats: Vec<_> = config.vats.iter().collect();
    vats.sort_by_key(|vat| &vat.name);
    fields.count(vats.len());
    for vat in vats {
        fields.text(&vat.name);
        fields.list(&vat.hosts);
        fields.count(vat.threshold.into());
        fields.count(vat.argv.len());
        for (name, value) in &vat.argv {
            fields.text(name);
            fields.argument(value);
        }
        fields.list(&vat.endowments);
        let VatLimits { fuel_per_delivery, fuel_per_turn, fuel_per_block, memory_bytes, checkpoint_deliveries } =
            vat.limits;
        let limits = [fuel_per_delivery, fuel_per_turn, fuel_per_block, memory_bytes, checkpoint_deliveries];
        limits.iter().for_each(|limit| fields.option(limit.map(|limit| limit.to_string()).as_deref()));
        fields.bytes(&bundles.get(&vat.name).map(abi::encode).unwrap_or_default());
    }
    hex::encode(fields.0.finalize())
}

/// Hashes fields one after the other, so that no two lists of fields are the same bytes.
struct Fields(Sha256);

impl Fields {
    fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn option(&mut self, text: Option<&str>) {
        self.count(text.is_some().into());
        self.text(text.unwrap_or_default());
    }

    fn list(&mut self, texts: &[String]) {
        self.count(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    fn argument(&mut self, argument: &Argument) {
        match argument {
            Argument::Data(value) => {
                self.text("data");
                self.bytes(&value.encode());
            }
            Argument::Vat(name) => {
                self.text("vat");
                self.text(name);
            }
            // With its seed, which `Debug` would leave out.
            Argument::Sturdyref(sturdyref) => {
                self.text("sturdyref");
                self.text(&sturdyref.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Plan;
    use std::{fs, path::Path};

    fn config() -> String {
        // All but the last byte of a vat's id, and of a seed.
        let most = "07".repeat(31);
        format!(
            "[[host]]\nname = \"h1\"\n[[host]]\nname = \"h2\"\n
[[vat]]\nname = \"one\"\nhosts = [\"h1\", \"h2\"]\nthreshold = 2\nsource = \"one.js\"
[vat.argv]\nwords = {{ file = \"words.txt\" }}\npeer = {{ sturdyref = \"vat://{most}07/root#{most}01\" }}
[[vat]]\nname = \"two\"\nhosts = [\"h1\"]\nsource = \"one.js\"\n[vat.argv]\none = {{ vat = \"one\" }}\n"
        )
    }

    fn digest_in(folder: &Path, config: &str) -> String {
        fs::create_dir_all(folder).expect("a folder");
        let file = folder.join("testnet.toml");
        for (name, text) in [("testnet.toml", config), ("one.js", "export default () => {};"), ("words.txt", "so many")]
        {
            fs::write(folder.join(name), text).expect("writable");
        }
        let config = TestnetConfig::load(&file).unwrap_or_else(|error| panic!("{error}"));
        Plan::new(config).expect("good code").digest
    }

    #[test]
    fn only_what_a_testnet_is_made_from_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let (here, config) = (folder.path().join("here"), config());
        let digest = digest_in(&here, &config);
        assert_eq!(digest_in(&folder.path().join("there"), &config), digest, "wherever it lies");
        let (hosts, vats) = config.split_at(config.find("[[vat]]").expect("vats"));
        for same in
            [format!("# A remark.\n\n{config}"), format!("{vats}{hosts}"), config.replace("name = ", "name   = ")]
        {
            assert_eq!(digest_in(&here, &same), digest, "{same}");
        }
        for (from, to) in [
            ("name = \"h2\"\n", "name = \"h2\"\nlisten = \"127.0.0.1:7001\"\n"),
            ("name = \"h2\"\n", "name = \"h2\"\nhttp = \"127.0.0.1:7001\"\n"),
            ("[\"h1\", \"h2\"]", "[\"h2\", \"h1\"]"),
            ("words =", "letters ="),
            ("{ file = \"words.txt\" }", "\"so few\""),
            ("{ vat = \"one\" }", "\"one\""),
            ("07/root#", "08/root#"),
            ("name = \"h2\"\n", "name = \"h2\"\narchive = \"archive\"\n"),
            // The secret part alone.
            ("01\" }", "02\" }"),
            ("[[vat]]\nname = \"two\"\nhosts = [\"h1\"]", "[[vat]]\nname = \"two\"\nhosts = [\"h2\"]"),
            ("[[vat]]\nname = \"two\"", "[limits]\nmemory_mb = 64\n[[vat]]\nname = \"two\""),
        ] {
            assert!(config.contains(from), "{from}");
            assert_ne!(digest_in(&here, &config.replacen(from, to, 1)), digest, "{from} -> {to}");
        }
        let listening = config.replacen("name = \"h2\"\n", "name = \"h2\"\nlisten = \"127.0.0.1:7001\"\n", 1);
        let announcing = listening.replacen("listen = ", "announce = \"192.0.2.7:7001\"\nlisten = ", 1);
        assert_ne!(digest_in(&here, &announcing), digest_in(&here, &listening), "what a host announces counts");
        fs::write(here.join("one.js"), "export default () => 1;").expect("writable");
        let file = here.join("testnet.toml");
        fs::write(&file, &config).expect("writable");
        let changed = Plan::new(TestnetConfig::load(&file).expect("good")).expect("good code");
        assert_ne!(changed.digest, digest, "code counts");
    }
}
