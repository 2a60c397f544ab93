//! `vat logs`: consoles of vats and logs of hosts, read from files, so that they can be read of stopped hosts as well.

use super::{DirOption, Exit, Failure, Outcome, output};
use crate::{home::Home, testnet::cluster::Cluster, vat::console::parse_line};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const POLL: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  vat logs two          what the vat `two` printed\n  vat logs h3           what the host h3 logged\n  vat logs two -f       and what it prints from now on"
)]
pub struct Args {
    /// A vat (default: all vats) or a host
    name: Option<String>,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    dir: DirOption,
    /// A host's home, instead of a testnet's directory
    #[arg(long, value_name = "HOME")]
    home: Option<PathBuf>,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    if let Some(home) = &args.home {
        let home = Home::open(home).map_err(|error| Failure { exit: Exit::Usage, error: error.into() })?;
        let Some(vat) = &args.name else {
            return Err(Failure::new(Exit::Usage, "with --home, name the vat whose console you want"));
        };
        print_new(vat, &read_console(&home.console(vat)), &mut 0, false, json);
        return Ok(Exit::Success);
    }
    let cluster = args.dir.cluster()?;
    let vats: Vec<String> = cluster.layout.vats.iter().map(|vat| vat.name.clone()).collect();
    match &args.name {
        Some(host) if cluster.layout.hosts.iter().any(|place| place.name == *host) => {
            let path = cluster.dir.host_log(host);
            let text = fs::read_to_string(&path).unwrap_or_default();
            text.lines().for_each(output::line);
            if args.follow {
                follow_file(&path, text.len()).await?;
            }
        }
        Some(vat) if !vats.contains(vat) && consoles(&cluster, vat).is_empty() => {
            let hosts: Vec<_> = cluster.layout.hosts.iter().map(|place| place.name.as_str()).collect();
            let message =
                format!("there is no vat or host {vat}; vats: {}; hosts: {}", vats.join(", "), hosts.join(", "));
            return Err(Failure::new(Exit::Usage, message));
        }
        Some(vat) if args.follow => follow(&cluster, std::slice::from_ref(vat)).await?,
        None if args.follow => follow(&cluster, &vats).await?,
        Some(vat) => print_new(vat, &newest(&cluster, vat), &mut 0, false, json),
        None => vats.iter().for_each(|vat| print_new(vat, &newest(&cluster, vat), &mut 0, true, json)),
    }
    Ok(Exit::Success)
}

/// Prints what the vats' consoles print from now on; what they have printed so far comes first.
pub async fn follow(cluster: &Cluster, vats: &[String]) -> Result<(), Failure> {
    let mut printed: BTreeMap<&String, u64> = BTreeMap::new();
    loop {
        for vat in vats {
            let through = printed.entry(vat).or_default();
            print_new(vat, &newest(cluster, vat), through, true, false);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn follow_file(path: &Path, mut seen: usize) -> Result<(), Failure> {
    loop {
        tokio::time::sleep(POLL).await;
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Some(new) = text.get(seen..)
            && let Some(end) = new.rfind('\n')
        {
            new[..end].lines().for_each(output::line);
            seen += end + 1;
        }
    }
}

fn consoles(cluster: &Cluster, vat: &str) -> Vec<PathBuf> {
    let homes = cluster.layout.hosts.iter().filter_map(|place| cluster.home(&place.name).ok());
    homes.map(|home| home.console(vat)).filter(|path| path.exists()).collect()
}

/// A console's lines so far: block, level, text.
type Lines = Vec<(u64, String, String)>;

/// The console of the replica that is furthest: all replicas print the same.
fn newest(cluster: &Cluster, vat: &str) -> Lines {
    consoles(cluster, vat)
        .iter()
        .map(|path| read_console(path))
        .max_by_key(|lines| lines.last().map_or(0, |line| line.0))
        .unwrap_or_default()
}

fn read_console(path: &Path) -> Lines {
    let mut lines = Lines::new();
    for path in [path.with_extension("console.1"), path.to_owned()] {
        let text = fs::read_to_string(path).unwrap_or_default();
        let parsed = text.lines().filter_map(parse_line);
        lines.extend(parsed.map(|(block, level, text)| (block, level.to_owned(), text)));
    }
    lines
}

fn print_new(vat: &str, lines: &Lines, through: &mut u64, with_name: bool, json: bool) {
    for (block, level, text) in lines.iter().filter(|line| line.0 > *through) {
        if json {
            output::line(serde_json::json!({ "vat": vat, "block": block, "level": level, "text": text }));
        } else if with_name {
            output::line(format!("{vat}: {text}"));
        } else {
            output::line(text);
        }
    }
    *through = lines.last().map_or(*through, |line| line.0);
}
