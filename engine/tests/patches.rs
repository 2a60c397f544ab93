//! What the build makes of series of patches, good and bad ones. A stand-in for `cargo vendor` makes the crates.

#[path = "../build/patches.rs"]
mod patches;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A crate of two files, in the folder that the last argument names.
const VENDOR: &str = r#"
    eval "folder=\${$#}/demo-1.0.0"
    mkdir -p "$folder/src"
    printf 'one\ntwo\nthree\n' >"$folder/src/lib.rs"
    printf 'alpha\n' >"$folder/src/other.rs"
    printf '{"files":{"src/lib.rs":"abc"},"package":"def"}' >"$folder/.cargo-checksum.json"
"#;

struct Build {
    home: TempDir,
}

impl Build {
    fn new(series: &[(&str, String)]) -> Self {
        let home = TempDir::new().expect("a folder");
        fs::create_dir_all(home.path().join("guest/patches")).expect("a folder");
        fs::write(home.path().join("guest/Cargo.lock"), "# pinned").expect("written");
        let build = Self { home };
        for (name, text) in series {
            build.add(name, text);
        }
        build
    }

    fn add(&self, name: &str, text: &str) {
        fs::write(self.home.path().join("guest/patches").join(name), text).expect("written");
    }

    fn target(&self) -> PathBuf {
        self.home.path().join("target")
    }

    fn sources(&self) -> Result<PathBuf, String> {
        fs::create_dir_all(self.target()).expect("a folder");
        let mut cargo = Command::new("sh");
        cargo.args(["-c", VENDOR, "vendor"]);
        patches::sources(&self.home.path().join("guest"), &self.target(), cargo)
    }

    /// The error of a series that must not build. No folder that a later build would take for a good one may remain.
    fn refusal(&self) -> String {
        let error = self.sources().expect_err("the series is bad");
        let left: Vec<String> = names(&self.target()).into_iter().filter(|name| !name.ends_with(".partial")).collect();
        assert_eq!(left, Vec::<String>::new(), "after: {error}");
        error
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
}

/// A diff of `src/lib.rs` that exchanges one of its three lines.
fn exchange(lines: [&str; 3], number: usize, by: &str) -> String {
    let body: String = (0..3)
        .map(|index| match (index == number, lines[index]) {
            (true, line) => format!("-{line}\n+{by}\n"),
            (false, line) => format!(" {line}\n"),
        })
        .collect();
    let file = "demo-1.0.0/src/lib.rs";
    format!(
        "What it ends\n\nUpstream: none known.\n\ndiff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n@@ -1,3 +1,3 @@\n{body}"
    )
}

const PUBLISHED: [&str; 3] = ["one", "two", "three"];

#[test]
fn patches_apply_in_the_order_of_their_numbers() {
    let build = Build::new(&[
        ("001-first.patch", exchange(PUBLISHED, 1, "TWO")),
        ("002-second.patch", exchange(["one", "TWO", "three"], 1, "2")),
    ]);
    let sources = build.sources().expect("applies");
    assert_eq!(fs::read_to_string(sources.join("demo-1.0.0/src/lib.rs")).expect("there"), "one\n2\nthree\n");
    let checksum = fs::read_to_string(sources.join("demo-1.0.0/.cargo-checksum.json")).expect("there");
    assert_eq!(checksum, r#"{"files":{},"package":"def"}"#, "cargo must not compare single files, but the package");
    assert_eq!(build.sources().expect("still there"), sources);

    build.add("003-third.patch", &exchange(["one", "2", "three"], 0, "1"));
    let others = build.sources().expect("applies");
    assert_ne!(others, sources, "cargo would not look again at the same folder");
    assert_eq!(fs::read_to_string(others.join("demo-1.0.0/src/lib.rs")).expect("there"), "1\n2\nthree\n");
}

#[test]
fn what_an_interrupted_build_left_is_made_anew() {
    let build = Build::new(&[("001-first.patch", exchange(PUBLISHED, 0, "ONE"))]);
    let sources = build.sources().expect("applies");
    let partial = sources.with_extension("partial");
    fs::rename(&sources, &partial).expect("renamed");
    assert_eq!(build.sources().expect("applies to fresh sources"), sources);
    assert!(!partial.exists());
}

#[test]
fn a_diff_that_does_not_fit_is_named() {
    let build = Build::new(&[
        ("001-first.patch", exchange(PUBLISHED, 0, "ONE")),
        ("002-other-text.patch", exchange(["ONE", "TWO", "three"], 2, "THREE")),
    ]);
    let error = build.refusal();
    assert!(error.contains("002-other-text.patch does not apply"), "{error}");
}

#[test]
fn a_patch_that_lies_there_twice_is_named() {
    let text = exchange(PUBLISHED, 0, "ONE");
    let build = Build::new(&[("001-first.patch", text.clone()), ("002-again.patch", text.clone())]);
    let error = build.refusal();
    assert!(error.contains("002-again.patch does not apply"), "{error}");

    let build = Build::new(&[("001-first.patch", text.clone()), ("001-same.patch", text)]);
    let error = build.refusal();
    assert!(error.contains("001-same.patch should be patch 002"), "{error}");
}

#[test]
fn a_patch_that_names_a_file_twice_makes_both_changes_or_none() {
    let second = exchange(["ONE", "two", "three"], 2, "THREE");
    let (_, second) = second.split_once("\n\ndiff").expect("a diff");
    let both = format!("{}diff{second}", exchange(PUBLISHED, 0, "ONE"));
    let build = Build::new(&[("001-both.patch", both)]);
    let sources = build.sources().expect("applies");
    assert_eq!(fs::read_to_string(sources.join("demo-1.0.0/src/lib.rs")).expect("there"), "ONE\ntwo\nTHREE\n");

    let twice = exchange(PUBLISHED, 0, "ONE");
    let (_, second) = twice.split_once("\n\ndiff").expect("a diff");
    let build = Build::new(&[("001-twice.patch", format!("{twice}diff{second}"))]);
    assert!(build.refusal().contains("001-twice.patch does not apply"));
}

#[test]
fn a_file_that_is_missing_is_named() {
    let elsewhere = exchange(PUBLISHED, 0, "ONE").replace("src/lib.rs", "src/gone.rs");
    let build = Build::new(&[("001-gone.patch", elsewhere)]);
    let error = build.refusal();
    assert!(error.contains("001-gone.patch does not apply") && error.contains("src/gone.rs"), "{error}");

    let other_version = exchange(PUBLISHED, 0, "ONE").replace("demo-1.0.0", "demo-1.0.1");
    let build = Build::new(&[("001-version.patch", other_version)]);
    let error = build.refusal();
    assert!(error.contains("001-version.patch does not apply") && error.contains("demo-1.0.1"), "{error}");
}

#[test]
fn a_patch_that_is_missing_is_noticed() {
    let build = Build::new(&[
        ("001-first.patch", exchange(PUBLISHED, 0, "ONE")),
        ("003-third.patch", exchange(["ONE", "two", "three"], 2, "THREE")),
    ]);
    let error = build.refusal();
    assert!(error.contains("003-third.patch should be patch 002"), "{error}");
}

#[test]
fn a_patch_that_changes_nothing_is_named() {
    let build = Build::new(&[("001-words.patch", "What it ends, and no diff\n".to_owned())]);
    let error = build.refusal();
    assert!(error.contains("001-words.patch changes no file"), "{error}");

    let same = exchange(PUBLISHED, 0, "one");
    let build = Build::new(&[("001-same.patch", same)]);
    let error = build.refusal();
    assert!(error.contains("001-same.patch left demo-1.0.0/src/lib.rs as it was"), "{error}");
}

#[test]
fn an_empty_series_is_refused() {
    let build = Build::new(&[]);
    let error = build.refusal();
    assert!(error.contains("has no patches"), "{error}");

    fs::remove_dir_all(build.home.path().join("guest/patches")).expect("removed");
    let error = build.refusal();
    assert!(error.contains("patches"), "{error}");
}

#[test]
fn other_files_among_the_patches_are_refused() {
    for name in ["README.md", "1-short.patch", "002-second.diff", "002-second.patch~"] {
        let build = Build::new(&[("001-first.patch", exchange(PUBLISHED, 0, "ONE")), (name, String::new())]);
        let error = build.refusal();
        assert!(error.contains(name) && error.contains("is not named NNN-name.patch"), "{error}");
    }
}

#[test]
fn crates_that_cannot_be_gathered_are_an_error() {
    let build = Build::new(&[("001-first.patch", exchange(PUBLISHED, 0, "ONE"))]);
    fs::create_dir_all(build.target()).expect("a folder");
    let mut cargo = Command::new("sh");
    cargo.args(["-c", "echo no network >&2; exit 1", "vendor"]);
    let error = patches::sources(&build.home.path().join("guest"), &build.target(), cargo).expect_err("no crates");
    assert!(error.contains("cannot be gathered") && error.contains("no network"), "{error}");
}
