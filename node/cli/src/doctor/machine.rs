//! The machine: its clock, its disk, its limits, and the cache of compiled code.

use super::{Finding, Patient};
use crate::output;
use quorate_config::cache;
use quorate_engine::image::{check_cache_folder, image_hash};
use quorate_node::{
    run::engine_cache,
    system::{clock_is_kept, disk_space, unfit_file_system, user},
};
use std::{
    ffi::OsString,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Syncs that are measured.
const SYNCS: usize = 15;
/// A block takes at least one sync of a quorum: from here on it shows, and from there on elections suffer.
const SLOW: Duration = Duration::from_millis(25);
const VERY_SLOW: Duration = Duration::from_millis(250);
/// Open files that a host should be allowed: RocksDB's 256, and a few for each vat and connection.
const OPEN_FILES: u64 = 4_096;

pub fn check(patient: &Patient) -> Vec<Finding> {
    let mut findings = vec![kept_clock(), program(patient)];
    findings.extend(disk(patient));
    findings.extend(limits(patient.process));
    findings.push(cache(patient));
    findings
}

fn kept_clock() -> Finding {
    match clock_is_kept() {
        Some(true) => Finding::ok("clock", "the kernel says that something keeps it in step"),
        Some(false) => Finding::warning(
            "clock",
            "nothing keeps this machine's clock in step, as far as the kernel knows. Vats that use timers need a threshold of members with good clocks",
            "install a time service: `timedatectl set-ntp true`, or chrony; in a container or a virtual machine, the outer one may do it",
        ),
        None => Finding::skipped("clock", "the kernel does not say whether something keeps it in step"),
    }
}

fn program(patient: &Patient) -> Finding {
    let (version, image) = (env!("CARGO_PKG_VERSION"), image_hash().to_string());
    let Some(status) = &patient.host.status else {
        return Finding::ok(
            "version",
            format!("this program is {version}, with engine image {}", output::short(&image)),
        );
    };
    if status.version == version && status.image == image {
        return Finding::ok("version", format!("the host runs {version}, as this program does"));
    }
    Finding::warning(
        "version",
        format!(
            "the host runs {} with engine image {}, and this program is {version} with {}",
            status.version,
            output::short(&status.image),
            output::short(&image)
        ),
        "start the host again if it was to be upgraded; commands of another version may not understand it",
    )
}

fn disk(patient: &Patient) -> Vec<Finding> {
    let home = &patient.path;
    let mut findings = Vec::new();
    let data = home.join("data");
    let place = if data.exists() { data } else { home.clone() };
    let Ok(room) = disk_space(&place) else {
        return vec![Finding::skipped("disk", format!("{} can't be looked at", place.display()))];
    };
    let limits = patient.home.as_ref().map(|home| home.config.disk).unwrap_or_default();
    let (free, soft) = (room.free_bytes, limits.soft_on(&room));
    let said = format!("{} of {} are left", output::bytes(free), output::bytes(room.total_bytes));
    let fix = "make room, move a member to another host (`vat member replace`), or delete replicas that were removed (`vat list`, `vat delete`)";
    findings.push(match free {
        _ if free < soft => Finding::problem(
            "disk",
            format!("{said}, below the soft limit of {}: vats take no new messages", output::bytes(soft)),
            fix,
        ),
        _ if free < 4 * soft => {
            Finding::warning("disk", format!("{said}; the soft limit is {}", output::bytes(soft)), fix)
        }
        _ => Finding::ok("disk", said),
    });
    if let Some((kind, why)) = unfit_file_system(&place) {
        findings.push(Finding::warning(
            "disk",
            format!("{} is on {kind}: {why}", place.display()),
            "move the home to a disk of this machine (`mv`, while the host is stopped)",
        ));
    }
    findings.push(sync_speed(&place));
    findings
}

/// How long the disk takes to keep something.
fn sync_speed(place: &Path) -> Finding {
    if fs::metadata(place).is_ok_and(|found| found.uid() != user()) {
        return Finding::skipped("sync", "the home is another user's, so the speed of its disk is not measured");
    }
    let path = place.join(format!(".doctor-{}", std::process::id()));
    let measured = measure_syncs(&path);
    let _ = fs::remove_file(&path);
    let mut times = match measured {
        Ok(times) => times,
        Err(error) => {
            return Finding::problem(
                "sync",
                format!("nothing can be written in {}: {error}", place.display()),
                "see the system's message: is the disk full, or mounted read-only?",
            );
        }
    };
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let said = format!("a sync takes {:.1} ms (the slowest of {SYNCS}: {:.1} ms)", ms(median), ms(worst));
    let fix = "put the home on a faster disk; see `quorate_store_sync_seconds` for how it is under load";
    if median >= VERY_SLOW {
        Finding::problem("sync", format!("{said}: leaders lose their members' patience"), fix)
    } else if median >= SLOW {
        Finding::warning("sync", format!("{said}: each block waits for it"), fix)
    } else {
        Finding::ok("sync", said)
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn measure_syncs(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = fs::File::options().create_new(true).write(true).mode(0o600).open(path)?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        file.write_all(&[0x5a; 4_096])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// What the process may use: the host's own if it runs, else what this program was given.
fn limits(process: Option<u32>) -> Vec<Finding> {
    let whose = process.map_or("self".to_owned(), |process| process.to_string());
    let of = if process.is_some() { "the host" } else { "a host that is started from here" };
    let mut findings = Vec::new();
    match fs::read_to_string(format!("/proc/{whose}/limits")) {
        Err(_) => {
            findings.push(Finding::skipped("limits", "the limits of the host's process are not shown to this user"))
        }
        Ok(text) => {
            let files = soft_limit(&text, "Max open files");
            findings.push(match files {
                Some(files) if files < OPEN_FILES => Finding::warning(
                    "limits",
                    format!("{of} may open {files} files: enough for a few vats, not for many vats or clients"),
                    "LimitNOFILE=65536 in its service, or `ulimit -n 65536` before it is started",
                ),
                files => Finding::ok(
                    "limits",
                    format!(
                        "{of} may open {} files",
                        files.map_or("any number of".to_owned(), |files| files.to_string())
                    ),
                ),
            });
            if let Some(bytes) = soft_limit(&text, "Max address space") {
                findings.push(Finding::problem(
                    "limits",
                    format!("{of} may use addresses of {} only; each vat reserves some GiB of addresses, of which it uses little", output::bytes(bytes)),
                    "take the limit away (`ulimit -v unlimited`, LimitAS=); limit memory by its control group instead (MemoryMax=)",
                ));
            }
        }
    }
    if fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|text| text.trim() == "2") {
        findings.push(Finding::problem(
            "limits",
            "the kernel gives out no more addresses than there is memory (vm.overcommit_memory = 2); each vat reserves some GiB of addresses, of which it uses little",
            "sysctl vm.overcommit_memory=0",
        ));
    }
    findings
}

/// A limit of `/proc/PID/limits`; `None`: there is none.
fn soft_limit(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Where compiled code is kept: for the host that runs as its environment says, else as this program's does.
fn cache(patient: &Patient) -> Finding {
    let folder = match patient.process {
        Some(process) => match cache_of(process) {
            Some(folder) => folder,
            None => {
                return Finding::skipped("cache", "the environment of the host's process is not shown to this user");
            }
        },
        None => match engine_cache() {
            Ok(folder) => folder,
            Err(error) => {
                return Finding::problem("cache", error.to_string(), "set QUORATE_CACHE, as the service does");
            }
        },
    };
    if !folder.exists() {
        return Finding::ok(
            "cache",
            format!("{} is made at the first start, which compiles the engine image", folder.display()),
        );
    }
    match check_cache_folder(&folder) {
        Ok(_) => Finding::ok("cache", format!("{} is this user's alone", folder.display())),
        Err(error) if fs::metadata(&folder).is_ok_and(|found| found.uid() != user()) && patient.process.is_some() => {
            Finding::skipped("cache", error.to_string())
        }
        Err(error) => Finding::problem(
            "cache",
            error.to_string(),
            format!(
                "chown -R it to the user that runs the host and `chmod 700 {}`, or set QUORATE_CACHE to another folder",
                folder.display()
            ),
        ),
    }
}

/// The cache that a process uses.
fn cache_of(process: u32) -> Option<PathBuf> {
    let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
    let value = |name: &str| {
        let prefix = format!("{name}=");
        let found = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(prefix.as_bytes()))?;
        Some(OsString::from(String::from_utf8_lossy(found).into_owned()))
    };
    cache::of_engine(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max address space         unlimited            unlimited            bytes     \n\
                    Max open files            1024                 1048576              files     \n";
        assert_eq!(soft_limit(text, "Max open files"), Some(1_024));
        assert_eq!(soft_limit(text, "Max address space"), None);
    }
}
