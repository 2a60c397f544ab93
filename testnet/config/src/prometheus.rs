//! What Prometheus needs to watch a testnet: its configuration, the hosts that it scrapes, and the alerts.

use crate::layout::{HostPlace, Layout, TestnetDir};
use serde_json::json;
use std::{fs, io, net::IpAddr};

/// The alerts for all hosts of Quorate.
const RULES: &str = include_str!("../../deploy/monitoring/quorate.rules.yml");

/// Writes the three files.
pub(crate) fn write(dir: &TestnetDir, layout: &Layout) -> io::Result<()> {
    fs::write(dir.prometheus_rules(), RULES)?;
    let hosts = serde_json::to_string_pretty(&targets(layout)).map_err(io::Error::other)?;
    fs::write(dir.prometheus_hosts(), hosts + "\n")?;
    fs::write(dir.prometheus(), config(dir, layout))
}

fn config(dir: &TestnetDir, layout: &Layout) -> String {
    let name = |path: std::path::PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (rules, hosts) = (name(dir.prometheus_rules()), name(dir.prometheus_hosts()));
    let remarks = layout.hosts.iter().filter_map(|host| scrape_target(host).1);
    let remarks: String = remarks.map(|remark| format!("# {remark}\n")).collect();
    format!(
        "{remarks}global:\n  scrape_interval: 5s\n  evaluation_interval: 5s\nrule_files:\n  - {rules}\nscrape_configs:\n  - job_name: quorate\n    file_sd_configs:\n      - files: [\"{hosts}\"]\n"
    )
}

/// The hosts, as Prometheus' file-based service discovery reads them: it notices when the file changes.
fn targets(layout: &Layout) -> serde_json::Value {
    let target = |host: &HostPlace| json!({ "targets": [scrape_target(host).0], "labels": { "host": host.name } });
    layout.hosts.iter().map(target).collect()
}

/// Where Prometheus finds a host's metrics, with a remark where it must run on that host's machine. A host that serves them at all
/// addresses is found at the one that the other hosts dial; `0.0.0.0` would be Prometheus' own machine.
fn scrape_target(host: &HostPlace) -> (String, Option<String>) {
    let machine = host.address.split('/').nth(2).unwrap_or_default();
    let ip: Option<IpAddr> = machine.parse().ok();
    let port = host.http.port();
    if host.http.ip().is_unspecified() {
        let target = match ip {
            Some(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
            _ => format!("{machine}:{port}"),
        };
        return (target, None);
    }
    let elsewhere = host.http.ip().is_loopback() && !ip.is_some_and(|ip| ip.is_loopback());
    let remark = elsewhere
        .then(|| format!("{} serves its metrics on its own machine only; `http` in its config says where", host.name));
    (host.http.to_string(), remark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_finds_hosts_where_it_can_reach_them() {
        let target = |address: &str, http: &str| {
            let http = http.parse().expect("an address");
            let place = HostPlace { name: "alpha".into(), key: String::new(), address: address.into(), http };
            let (target, remark) = scrape_target(&place);
            (target, remark.is_some())
        };
        assert_eq!(target("/ip4/127.0.0.1/tcp/1", "127.0.0.1:2"), ("127.0.0.1:2".into(), false));
        assert_eq!(target("/ip4/192.0.2.7/tcp/1", "0.0.0.0:2"), ("192.0.2.7:2".into(), false));
        assert_eq!(target("/ip6/2001:db8::7/tcp/1", "[::]:2"), ("[2001:db8::7]:2".into(), false));
        assert_eq!(target("/dns/a.example.org/tcp/1", "0.0.0.0:2"), ("a.example.org:2".into(), false));
        assert_eq!(target("/ip4/192.0.2.7/tcp/1", "10.0.0.7:2"), ("10.0.0.7:2".into(), false));
        // On its own machine only: said, since no other target would do.
        assert_eq!(target("/ip4/192.0.2.7/tcp/1", "127.0.0.1:2"), ("127.0.0.1:2".into(), true));
    }
}
