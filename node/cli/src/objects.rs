//! `vat objects`: who holds what of a vat, and what it holds of others.

use super::{Exit, Failure, Outcome, access::Place, hosts::HostsOption, output, reference::object_name};
use quorate_protocol::{
    moment,
    status::{HeldStatus, ObjectsStatus, PeerHoldings},
};
use serde_json::json;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat objects bank\n  vat objects bank --peer shop --limit 200\n  vat objects bank --peer shop --after 200      the objects that follow\n  vat objects bank --json | jq '.peers[] | {vat, exports_in_all}'\n\nA vat that is in no list here and has a VatId for a name is a partner's, or a client: one `vat call`."
)]
pub struct Args {
    /// The vat
    vat: String,
    /// Only what this vat holds and gives: its name here, or its VatId
    #[arg(long, value_name = "VAT")]
    peer: Option<String>,
    /// Objects of each vat at most, each way
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// With --peer: only objects with greater numbers between the two; without: only vats with greater VatIds
    #[arg(long, value_name = "NUMBER|VATID")]
    after: Option<String>,
    /// Vats at most
    #[arg(long, default_value_t = 50, value_name = "N")]
    peers: usize,
    #[command(flatten)]
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let place = Place::find(&args.hosts, &args.vat).await?;
    let found: ObjectsStatus = place.host.endpoint.get(&args.path(&place)?).await?;
    if args.peer.is_some() && found.peers.is_empty() {
        let peer = args.peer.as_deref().unwrap_or_default();
        return Err(Failure::new(
            Exit::Usage,
            format!("{} knows no vat {peer}; `vat objects {0}` lists those that it does", args.vat),
        ));
    }
    if json {
        let mut shown = serde_json::to_value(&found).unwrap_or_default();
        shown["vat"] = json!(place.status.vat);
        shown["name"] = json!(place.status.name);
        output::json(&shown);
        return Ok(Exit::Success);
    }
    lines(&args, &found).iter().for_each(output::line);
    Ok(Exit::Success)
}

impl Args {
    fn path(&self, place: &Place) -> Result<String, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let mut path = format!("/api/v1/vats/{}/objects?limit={}&peers={}", place.status.vat, self.limit, self.peers);
        if let Some(peer) = &self.peer {
            // By its id: a name could hold anything.
            path.push_str(&format!("&peer={}", place.other_vat(peer)?));
        }
        match (&self.after, &self.peer) {
            (None, _) => {}
            (Some(after), Some(_)) => {
                let number: u64 = after
                    .parse()
                    .map_err(|_| usage(format!("--after {after}: with --peer it is the number of an object")))?;
                path.push_str(&format!("&after_object={number}"));
            }
            (Some(after), None) => {
                let vat: quorate_engine::VatId =
                    after.parse().map_err(|_| usage(format!("--after {after}: without --peer it is a VatId")))?;
                path.push_str(&format!("&after_peer={vat}"));
            }
        }
        Ok(path)
    }
}

fn lines(args: &Args, found: &ObjectsStatus) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: others hold {} of it; {}, {}, {} (block {})",
        args.vat,
        output::plural(found.held, "object"),
        output::plural(found.promises, "promise"),
        output::plural(found.references, "bearer reference"),
        output::plural(found.peers_in_all, "vat"),
        found.block,
    )];
    for peer in &found.peers {
        lines.extend(peer_lines(args, peer));
    }
    if let Some(last) = found.peers.last().filter(|_| found.more) {
        lines.push(format!("more vats follow: vat objects {} --after {}", args.vat, last.vat));
    }
    lines
}

fn peer_lines(args: &Args, peer: &PeerHoldings) -> Vec<String> {
    let name = peer.name.as_deref().unwrap_or(&peer.vat);
    let root = match (peer.granted, peer.grant_expires_ms) {
        (false, _) => "it may not use the root".to_owned(),
        (true, None) => "it may use the root".to_owned(),
        (true, Some(ms)) => format!("it may use the root until {}", moment::shown(ms)),
    };
    let mut lines = vec![String::new(), format!("{name}: {root}")];
    if peer.broken {
        lines.push("  it broke the protocol: nothing is taken from it any more".to_owned());
    }
    if peer.name.is_some() {
        lines.push(format!("  {}", peer.vat));
    }
    if !peer.exports.is_empty() {
        lines.push(format!("  holds {} of {}:", output::plural(peer.exports_in_all, "object"), args.vat));
        lines.extend(peer.exports.iter().map(export_line));
        lines.extend(more(args, name, "held", &peer.exports, peer.exports_in_all));
    }
    if !peer.imports.is_empty() {
        lines.push(format!("  gives {} to {}:", output::plural(peer.imports_in_all, "object"), args.vat));
        lines.extend(peer.imports.iter().map(import_line));
        lines.extend(more(args, name, "given", &peer.imports, peer.imports_in_all));
    }
    if peer.decided_here + peer.decided_there > 0 {
        lines.push(format!(
            "  open promises: {} that {} settles, {} that it settles",
            peer.decided_here, args.vat, peer.decided_there
        ));
    }
    if peer.deposits + peer.withdrawals > 0 {
        lines.push(format!(
            "  introductions: {} wait for it to fetch them, {} it wants to fetch",
            peer.deposits, peer.withdrawals
        ));
    }
    lines.extend(peer.redeemed.iter().map(|(key, object)| {
        let key = key.get(..12).unwrap_or(key);
        format!("  uses bearer reference {key} to {}", object_name(*object, None))
    }));
    lines
}

fn export_line(held: &HeldStatus) -> String {
    let object = object_name(held.object.unwrap_or_default(), held.interface.as_deref());
    let revoked = if held.live { "" } else { ", revoked" };
    format!("    {:>6}  object {object}, sent {}{revoked}", held.id, output::plural(held.count, "time"))
}

fn import_line(held: &HeldStatus) -> String {
    let name = held.interface.as_deref().unwrap_or("no name");
    let held_by = if held.live { "held by the program" } else { "not held by the program" };
    let pins = if held.pins > 0 {
        format!(", {} of it under way", output::plural(held.pins, "introduction"))
    } else {
        String::new()
    };
    format!("    {:>6}  {name}, received {}, {held_by}{pins}", held.id, output::plural(held.count, "time"))
}

/// Returns how the rest is shown. Objects before these were left out because they were asked for so.
fn more(args: &Args, peer: &str, what: &str, shown: &[HeldStatus], in_all: usize) -> Option<String> {
    let last = shown.last().filter(|_| shown.len() == args.limit && in_all > shown.len())?;
    Some(format!(
        "            more may be {what}: vat objects {} --peer {peer} --after {} --limit {}",
        args.vat,
        last.id,
        args.limit.max(200)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_what_is_told_with_names_counts_and_how_to_go_on() {
        let held = |id: u64, object: Option<u64>, interface: &str, live: bool| HeldStatus {
            id,
            object,
            interface: Some(interface.to_owned()).filter(|name| !name.is_empty()),
            count: 2,
            live,
            pins: 1,
        };
        let peer = PeerHoldings {
            name: Some("shop".into()),
            vat: "07".repeat(32),
            granted: true,
            grant_expires_ms: Some(0),
            broken: false,
            exports_in_all: 9,
            exports: vec![held(1, Some(5), "Purse", true), held(2, Some(6), "", false)],
            imports_in_all: 1,
            imports: vec![held(1, None, "Wares", true)],
            decided_here: 3,
            decided_there: 4,
            deposits: 1,
            withdrawals: 0,
            redeemed: [("ab".repeat(32), 5)].into(),
        };
        let found = ObjectsStatus {
            block: 7,
            held: 2,
            promises: 1,
            references: 3,
            peers_in_all: 60,
            peers: vec![peer],
            more: true,
        };
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let Line { args } = clap::Parser::parse_from(["vat", "bank", "--limit", "2"]);
        let text = lines(&args, &found).join("\n");
        for part in [
            "bank: others hold 2 objects of it; 1 promise, 3 bearer references, 60 vats (block 7)",
            "shop: it may use the root until 1970-01-01 00:00:00 UTC",
            "object 5 (Purse), sent 2 times",
            "object 6, sent 2 times, revoked",
            "Wares, received 2 times, held by the program, 1 introduction of it under way",
            "3 that bank settles, 4 that it settles",
            "vat objects bank --peer shop --after 2 --limit 200",
            "uses bearer reference abababababab to 5",
            &format!("vat objects bank --after {}", "07".repeat(32)),
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
