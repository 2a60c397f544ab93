//! `vat logs`: consoles of vats and logs of hosts, read from files, so that they can be read of stopped hosts as well.

use super::{Exit, Failure, Outcome, hosts::HostsOption, output};
use quorate_config::{cluster::Cluster, home::Home};
use quorate_node::vat::console::parse_line;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

const POLL: Duration = Duration::from_millis(200);
/// Bytes of a host's log that are read for [`newest`], from its end.
const NEWEST_BYTES: u64 = 4 << 20;
/// Suffix of a console's file.
const CONSOLE: &str = "console";

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
    hosts: HostsOption,
}

pub async fn run(args: Args, json: bool) -> Outcome {
    let places = match args.hosts.cluster_or_homes()? {
        Ok(cluster) => Sources::of(&cluster),
        Err(homes) => Sources::of_homes(homes),
    };
    let mut sources = places.find(args.name.as_deref(), json)?;
    if args.follow {
        follow_all(&mut sources).await;
        return Ok(Exit::Success);
    }
    let mut printed = 0;
    for source in &mut sources {
        match source.print_new() {
            Ok(lines) => printed += lines,
            Err(_) => return Ok(Exit::Success),
        }
    }
    if printed == 0 {
        // Silence alone could as well be a wrong name or directory.
        output::note(match &args.name {
            Some(name) => format!("{name} has printed nothing yet; `vat logs {name} --follow` waits for it"),
            None => "no vat here has printed anything yet".to_owned(),
        });
    }
    Ok(Exit::Success)
}

/// Prints what the vats' consoles print from now on; what they have printed so far comes first. Ends when nobody reads it.
pub async fn follow(cluster: &Cluster, vats: &[String], json: bool) -> Result<(), Failure> {
    let sources = Sources::of(cluster);
    let mut consoles: Vec<Source> = vats.iter().map(|vat| sources.console(vat, true, json)).collect();
    follow_all(&mut consoles).await;
    Ok(())
}

/// A line of a vat's console, or of a host's log, which has neither block nor level of its own.
pub struct LogLine {
    pub block: Option<u64>,
    pub level: Option<String>,
    pub text: String,
}

/// The newest lines of a vat or host, the oldest first: as many as the files of a console hold, or the end of a log.
pub fn newest(hosts: &HostsOption, of: &str) -> Result<Vec<LogLine>, Failure> {
    let places = match hosts.cluster_or_homes()? {
        Ok(cluster) => Sources::of(&cluster),
        Err(homes) => Sources::of_homes(homes),
    };
    let mut lines = Vec::new();
    for source in places.find(Some(of), false)? {
        match source {
            Source::Console { mut console, .. } => {
                let line = |Line { block, level, text }| LogLine { block: Some(block), level: Some(level), text };
                lines.extend(console.next_lines().into_iter().map(line));
            }
            Source::HostLog(mut tail) => {
                tail.skip_to_last(NEWEST_BYTES);
                lines.extend(tail.next_lines().into_iter().map(host_line));
            }
        }
    }
    Ok(lines)
}

/// A line of a host's log, for people: it is JSON, or what a panic wrote.
fn host_line(line: String) -> LogLine {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(&line) else {
        return LogLine { block: None, level: None, text: line };
    };
    let mut take = |name: &str| fields.remove(name).and_then(|value| value.as_str().map(str::to_owned));
    let level = take("level").map(|level| level.to_lowercase());
    let parts = [take("timestamp"), take("message")];
    let mut text = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    for (name, value) in fields.iter().filter(|(name, _)| *name != "target") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!(" {name}={value}"));
    }
    LogLine { block: None, level, text }
}

async fn follow_all(sources: &mut [Source]) {
    while sources.iter_mut().all(|source| source.print_new().is_ok()) && output::has_reader() {
        tokio::time::sleep(POLL).await;
    }
}

/// Where logs can be.
struct Sources {
    /// Vats by name, in the order to show them; further ones are found in the homes.
    vats: Vec<String>,
    /// Hosts by name, with the files of their logs.
    hosts: Vec<(String, PathBuf)>,
    homes: Vec<Home>,
}

impl Sources {
    fn of(cluster: &Cluster) -> Sources {
        let places = &cluster.layout.hosts;
        Sources {
            vats: cluster.layout.vats.iter().map(|vat| vat.name.clone()).collect(),
            hosts: places.iter().map(|place| (place.name.clone(), cluster.dir.host_log(&place.name))).collect(),
            homes: places.iter().filter_map(|place| cluster.home(&place.name).ok()).collect(),
        }
    }

    /// Hosts that are run by hand: their logs go where their standard error does.
    fn of_homes(homes: Vec<Home>) -> Sources {
        let log = |home: &Home| home.path().join("logs").join("host.log");
        let hosts = homes.iter().map(|home| (home.config.name.clone(), log(home))).collect();
        Sources { vats: Vec::new(), hosts, homes }
    }

    /// Returns what `name` means: a host, a vat, or without a name all vats.
    fn find(&self, name: Option<&str>, json: bool) -> Result<Vec<Source>, Failure> {
        let vats = self.all_vats();
        let Some(name) = name else {
            return Ok(vats.iter().map(|vat| self.console(vat, true, json)).collect());
        };
        if let Some((_, log)) = self.hosts.iter().find(|(host, _)| host == name) {
            if !log.exists() {
                let message = format!(
                    "host {name} has no log file: a host that no testnet command started logs to the standard error of its process, \
                     so look there, or in the journal of its service (`journalctl -u UNIT`)"
                );
                return Err(Failure::new(Exit::Usage, message));
            }
            return Ok(vec![Source::HostLog(Tail::new(log.clone()))]);
        }
        if vats.iter().any(|vat| vat == name) {
            return Ok(vec![self.console(name, false, json)]);
        }
        let hosts: Vec<&str> = self.hosts.iter().map(|(host, _)| host.as_str()).collect();
        let message =
            format!("there is no vat or host {name} here; vats: {}; hosts: {}", vats.join(", "), hosts.join(", "));
        Err(Failure::new(Exit::Usage, message))
    }

    /// All vats: those of the config first, then those that have a console somewhere.
    fn all_vats(&self) -> Vec<String> {
        let mut further = BTreeSet::new();
        for home in &self.homes {
            let files = fs::read_dir(home.path().join("logs")).into_iter().flatten().flatten();
            for path in files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == CONSOLE))
            {
                further.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
        let further = further.into_iter().filter(|vat| !self.vats.contains(vat));
        self.vats.iter().cloned().chain(further).collect()
    }

    fn console(&self, vat: &str, with_name: bool, json: bool) -> Source {
        let paths = self.homes.iter().map(|home| home.console(vat)).collect();
        Source::Console { vat: vat.to_owned(), with_name, json, console: Console::new(paths) }
    }
}

/// Something to print, as far as it was not printed.
enum Source {
    Console { vat: String, with_name: bool, json: bool, console: Console },
    HostLog(Tail),
}

impl Source {
    /// Prints what has come, and returns how many lines. Fails where nobody reads it.
    fn print_new(&mut self) -> io::Result<usize> {
        match self {
            Source::HostLog(tail) => {
                let lines = tail.next_lines();
                lines.iter().try_for_each(output::try_line)?;
                Ok(lines.len())
            }
            Source::Console { vat, with_name, json, console } => {
                let lines = console.next_lines();
                let count = lines.len();
                for Line { block, level, text } in lines {
                    if *json {
                        let line = serde_json::json!({ "vat": vat, "block": block, "level": level, "text": text });
                        output::try_line(line)?;
                    } else if *with_name {
                        output::try_line(format_args!("{vat}: {text}"))?;
                    } else {
                        output::try_line(text)?;
                    }
                }
                Ok(count)
            }
        }
    }
}

/// A line of a vat's console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub block: u64,
    pub level: String,
    pub text: String,
}

/// The consoles of a vat's replicas, read as one.
///
/// All replicas print the same, but each has only what came since it joined, as far as its files go back, and the last block may be
/// half written. So blocks are taken from the host that has most of them.
pub struct Console {
    /// The files of the replicas, whether or not they are there yet.
    paths: Vec<PathBuf>,
    /// How long all files were when they were last read.
    lengths: Vec<u64>,
    /// The last block that was given out, and how many lines of it.
    given: (u64, usize),
}

impl Console {
    /// Nothing was given out yet.
    pub fn new(paths: Vec<PathBuf>) -> Console {
        Console { paths, lengths: Vec::new(), given: (0, 0) }
    }

    /// The lines that have come since the last time.
    pub fn next_lines(&mut self) -> Vec<Line> {
        let files: Vec<PathBuf> =
            self.paths.iter().flat_map(|path| [path.with_extension("console.1"), path.clone()]).collect();
        let lengths = files.iter().map(|file| fs::metadata(file).map_or(0, |metadata| metadata.len())).collect();
        if self.lengths == lengths {
            return Vec::new();
        }
        self.lengths = lengths;
        let mut blocks: BTreeMap<u64, Vec<Line>> = BTreeMap::new();
        for file in &files {
            for (block, lines) in read_blocks(file, self.given.0) {
                let known = blocks.entry(block).or_default();
                if lines.len() > known.len() {
                    *known = lines;
                }
            }
        }
        let (block, count) = self.given;
        if let Some((last, lines)) = blocks.last_key_value().filter(|(last, _)| **last >= block) {
            self.given = (*last, if *last == block { count.max(lines.len()) } else { lines.len() });
        }
        let new =
            blocks.into_iter().flat_map(|(at, lines)| lines.into_iter().skip(if at == block { count } else { 0 }));
        new.collect()
    }
}

/// The blocks of a console file from `first` on.
fn read_blocks(file: &Path, first: u64) -> BTreeMap<u64, Vec<Line>> {
    let mut blocks: BTreeMap<u64, Vec<Line>> = BTreeMap::new();
    let text = fs::read_to_string(file).unwrap_or_default();
    // What has no end yet is still being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (block, level, text) in whole.lines().filter_map(parse_line).filter(|line| line.0 >= first) {
        blocks.entry(block).or_default().push(Line { block, level: level.to_owned(), text });
    }
    blocks
}

/// A file that grows.
struct Tail {
    path: PathBuf,
    /// How far it was read.
    at: u64,
}

impl Tail {
    fn new(path: PathBuf) -> Tail {
        Tail { path, at: 0 }
    }

    /// Passes over all but the end of the file, and what is left of a line there.
    fn skip_to_last(&mut self, bytes: u64) {
        let length = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        self.at = length.saturating_sub(bytes);
        if self.at > 0 {
            let mut end = Vec::new();
            let read = fs::File::open(&self.path).and_then(|mut file| {
                file.seek(SeekFrom::Start(self.at))?;
                file.take(bytes).read_to_end(&mut end)
            });
            let first = end.iter().position(|byte| *byte == b'\n').filter(|_| read.is_ok());
            self.at += first.map_or(0, |first| first as u64 + 1);
        }
    }

    /// The whole lines that have come since the last time. A file that can't be read has none.
    fn next_lines(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        let read = fs::File::open(&self.path).and_then(|mut file| {
            if file.metadata()?.len() < self.at {
                // The file was emptied.
                self.at = 0;
            }
            file.seek(SeekFrom::Start(self.at))?;
            file.read_to_end(&mut bytes)
        });
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let (Ok(_), Some(end)) = (read, end) else { return Vec::new() };
        self.at += end as u64 + 1;
        String::from_utf8_lossy(&bytes[..end]).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn consoles_of_all_replicas_are_read_as_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("writable");
        let paths = ["gone", "old", "new"].map(|name| dir.path().join(format!("{name}.console"))).to_vec();
        let mut console = Console::new(paths);
        assert!(console.next_lines().is_empty());
        // One has stopped early and was rotated, one has joined late; both have block 3, the last line is half written.
        file("old.console.1", "1\tinfo\tone\n2\tinfo\ttwo\n2\tinfo\ttwo again\n");
        file("old.console", "3\tinfo\tthree\n");
        file("new.console", "3\tinfo\tthree\n5\tinfo\tfive\n5\tinfo\tfi");
        assert_eq!(texts(console.next_lines()), ["one", "two", "two again", "three", "five"]);
        assert!(console.next_lines().is_empty());
        file("new.console", "3\tinfo\tthree\n5\tinfo\tfive\n5\tinfo\tfive again\n");
        assert_eq!(texts(console.next_lines()), ["five again"]);
        // Nothing is lost by a rotation.
        fs::rename(dir.path().join("new.console"), dir.path().join("new.console.1")).expect("a rotation");
        file("new.console", "7\twarn\tseven\n");
        let line = Line { block: 7, level: "warn".into(), text: "seven".into() };
        assert_eq!(console.next_lines(), [line]);
        // A replica that comes late has nothing to add.
        file("gone.console", "5\tinfo\tfive\n5\tinfo\tfive again\n7\twarn\tseven\n");
        assert!(console.next_lines().is_empty());
    }

    #[test]
    fn lines_of_hosts_are_for_people() {
        let line = r#"{"timestamp":"2026-01-02T03:04:05Z","level":"WARN","message":"it waits","vat":"two","count":3,"target":"t"}"#;
        let line = host_line(line.to_owned());
        assert_eq!(line.level.as_deref(), Some("warn"));
        assert_eq!(line.text, "2026-01-02T03:04:05Z it waits count=3 vat=two");
        assert_eq!(host_line("thread panicked".to_owned()).text, "thread panicked");
    }

    #[test]
    fn a_log_is_read_by_whole_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("host.log");
        let mut tail = Tail::new(path.clone());
        assert!(tail.next_lines().is_empty());
        fs::write(&path, "one\ntwo\nthr").expect("writable");
        assert_eq!(tail.next_lines(), ["one", "two"]);
        assert!(tail.next_lines().is_empty());
        fs::write(&path, "one\ntwo\nthree\n").expect("writable");
        assert_eq!(tail.next_lines(), ["three"]);
        fs::write(&path, "new\n").expect("writable");
        assert_eq!(tail.next_lines(), ["new"]);
        // Its end alone, from a whole line on.
        fs::write(&path, "one\ntwo\nthree\n").expect("writable");
        tail.skip_to_last(8);
        assert_eq!(tail.next_lines(), ["three"]);
        tail.skip_to_last(100);
        assert_eq!(tail.next_lines(), ["one", "two", "three"]);
    }
}
