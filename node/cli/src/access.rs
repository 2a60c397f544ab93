//! `vat grant` and `vat revoke`, and what all changes of who may use a vat have in common: a member's host puts them to the owners of the
//! members, and has them ordered when enough approve.

use super::{
    Exit, Failure, Outcome,
    hosts::{HostsOption, LocalHost},
    output,
};
use quorate_admin::AccessRequest;
use quorate_engine::VatId;
use quorate_protocol::{
    authority::AccessChange,
    codec, moment,
    status::{Done, VatStatus},
    sturdyref::Sturdyref,
};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat grant bank shop                       vat shop may use the root of vat bank\n  vat grant bank 9f3a… --expires 30d        a partner's vat, by its VatId, for 30 days\n\nThe grant names a vat, so its text is no secret: give the partner vat://VATID/root, as `vat ref root bank` prints it. Owners of the members approve it, as they do a change of members: see `vat approvals`."
)]
pub struct GrantArgs {
    /// The vat whose root is granted
    vat: String,
    /// The vat that may use it: its name here, its VatId, or a sturdyref of it
    to: String,
    /// Until when: 90s, 15m, 12h, 7d or 4w from now, or a time in UTC such as 2026-12-24T18:00:00Z
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    #[command(flatten)]
    hosts: HostsOption,
}

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vat revoke bank shop\n\nIt takes the root from that vat. Other objects that it got by calls stay with it, and so does what it opens with a bearer reference: revoke that one with `vat ref revoke`."
)]
pub struct RevokeArgs {
    /// The vat whose root was granted
    vat: String,
    /// The vat that may use it no longer: its name here, its VatId, or a sturdyref of it
    to: String,
    #[command(flatten)]
    hosts: HostsOption,
}

/// Grants a vat's root.
pub async fn grant(args: GrantArgs, json: bool) -> Outcome {
    let expires_ms = expiry(args.expires.as_deref())?;
    let place = Place::find(&args.hosts, &args.vat).await?;
    let to = place.other_vat(&args.to)?;
    let done = place.change(AccessChange::Grant { to, expires_ms }).await?;
    report(&done, json, json!({ "vat": place.status.name, "granted_to": to.to_string(), "expires_ms": expires_ms }));
    Ok(Exit::Success)
}

/// Takes it back.
pub async fn revoke(args: RevokeArgs, json: bool) -> Outcome {
    let place = Place::find(&args.hosts, &args.vat).await?;
    let from = place.other_vat(&args.to)?;
    let done = place.change(AccessChange::Revoke { from }).await?;
    report(&done, json, json!({ "vat": place.status.name, "revoked_from": from.to_string() }));
    Ok(Exit::Success)
}

/// Says what was done: for scripts with the block that has it.
pub fn report(done: &Done, json: bool, mut shown: serde_json::Value) {
    if json {
        shown["block"] = json!(done.block);
        return output::json(&shown);
    }
    output::note(&done.message);
}

/// The moment of `--expires`.
pub fn expiry(text: Option<&str>) -> Result<Option<u64>, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let parse = |text| moment::parse(text, now_ms);
    text.map(parse).transpose().map_err(|why| Failure::new(Exit::Usage, format!("--expires {why}")))
}

/// A running member of a vat that speaks for its operator, and the hosts here.
pub struct Place {
    pub host: LocalHost,
    pub status: VatStatus,
    hosts: Vec<LocalHost>,
    layout: Vec<(String, String)>,
}

impl Place {
    /// The member here that is the vat's leader, or else another one.
    pub async fn find(hosts: &HostsOption, vat: &str) -> Result<Place, Failure> {
        let carrying = hosts.carrying(vat).await?;
        let (host, status) = carrying.into_iter().next().expect("carrying() fails where there is none");
        let layout = hosts.testnet().and_then(|dir| dir.read().ok().flatten());
        let layout = layout.map(|layout| layout.vats).unwrap_or_default();
        let layout = layout.into_iter().map(|vat| (vat.name, vat.vat)).collect();
        Ok(Place { host, status, hosts: hosts.all().await.unwrap_or_default(), layout })
    }

    /// The vat's id.
    pub fn vat(&self) -> Result<VatId, Failure> {
        self.status.vat.parse().map_err(|_| Failure::new(Exit::Failed, "the host names no vat id"))
    }

    /// Another vat, by its id, a sturdyref of it, or its name on the hosts here.
    pub fn other_vat(&self, text: &str) -> Result<VatId, Failure> {
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let found = if let Ok(vat) = text.parse::<VatId>() {
            vat
        } else if text.starts_with("vat://") {
            text.parse::<Sturdyref>().map_err(|error| usage(error.to_string()))?.vat
        } else {
            let running = self.hosts.iter().find_map(|host| host.replica(text)).map(|status| status.vat.clone());
            let id = running.or_else(|| self.layout.iter().find(|(name, _)| name == text).map(|(_, vat)| vat.clone()));
            id.and_then(|id| id.parse().ok()).ok_or_else(|| {
                usage(format!(
                    "there is no vat {text} here; name a partner's vat by its VatId, 64 hex digits, which `vat inspect` and `vat status --json` show there"
                ))
            })?
        };
        if found == self.vat()? {
            return Err(usage(format!("{text} is {} itself; it has its root anyhow", self.status.name)));
        }
        Ok(found)
    }

    /// Has a change of who may use the vat carried out.
    ///
    /// # Errors
    /// The vat or the members' owners refuse it, or it waits for their approval.
    pub async fn change(&self, change: AccessChange) -> Result<Done, Failure> {
        let request = AccessRequest { change: hex::encode(codec::encode(&change)) };
        let vat = &self.status.name;
        let done: Done = self.host.endpoint.post(&format!("/api/v1/vats/{}/access", self.status.vat), &request).await?;
        if !done.waits {
            return Ok(done);
        }
        let message = format!(
            "{vat}: it waits for the approval of the members' owners: `vat approvals {vat}` describes it, `vat approve {vat}` at a member's host approves it, `vat reject {vat}` ends it"
        );
        Err(Failure::new(Exit::Unreachable, message))
    }
}
