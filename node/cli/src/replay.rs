//! `vat replay`: the log of a stored vat, executed again, with what each block did, and whether that is what was certified.

mod words;

use super::{Exit, Failure, Outcome, output, test::grouped};
use quorate_config::home::{Home, running_process};
use quorate_consensus::{Replay, ReplayError, Replayed, RocksStore, Store, Verdict};
use quorate_engine::{
    abi::Delivery,
    heap::{Crank, Limits, with_engine_stack},
    image::Images,
    machine::CrankReport,
};
use quorate_node::{
    host::VAT_RECORDS,
    run::engine_cache,
    vat::{
        machine::{BlockEffects, VatMachine},
        view::SharedView,
    },
};
use quorate_protocol::{codec, command::VatResult, moment, provision::Provision};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat testnet down\n  vat replay quorate-testnet/hosts/alpha counter              all that is kept of its log\n  vat replay quorate-testnet/hosts/alpha counter --from 12    from block 12 on\n  vat replay quorate-testnet/hosts/alpha counter --json | jq -c .console\n  vat replay HOME counter --from 0 --archive /mnt/archive     blocks that the log has no longer, from an archive\n\nThe host must not run; a copy of its home will do, which must never run. Nothing in the home is changed. Execution begins at the newest\ncheckpoint before --from, and is the same on every machine. Blocks that were cut from the log come from the host's archive, if `archive`\nin its host.toml names one; without --from they are left out. Exit code 1 if a block comes out otherwise than it was certified: the first one is named."
)]
pub struct Args {
    /// The home of a host that carries the vat, or a copy of it
    home: PathBuf,
    /// The vat, by its name or id
    vat: String,
    /// Show blocks from this one on
    #[arg(long, value_name = "BLOCK")]
    from: Option<u64>,
    /// Take blocks that the log has no longer from this folder of archives [default: the one that host.toml names]
    #[arg(long, value_name = "DIR", requires = "from")]
    archive: Option<PathBuf>,
    /// Stop after this one
    #[arg(long, value_name = "BLOCK")]
    to: Option<u64>,
}

fn usage(message: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Usage, message)
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let home = Home::open(&args.home).map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
    if let Some(process) = running_process(home.path()) {
        let message = format!(
            "a host runs on {} (process {process}): stop it first (`vat testnet down`, or SIGTERM), or replay a copy of its home",
            args.home.display()
        );
        return Err(usage(message));
    }
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        return Err(usage(format!("--from {from} is after --to {to}")));
    }
    let progress = output::Progress::start(output::COMPILING);
    let ran = tokio::task::spawn_blocking(move || {
        let stored = Stored::open(&home, &args)?;
        let machine = stored.machine(&home)?;
        progress.done();
        with_engine_stack(|| stored.replay(machine, &args, json))
    });
    ran.await?
}

/// A vat as a home has it.
struct Stored {
    store: Arc<dyn Store>,
    archive: Option<PathBuf>,
    provision: Provision,
}

impl Stored {
    fn open(home: &Home, args: &Args) -> Result<Stored, Failure> {
        let vat = args.vat.as_str();
        let archive = args.archive.clone().or_else(|| home.archive());
        let store = RocksStore::open_read_only(home.data()).map_err(anyhow::Error::from)?;
        let mut names = Vec::new();
        let mut found = None;
        for (key, value) in store.list_meta(VAT_RECORDS).map_err(anyhow::Error::from)? {
            let provision: Provision = codec::decode(&value)?;
            if provision.name == vat || key.strip_prefix(VAT_RECORDS) == Some(vat) {
                found = Some(provision);
                break;
            }
            names.push(provision.name);
        }
        let provision = found.ok_or_else(|| {
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            usage(format!("{} has no vat {vat}; its vats: {names}", home.path().display()))
        })?;
        Ok(Stored { store: Arc::new(store), archive, provision })
    }

    /// The machine of the vat, in which nothing has happened, and whose deliveries are kept to be shown.
    fn machine(&self, home: &Home) -> Result<VatMachine, Failure> {
        let genesis = &self.provision.genesis;
        let images = Arc::new(Images::open(engine_cache()?, home.images()));
        let image = images.get(&genesis.image)?;
        let limits = Limits {
            fuel_per_delivery: genesis.parameters.fuel_per_delivery,
            memory_bytes: genesis.parameters.memory_bytes,
        };
        let machine = VatMachine::new(genesis, None, image, images, limits, SharedView::default())?;
        machine.crank_times().see();
        Ok(machine)
    }

    fn replay(&self, machine: VatMachine, args: &Args, json: bool) -> Outcome {
        let failed = |error: ReplayError| {
            let exit = match &error {
                ReplayError::Cut { .. } | ReplayError::NotArchived { .. } | ReplayError::Nothing(_) => Exit::Usage,
                _ => Exit::Failed,
            };
            Failure { exit, error: error.into() }
        };
        let (genesis, archive) = (&self.provision.genesis, self.archive.as_deref());
        let mut replay = Replay::begin(self.store.clone(), genesis, machine, archive, args.from).map_err(failed)?;
        let (first, last) = replay.bounds();
        let to = args.to.unwrap_or(last);
        if to > last || args.from.is_some_and(|from| from > last) {
            return Err(usage(format!("the log ends at block {last}")));
        }
        let begins = match replay.started_at() {
            Some(block) => format!("from the checkpoint at block {block}"),
            None => "from the beginning".to_owned(),
        };
        output::note(format!("executing blocks {first} to {to} of {}, {begins}", self.provision.name));
        let mut seen = Summary { name: self.provision.name.clone(), first, ..Summary::default() };
        while replay.bounds().0 <= to {
            let Some(block) = replay.step().map_err(failed)? else { break };
            let deliveries = replay.machine().crank_times().take_seen();
            let is_shown = args.from.is_none_or(|from| block.block >= from);
            let differs = matches!(block.verdict, Verdict::Differs { .. });
            seen.count(&block);
            if is_shown || differs {
                if json {
                    output::json_line(&as_json(&block, &deliveries));
                } else {
                    show(&block, &deliveries);
                }
            }
            if differs {
                return Err(seen.differs(&block, json));
            }
        }
        seen.report(json);
        Ok(Exit::Success)
    }
}

/// What was executed so far.
#[derive(Default)]
struct Summary {
    name: String,
    first: u64,
    last: u64,
    deliveries: u64,
    fuel: u64,
    certified: u64,
    /// Blocks that state something of which nothing is kept here.
    unknown: u64,
}

impl Summary {
    fn count(&mut self, block: &Replayed<BlockEffects>) {
        self.last = block.block;
        for crank in block.effects.iter().flat_map(|effects| &effects.output.cranks) {
            self.deliveries += 1;
            self.fuel = self.fuel.saturating_add(crank.fuel);
        }
        match block.verdict {
            Verdict::Certified { .. } => self.certified += 1,
            Verdict::NotKept => self.unknown += 1,
            _ => {}
        }
    }

    fn as_json(&self) -> Value {
        json!({
            "vat": self.name, "first_block": self.first, "last_block": self.last, "deliveries": self.deliveries,
            "fuel": self.fuel, "certified_blocks": self.certified, "blocks_without_certificate": self.unknown,
        })
    }

    fn report(&self, json: bool) {
        if json {
            return output::json_line(&self.as_json());
        }
        let unknown = match self.unknown {
            0 => String::new(),
            count => format!("; of {count} no certificate is kept here"),
        };
        output::line(format!(
            "blocks {} to {}: {} deliveries, {} fuel; {} blocks as they were certified{unknown}",
            self.first,
            self.last,
            self.deliveries,
            grouped(self.fuel),
            self.certified
        ));
    }

    fn differs(&self, block: &Replayed<BlockEffects>, json: bool) -> Failure {
        let Verdict::Differs { kept, parts } = &block.verdict else {
            return Failure::new(Exit::Failed, "a block that is as it was");
        };
        let parts: Vec<String> =
            parts.iter().map(|(what, kept, own)| format!("{what}: kept {kept}, executed {own}")).collect();
        let message = format!(
            "block {} of {} is the first that comes out otherwise than {kept} says: {}",
            block.block,
            self.name,
            parts.join("; ")
        );
        let failure = Failure::new(Exit::Rejected, message);
        if json { failure.with_result(self.as_json()) } else { failure }
    }
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Nothing => "states nothing".to_owned(),
        Verdict::Certified { signers, members } => format!("certified by {signers} of {members}"),
        Verdict::Own => "as this host made it; no certificate is kept".to_owned(),
        Verdict::NotKept => "no certificate is kept".to_owned(),
        Verdict::Differs { kept, .. } => format!("DIFFERS from {kept}"),
    }
}

/// The deliveries of a block with what the machine reports of each.
fn cranks<'a>(
    block: &'a Replayed<BlockEffects>,
    deliveries: &'a [(Delivery, Crank)],
) -> impl Iterator<Item = (&'a CrankReport, &'a (Delivery, Crank))> {
    block.effects.iter().flat_map(|effects| &effects.output.cranks).zip(deliveries)
}

fn show(block: &Replayed<BlockEffects>, deliveries: &[(Delivery, Crank)]) {
    let time = if block.now_ms == 0 { String::new() } else { format!(", {}", moment::shown(block.now_ms)) };
    output::line(format!("block {} (term {}{time}): {}", block.block, block.term, verdict(&block.verdict)));
    if let Some(note) = &block.note {
        output::line(format!("  {note}"));
    }
    for (report, (delivery, crank)) in cranks(block, deliveries) {
        let from = report.from.map(|from| format!(" from {}", output::short(&from.to_string()))).unwrap_or_default();
        output::line(format!("  {}{from}, {} fuel", words::delivery(delivery), grouped(report.fuel)));
        words::outcome(delivery, &crank.outcome).iter().for_each(|line| output::line(format!("    {line}")));
        crank.logs.iter().for_each(|line| output::line(format!("    | {}", line.text)));
    }
    refusals(block).iter().for_each(|refusal| output::line(format!("  refused: {refusal}")));
}

/// Returns why commands of a block came to nothing.
fn refusals(block: &Replayed<BlockEffects>) -> Vec<String> {
    let results = block.results.iter().filter_map(|bytes| codec::decode::<VatResult>(bytes).ok());
    let refusals = results.filter_map(|result| match result {
        VatResult::Refused { message } | VatResult::InstallFailed { message } => Some(message),
        _ => None,
    });
    refusals.collect()
}

fn as_json(block: &Replayed<BlockEffects>, deliveries: &[(Delivery, Crank)]) -> Value {
    let cranks: Vec<Value> = cranks(block, deliveries)
        .map(|(report, (delivery, crank))| {
            json!({
                "what": report.what.as_str(), "from": report.from.map(|from| from.to_string()),
                "account": report.account.map(|account| account.to_string()), "fuel": report.fuel,
                "rolled_back": report.rolled_back.map(|limit| limit.as_str()), "delivery": words::delivery(delivery),
                "outcome": words::outcome(delivery, &crank.outcome),
            })
        })
        .collect();
    let logs = deliveries.iter().flat_map(|(_, crank)| &crank.logs);
    let console: Vec<Value> = logs.map(|line| json!({ "level": line.level.as_str(), "text": line.text })).collect();
    let statement = block.statement.as_ref();
    json!({
        "block": block.block, "term": block.term, "epoch": block.epoch, "now_ms": block.now_ms, "note": block.note,
        "commands": block.commands.len(), "verdict": verdict(&block.verdict),
        "statement": statement.map(|statement| statement.hash().to_string()),
        "state_root": statement.and_then(|statement| statement.state_root).map(|root| root.to_string()),
        "deliveries": cranks, "console": console, "refused": refusals(block),
    })
}
