//! The home: its config, its key, who may use it, and what is damaged or missing in it.

use super::{Finding, Patient};
use quorate_config::{home::HomeError, provision};
use quorate_consensus::noted_damage;
use quorate_node::system::user;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// How far in the future a file's time may be: clocks are set by small steps.
const AHEAD: Duration = Duration::from_secs(60);

pub fn check(patient: &Patient) -> Vec<Finding> {
    let mut findings = vec![config(patient), state(patient), owner(patient)];
    findings.extend(secrets(&patient.path));
    findings.extend(data(patient));
    findings.extend(leftovers(&patient.path));
    findings.extend(provisions(patient));
    findings.extend(future(&patient.path));
    findings
}

fn config(patient: &Patient) -> Finding {
    let file = patient.path.join("host.toml");
    match &patient.home {
        Ok(home) => Finding::ok("config", format!("{} has no mistakes ({})", file.display(), home.config.name)),
        Err(HomeError::Config(error)) => Finding::problem(
            "config",
            error.to_string(),
            format!("mend the lines of {} that are named; `vat config schema host` says what there is", file.display()),
        ),
        Err(error @ HomeError::Exported { .. }) => Finding::skipped("home", error.to_string()),
        Err(error) => {
            Finding::problem("home", error.to_string(), "as it says; a home can't be made up from parts of others")
        }
    }
}

fn state(patient: &Patient) -> Finding {
    let home = patient.path.display();
    match (&patient.host.status, patient.process, patient.host.hangs) {
        (Some(status), ..) => {
            Finding::ok("process", format!("process {} runs since {} s and answers", status.process, status.uptime_s))
        }
        (None, Some(process), true) => Finding::problem(
            "process",
            format!("process {process} runs and does not answer"),
            format!(
                "look at its log; then stop it (`kill {process}`, after a while `kill -9 {process}`) and start it again"
            ),
        ),
        (None, Some(process), false) => Finding::warning(
            "process",
            format!("process {process} runs on this home, and its interface is not there yet"),
            "wait: it may be compiling the engine image or executing its log; its log says what it does",
        ),
        (None, None, _) => Finding::skipped(
            "process",
            format!("nothing runs on this home; `vat node run --home {home}` or its service starts it"),
        ),
    }
}

fn owner(patient: &Patient) -> Finding {
    let Ok(found) = fs::metadata(&patient.path) else {
        return Finding::skipped("owner", "the home can't be looked at");
    };
    let (own, owner) = (user(), found.uid());
    if own == owner {
        return Finding::ok("owner", format!("the home is this user's ({own})"));
    }
    Finding::warning(
        "owner",
        format!(
            "the home belongs to user {owner}, and this is user {own}: some checks see less, or something else than the host does"
        ),
        format!("sudo -u '#{owner}' vat doctor {}", patient.path.display()),
    )
}

/// Who may read what nobody else may.
fn secrets(home: &Path) -> Vec<Finding> {
    let mut open = Vec::new();
    let mut look = |path: &Path| {
        if let Ok(found) = fs::symlink_metadata(path)
            && !found.is_symlink()
            && found.mode() & 0o077 != 0
        {
            open.push(format!("{} (mode {:04o})", path.display(), found.mode() & 0o7777));
        }
    };
    look(home);
    for name in
        ["host.key", "host.toml", "MARKS", "data", "carried", "provision", "creators", "logs", "gateway", "images"]
    {
        look(&home.join(name));
    }
    let key = home.join("host.key");
    let is_there = key.exists();
    let mut findings = Vec::new();
    if open.is_empty() {
        findings.push(Finding::ok("modes", "nobody but its owner can use the home"));
    } else {
        findings.push(Finding::problem(
            "modes",
            format!("other users can use {}", open.join(", ")),
            format!(
                "chmod -R go= {}; if others could read host.key, put a host with a new home in this one's place",
                home.display()
            ),
        ));
    }
    if !is_there && home.join("FORMAT").exists() {
        findings.push(Finding::problem(
            "key",
            format!("{} is gone", key.display()),
            "without it this host can't come back: make a new home, and put that in its place (`vat member replace`)",
        ));
    }
    findings
}

/// The database, and what stands beside it.
fn data(patient: &Patient) -> Vec<Finding> {
    let home = &patient.path;
    let repair = format!("stop the host, then `vat member repair --home {}`", home.display());
    let (data, marks) = (home.join("data"), home.join("MARKS"));
    let carried = fs::read_dir(home.join("carried")).map_or(0, |entries| entries.flatten().count());
    if !data.exists() {
        return match carried {
            0 => vec![Finding::ok("data", "the host carries nothing yet")],
            _ => vec![Finding::problem(
                "data",
                format!("Q-R004 {carried} vats were carried here, and {} is gone", data.display()),
                repair,
            )],
        };
    }
    let mut findings = Vec::new();
    if carried > 0 && !marks.exists() {
        findings.push(Finding::problem(
            "marks",
            format!("{} is gone: it says what this host has promised", marks.display()),
            "start the host while its data are whole: it makes the marks again. Copy no marks from elsewhere",
        ));
    }
    match noted_damage(&data) {
        Ok(damage) if damage.is_empty() => {
            findings.push(Finding::ok("tables", "no table of the database is known to be damaged"))
        }
        Ok(damage) => {
            let tables: Vec<String> = damage
                .iter()
                .map(|damage| format!("{} ({}: {})", damage.table, damage.family.as_str(), damage.error))
                .collect();
            findings.push(Finding::problem("tables", format!("Q-C049 damaged: {}", tables.join(", ")), repair.clone()));
        }
        Err(error) => findings.push(Finding::problem("tables", error.to_string(), repair.clone())),
    }
    for damage in patient.host.status.iter().flat_map(|status| &status.damage) {
        findings.push(Finding::problem("damage", damage.clone(), "`vat disk` says more"));
    }
    findings
}

/// What an interrupted repair left, or a finished one keeps.
fn leftovers(home: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["data.repaired", "data.whole"] {
        if home.join(name).exists() {
            findings.push(Finding::problem(
                "repair",
                format!("a repair was interrupted: {} is there", home.join(name).display()),
                format!("vat member repair --home {}", home.display()),
            ));
        }
    }
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let kept: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("data.damaged")))
        .map(|path| path.display().to_string())
        .collect();
    if !kept.is_empty() {
        findings.push(Finding::warning(
            "repair",
            format!("a repair has put aside {}", kept.join(", ")),
            "remove it once the host's vats are well again; it takes room, and nothing reads it",
        ));
    }
    findings
}

/// Files of vats that could not be read at a start.
fn provisions(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    let carried = patient.path.join("carried");
    let known = |vat: &str| carried.join(vat).exists();
    if let Err(error) = provision::read(&patient.path.join("provision"), known)
        && error.kind() == std::io::ErrorKind::InvalidData
    {
        findings.push(Finding::problem("provision", error.to_string(), "as it says; the host does not start with it"));
    }
    for entry in fs::read_dir(&carried).into_iter().flatten().flatten() {
        if let Err(error) = provision::read_one(&entry.path()) {
            findings.push(Finding::warning(
                "carried",
                error.to_string(),
                "the database has the same, and a start of the host writes it again once the file is removed",
            ));
        }
    }
    findings
}

/// Files that are newer than now: the clock was set back.
fn future(home: &Path) -> Option<Finding> {
    let newest = ["MARKS", "LOCK", "host.toml", "FORMAT"]
        .into_iter()
        .filter_map(|name| fs::metadata(home.join(name)).ok()?.modified().ok())
        .max()?;
    let ahead = newest.duration_since(SystemTime::now()).ok().filter(|ahead| *ahead > AHEAD)?;
    Some(Finding::problem(
        "clock",
        format!(
            "the home was last written {} s in the future: the clock of this machine was set back",
            ahead.as_secs()
        ),
        "set it right, and have something keep it so (`timedatectl set-ntp true`)",
    ))
}
