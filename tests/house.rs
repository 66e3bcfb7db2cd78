//! The law of the house: which module may use which, and how long a file may be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file at most.
const LINES_MAX: usize = 700;

/// The floor of each module. A module uses lower floors only.
const FLOORS: &[(&str, u32)] = &[
    ("backoff", 0),
    ("clock", 0),
    ("model", 0),
    ("mutant", 0),
    ("priority", 0),
    ("shutdown", 0),
    ("config", 1),
    ("embed", 1),
    ("emulator", 1),
    ("remote", 1),
    ("secrets", 1),
    ("store", 1),
    ("watch", 1),
    ("migrate", 2),
    ("replicate", 2),
    ("service", 2),
    ("api", 3),
    ("mcp", 3),
    ("bench", 4),
    ("cli", 4),
    ("daemon", 4),
    ("lib", 4),
    ("main", 4),
];

/// Uses within a floor: all of them.
const SAME_FLOOR: &[(&str, &str)] = &[
    ("mcp", "api"),
    ("migrate", "service"),
    ("cli", "daemon"),
    ("cli", "bench"),
    ("bench", "cli"),
    ("main", "cli"),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn module_of(path: &Path) -> String {
    let first = path.strip_prefix(src()).unwrap().components().next().unwrap();
    Path::new(first.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The modules that a source mentions by `crate::name`, prose and nested lists included.
fn mentions(text: &str) -> Vec<String> {
    let name = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut found: Vec<String> = text.split("crate::").skip(1).map(name).collect();
    for list in text.split("crate::{").skip(1) {
        let list = list.split("};").next().unwrap();
        found.extend(list.split(',').map(|part| name(part.trim())));
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn modules_use_lower_floors_only() {
    let floors: BTreeMap<&str, u32> = FLOORS.iter().copied().collect();
    let mut n_uses = 0;
    for path in sources(&src()) {
        let user = module_of(&path);
        let floor = *floors.get(user.as_str()).unwrap_or_else(|| panic!("{user} has no floor"));
        for used in mentions(&fs::read_to_string(&path).unwrap()) {
            let Some(below) = floors.get(used.as_str()) else {
                // A macro or an item of the crate's root.
                continue;
            };
            n_uses += 1;
            let is_allowed = used == user
                || *below < floor
                || *below == 0
                || SAME_FLOOR.contains(&(user.as_str(), used.as_str()));
            assert!(is_allowed, "{} (floor {floor}) uses {used} (floor {below})", path.display());
        }
    }
    assert!(n_uses > 100, "the test has read nothing");
}

#[test]
fn the_emulator_uses_the_vocabulary_only() {
    for path in sources(&src().join("emulator")) {
        for used in mentions(&fs::read_to_string(&path).unwrap()) {
            let is_allowed = ["model", "clock", "emulator"].contains(&used.as_str());
            assert!(is_allowed, "{} uses {used}", path.display());
        }
    }
}

#[test]
fn files_stay_short() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for path in sources(&src()).into_iter().chain(sources(&tests)) {
        let n_lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(n_lines <= LINES_MAX, "{} has {n_lines} lines", path.display());
    }
}

#[test]
fn only_the_rim_reads_the_environment() {
    for path in sources(&src()) {
        let user = module_of(&path);
        if ["config", "cli", "main", "bench"].contains(&user.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("env::var"), "{} reads the environment", path.display());
    }
}

#[test]
fn the_emulator_is_on_in_the_program_under_test() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_memtide"))
        .args(["demo", "--help"])
        .output()
        .unwrap();
    assert!(help.status.success(), "the demo is missing, and with it the emulator");
}
