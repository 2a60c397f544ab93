//! `vat upgrade`: other code, or another engine image, for a vat that runs.
//!
//! Invariant: nothing is proposed before its owner has read what would and what would not outlive it, or has said `--yes`.

use super::{
    Exit, Failure, Outcome,
    access::Place,
    create::{arguments, wrong_code},
    hosts::HostsOption,
    output,
};
use quorate_admin::{UpgradeReply, UpgradeRequest};
use quorate_config::bundle;
use quorate_engine::{Hash, image::image_hash};
use quorate_protocol::{status::ForecastStatus, upgrade::UpgradeDraft};
use serde_json::json;
use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
};

/// How many objects that end are named.
const NAMED: usize = 10;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat upgrade bank bank2.js                   other code, with the arguments as they are\n  vat upgrade bank bank2.js --dry-run         only say what would and would not outlive it\n  vat upgrade bank --image own                the same code in this version's engine image\n  vat upgrade bank --arg rate=3 --no-endowments   the same code with this argument alone, and nothing of the host's\n\nWhat the code keeps by `@agoric/vat-data` outlives an upgrade, with the references that others hold to it; the root stays\nthe root. Owners of the members approve it, as they do a change of members: see `vat approvals`. An upgrade whose code\ndoes not start, or does not prepare all that is kept, is thrown away, and the vat goes on as it was."
)]
pub struct Args {
    /// The vat
    vat: String,
    /// The new code; without it, the code stays
    source: Option<PathBuf>,
    /// The engine image to move to: its hash, or `own` for this version's; the host must have it
    #[arg(long, value_name = "HASH", value_parser = image)]
    image: Option<Hash>,
    /// An argument: JSON, a bare string, or a sturdyref (may be repeated). Those that are named take the place of all arguments; without any,
    /// arguments stay as they are
    #[arg(long = "arg", value_name = "NAME=VALUE", conflicts_with = "no_arguments")]
    arguments: Vec<String>,
    /// The code gets no arguments any more; endowments stay as they are
    #[arg(long)]
    no_arguments: bool,
    /// What the host gives the code: `timer`, the vat's time; `publisher`, data for everybody; `exit`, on solo vats (may be repeated). Those that
    /// are named take the place of all endowments; without any, they stay as they are
    #[arg(long = "endowment", value_name = "NAME", value_parser = ["exit", "timer", "publisher"], conflicts_with = "no_endowments")]
    endowments: Vec<String>,
    /// The code gets no endowments any more; arguments stay as they are
    #[arg(long)]
    no_endowments: bool,
    /// Only say what would come of it
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    hosts: HostsOption,
}

impl Args {
    /// Whether the code gets other arguments than it has, none included.
    fn replaces_arguments(&self) -> bool {
        self.no_arguments || !self.arguments.is_empty()
    }

    /// Whether the code gets other endowments than it has, none included.
    fn replaces_endowments(&self) -> bool {
        self.no_endowments || !self.endowments.is_empty()
    }
}

fn image(text: &str) -> Result<Hash, String> {
    if text == "own" {
        Ok(image_hash())
    } else {
        text.parse().map_err(|error| format!("{error}; name its hash, or `own`"))
    }
}

/// Runs the command.
pub async fn run(args: Args, json: bool) -> Outcome {
    let (new_arguments, new_endowments) = (args.replaces_arguments(), args.replaces_endowments());
    if args.source.is_none() && args.image.is_none() && !new_arguments && !new_endowments {
        let message =
            "nothing would change: name the new code, --image, --arg, --no-arguments, --endowment or --no-endowments";
        return Err(Failure::new(Exit::Usage, message));
    }
    let bundle = args.source.as_deref().map(bundle::bundle).transpose().map_err(wrong_code)?;
    let place = Place::find(&args.hosts, &args.vat).await?;
    let argv = new_arguments.then(|| arguments(&args.arguments, &args.endowments, &place.vat()?)).transpose()?;
    let endowments = new_endowments.then(|| args.endowments.clone());
    let draft = UpgradeDraft { bundle, argv, endowments, image: args.image };
    let forecast = post(&place, &draft, true).await?.forecast;
    let forecast = forecast.ok_or_else(|| Failure::new(Exit::Failed, "the host answers something else"))?;
    if !json {
        lines(&place.status.name, &forecast).iter().for_each(output::line);
    }
    if let Some(why) = &forecast.failure {
        let message = format!("Q-A025 the upgrade would fail, so it was not proposed: {why}");
        let failure = Failure::new(Exit::Rejected, message);
        return Err(if json {
            failure.with_result(json!({ "vat": place.status.name, "forecast": forecast }))
        } else {
            failure
        });
    }
    if args.dry_run {
        if json {
            output::json(&json!({ "vat": place.status.name, "forecast": forecast, "block": null }));
        }
        return Ok(Exit::Success);
    }
    confirm(&args)?;
    let done = post(&place, &draft, false).await?.done;
    let done = done.ok_or_else(|| Failure::new(Exit::Failed, "the host answers something else"))?;
    if done.waits {
        let vat = &place.status.name;
        let message = format!(
            "{vat}: it waits for the approval of the members' owners: `vat approvals {vat}` describes it, `vat approve {vat}` at a member's host approves it, `vat reject {vat}` ends it"
        );
        return Err(Failure::new(Exit::Unreachable, message));
    }
    if json {
        output::json(&json!({ "vat": place.status.name, "forecast": forecast, "block": done.block }));
    } else {
        output::note(&done.message);
    }
    Ok(Exit::Success)
}

async fn post(place: &Place, draft: &UpgradeDraft, foresee: bool) -> Result<UpgradeReply, Failure> {
    let request = UpgradeRequest::new(draft, foresee);
    Ok(place.host.endpoint.post(&format!("/api/v1/vats/{}/upgrade", place.status.vat), &request).await?)
}

fn confirm(args: &Args) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let message =
            "Q-A026 nobody can be asked here: read the above, then repeat the command with --yes; nothing was changed";
        return Err(Failure::new(Exit::Usage, message));
    }
    eprint!("Shall it be upgraded? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Usage, "not confirmed; nothing was changed")),
    }
}

/// Returns what would and what would not outlive the upgrade.
fn lines(vat: &str, forecast: &ForecastStatus) -> Vec<String> {
    let ForecastStatus { changes, baggage, kinds, kept, lost, lost_objects, promises, calls, timers, bytes, .. } =
        forecast;
    let mut lines = vec![format!("{vat}, as it stands now:")];
    let changed = if changes.is_empty() { "no file and no argument".to_owned() } else { changes.join("; ") };
    lines.push(format!("  changes     {changed}"));
    lines.push("  stays       the root, and who may use it".to_owned());
    if forecast.hands_over {
        let (keys, bytes) = (output::plural(*baggage, "key"), output::plural(*bytes, "byte"));
        lines.push(format!("  stays       {keys} of the baggage, {bytes} in all"));
        for (kind, count) in kinds {
            let kind = kind.strip_prefix('@').map_or_else(|| kind.clone(), |store| format!("({store} stores)"));
            lines.push(format!("  stays       {count} of {kind}"));
        }
        lines.push(format!("  stays       {} that others hold", output::plural(*kept, "object")));
    } else {
        lines.push("  stays       nothing else: the engine image that it runs in is of before upgrades".to_owned());
    }
    let names: Vec<String> = lost_objects
        .iter()
        .take(NAMED)
        .map(|(object, name)| if name.is_empty() { format!("object {object}") } else { format!("{name} ({object})") })
        .collect();
    let more = if *lost > names.len() as u64 && !names.is_empty() { ", …" } else { "" };
    let names = if names.is_empty() { String::new() } else { format!(": {}{more}", names.join(", ")) };
    lines.push(format!("  ends        {} that others hold{names}", output::plural(*lost, "object")));
    lines.push(format!(
        "  ends        {} that others wait for, {} of its own, {}",
        output::plural(*promises, "promise"),
        output::plural(*calls, "call"),
        output::plural(*timers, "timer"),
    ));
    lines.extend(forecast.logs.iter().map(|line| format!("  it writes   {line}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_and_does_not_outlive_an_upgrade_is_said() {
        let forecast = ForecastStatus {
            changes: vec!["file main.js differs".into()],
            hands_over: true,
            baggage: 2,
            kinds: [("Purse".to_owned(), 7), ("@map".to_owned(), 1)].into(),
            kept: 4,
            lost: 12,
            lost_objects: (0..12)
                .map(|object| (object, if object == 0 { "ticket".into() } else { String::new() }))
                .collect(),
            promises: 3,
            ..ForecastStatus::default()
        };
        let text = lines("bank", &forecast).join("\n");
        for part in [
            "file main.js differs",
            "7 of Purse",
            "1 of (map stores)",
            "4 objects",
            "12 objects that others hold: ticket (0), object 1",
            "object 9, …",
            "3 promises",
        ] {
            assert!(text.contains(part), "no {part}: {text}");
        }
        let older = lines("bank", &ForecastStatus { hands_over: false, ..forecast }).join("\n");
        assert!(older.contains("nothing else") && !older.contains("Purse"), "{older}");
    }

    #[test]
    fn an_image_is_named_by_its_hash_or_as_this_versions_own() {
        assert_eq!(image("own"), Ok(image_hash()));
        assert_eq!(image(&"07".repeat(32)), Ok(Hash([7; 32])));
        assert!(image("newest").is_err());
    }
}
