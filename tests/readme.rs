//! Keeps the README true: the commands, settings, problems and routes that it names are those that there
//! are, and none is missing.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what isn't as expected fails the test"
)]

use clap::{CommandFactory as _, ValueEnum as _};
use memtide::cli::args::{Args, BenchKind};
use memtide::config::Config;
use memtide::mcp::ToolSet;
use memtide::replicate::progress::SyncState;
use memtide::store::error::StoreError;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text from a heading to the next one of the same rank.
fn section<'a>(readme: &'a str, heading: &str) -> &'a str {
    let start = format!("\n## {heading}\n");
    let (_, rest) = readme.split_once(&start).unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap()
}

/// What stands between backticks, code blocks aside.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

/// The first cells of the rows of all tables, without their backticks.
fn first_cells(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next())
}

/// Cells of the row of a table that begins with this cell.
fn row<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let start = format!("| `{first}` |");
    let line = text.lines().find(|line| line.starts_with(&start));
    line.unwrap_or_default().split('|').map(str::trim).collect()
}

/// What is typed after `memtide` anywhere in the text, up to the first option or argument: in code
/// spans, on command lines, and what `cargo run` passes on.
fn typed(readme: &str) -> Vec<Vec<String>> {
    let spans = code_spans(readme).filter_map(|span| span.strip_prefix("memtide "));
    let lines = readme.lines().filter_map(|line| line.strip_prefix("$ memtide "));
    let passed = readme.lines().chain(code_spans(readme)).filter_map(|line| {
        let (_, rest) = line.strip_prefix("cargo run ")?.split_once(" -- ")?;
        rest.split('#').next()
    });
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
    spans
        .chain(lines)
        .chain(passed)
        .map(|rest| rest.split_whitespace().take_while(is_name).map(str::to_owned).collect())
        .filter(|words: &Vec<String>| !words.is_empty())
        .collect()
}

#[test]
fn every_command_of_the_readme_exists_and_every_command_is_in_it() {
    let readme = file("README.md");
    let mut root = Args::command();
    root.build();
    let named = typed(&readme);
    assert!(named.len() > 30, "the commands were not found: {named:?}");
    for words in &named {
        if let [bench, what, ..] = words.as_slice()
            && bench == "bench"
        {
            assert!(BenchKind::from_str(what, false).is_ok(), "README: memtide bench {what}");
            continue;
        }
        let mut command = &root;
        for word in words {
            match command.find_subcommand(word) {
                Some(found) => command = found,
                // A word that is no subcommand must be an argument.
                None if command.has_subcommands() => panic!("README: memtide {}", words.join(" ")),
                None => break,
            }
        }
    }
    let first: BTreeSet<&str> = named.iter().map(|words| words.first().unwrap().as_str()).collect();
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        assert!(first.contains(command.get_name()), "README lacks {}", command.get_name());
    }
    for parent in ["backup", "cloud", "outbox", "model", "config"] {
        let line = readme.lines().find(|line| line.starts_with(&format!("| `memtide {parent}` |")));
        for child in root.find_subcommand(parent).unwrap().get_subcommands() {
            let name = format!("`{}", child.get_name());
            assert!(line.unwrap().contains(&name), "README lacks {parent} {}", child.get_name());
        }
    }
}

#[test]
fn the_table_of_settings_is_the_file_of_defaults() {
    let readme = file("README.md");
    let table = section(&readme, "Configuration");
    let config = Config::defaults().unwrap();
    let keys: BTreeSet<&str> = config.origins().map(|entry| entry.key).collect();
    let settings = table.split("\n| file |").next().unwrap();
    let shown: BTreeSet<&str> = first_cells(settings).collect();
    assert_eq!(shown, keys);
    // Where the table shows a value, it is the default.
    for entry in config.origins() {
        let cells = row(table, entry.key);
        let default = cells.get(2).copied().unwrap_or_default();
        let is_value = default.starts_with('`') || default.chars().all(|c| c.is_ascii_digit());
        if is_value && !default.contains(',') && !entry.value.is_empty() {
            assert_eq!(default.trim_matches('`'), entry.value, "{}", entry.key);
        } else {
            let in_words =
                ["", "`memtide`", "`memtide`, if there", "one named `memtide`", "Cloudflare's"];
            assert!(in_words.contains(&default), "{}: {default}", entry.key);
        }
    }
}

#[test]
fn the_variables_of_the_settings_are_those_of_the_file_of_defaults() {
    let readme = file("README.md");
    let table = section(&readme, "Configuration");
    let (mut section_name, mut variables, mut n_checked) = ("", Vec::new(), 0);
    for line in memtide::config::DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section_name = name;
        } else if let Some(names) = line.strip_prefix("# Environment: ") {
            variables = names.split(", ").map(|name| format!("`{name}`")).collect();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let cells = row(table, &format!("{section_name}.{key}"));
            assert_eq!(cells.get(3).copied(), Some(variables.join(", ").as_str()), "{key}");
            n_checked += variables.len();
            variables.clear();
        }
    }
    assert!(n_checked > 10, "the variables were not found");
}

/// The codes that `status` can give: read from the code that gives them, since they are words there.
fn problem_codes() -> BTreeSet<String> {
    let status = file("src/api/status.rs");
    let mut codes = BTreeSet::new();
    for call in status.split("problem(").skip(1) {
        if let Some((code, _)) = call.trim_start().strip_prefix('"').and_then(|c| c.split_once('"'))
        {
            codes.insert(code.to_owned());
        }
    }
    assert!(codes.len() >= 5, "the problems were not found: {codes:?}");
    // The two that take their code from elsewhere.
    let said = |text: &str| assert!(status.contains(text), "{text} is no longer in status.rs");
    said("problem(fault.code,");
    let faults = [
        StoreError::DiskFull,
        StoreError::Corrupt(String::new()),
        StoreError::Io(String::new()),
        StoreError::Closed,
    ];
    codes.extend(faults.iter().map(|fault| fault.code().to_owned()));
    said("problem(progress.state.as_str(),");
    let stuck = status.split("let is_stuck =").nth(1).and_then(|rest| rest.split(';').next());
    let stuck = stuck.expect("the states that are problems");
    let states = [
        SyncState::Idle,
        SyncState::Syncing,
        SyncState::BackingOff,
        SyncState::Offline,
        SyncState::Paused,
        SyncState::AuthRequired,
        SyncState::Quota,
        SyncState::Misconfigured,
    ];
    let is_problem = |state: &&SyncState| stuck.contains(&format!("SyncState::{state:?}"));
    let found: Vec<&str> = states.iter().filter(is_problem).map(|state| state.as_str()).collect();
    assert!(found.contains(&"auth_required"), "the states that are problems were not found");
    codes.extend(found.into_iter().map(str::to_owned));
    codes
}

#[test]
fn every_problem_and_every_field_of_the_status_is_explained() {
    let readme = file("README.md");
    let text = section(&readme, "Status");
    let problems: BTreeSet<&str> = text
        .split("| problem |")
        .nth(1)
        .and_then(|rest| rest.split("\n\n").next())
        .map(|table| first_cells(table).collect())
        .expect("a table of problems");
    let mut codes = problem_codes();
    // Told by the command itself.
    assert!(file("src/cli/status.rs").contains("\"no_daemon\""));
    codes.insert("no_daemon".to_owned());
    assert_eq!(problems, codes.iter().map(String::as_str).collect());

    let states = text.split("| state |").nth(1).expect("a table of states");
    let sync = file("src/replicate/progress.rs");
    let embedder = file("src/embed/status.rs");
    let mut n_states = 0;
    for state in [&sync, &embedder].iter().flat_map(|code| code.split("=> \"").skip(1)) {
        let state = state.split('"').next().unwrap();
        if state.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            assert!(states.contains(&format!("`{state}`")), "README lacks the state {state}");
            n_states += 1;
        }
    }
    assert!(n_states >= 13, "the states were not found");
}

#[test]
fn the_routes_of_the_readme_are_those_of_the_server() {
    let readme = file("README.md");
    let text = section(&readme, "HTTP API");
    let mut shown = BTreeSet::new();
    for span in code_spans(text).filter_map(|span| span.split_once(" /").or(Some(("", span)))) {
        let path = if span.0.is_empty() { continue } else { format!("/{}", span.1) };
        match path.split_once("{link,").and_then(|(start, rest)| {
            Some((start.to_owned(), format!("link,{}", rest.strip_suffix('}')?)))
        }) {
            Some((start, names)) => {
                shown.extend(names.split(',').map(|name| format!("{start}{name}")));
            }
            None => {
                shown.insert(path);
            }
        }
    }
    let server = file("src/api/server.rs");
    let routes: BTreeSet<String> = server
        .split(".route(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect();
    assert!(routes.len() > 15, "the routes were not found");
    assert_eq!(shown, routes);
}

#[test]
fn every_tool_and_prompt_is_in_the_readme() {
    let readme = file("README.md");
    let clients = section(&readme, "Connect a client");
    let coming = section(&readme, "Coming from mcp-memory-service");
    let shown = |text, name: &str| first_cells(text).any(|cell| cell == name);
    for name in ToolSet::Full.names().into_iter().chain(ToolSet::Lean.names()) {
        assert!(shown(clients, name), "README lacks {name}");
    }
    for name in ToolSet::Legacy.names() {
        assert!(shown(coming, name), "README lacks {name}");
    }
    let prompts = ToolSet::Full.prompts();
    assert_eq!(prompts.len(), 5);
    for name in prompts {
        assert!(code_spans(clients).any(|span| span == name), "README lacks the prompt {name}");
    }
}

/// A promise names its tests as sentences: with underscores, the sentence is the name of the function.
#[test]
fn every_promise_is_held_by_tests_that_exist() {
    let readme = file("README.md");
    let text = section(&readme, "Promises").split("\n### ").next().unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 7, "the promises were not found: {rows:?}");
    for row in rows {
        let mut n_tests = 0;
        for link in row.split('[').skip(1) {
            let (name, rest) = link.split_once("](").unwrap_or_else(|| panic!("no link: {link}"));
            let path = rest.split(')').next().unwrap();
            let function = format!("fn {}(", name.replace(' ', "_"));
            let code = file(path);
            let place = code.find(&function);
            let before = &code[..place.unwrap_or_else(|| panic!("{path} has no {function}"))];
            let attribute = before.trim_end().trim_end_matches("async").trim_end();
            assert!(attribute.ends_with("test]"), "{function} of {path} is no test");
            n_tests += 1;
        }
        assert!(n_tests > 0, "nothing holds {row}");
    }
}

#[test]
fn the_documents_link_to_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut n_links = 0;
    for name in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = file(name);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if let Some(anchor) = link.strip_prefix('#') {
                let heading = |line: &str| {
                    line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-") == anchor
                };
                assert!(text.lines().any(|line| line.starts_with('#') && heading(line)), "{link}");
            } else if !link.starts_with("http") {
                assert!(root.join(link).exists(), "{name} links to {link}");
            }
            n_links += 1;
        }
    }
    assert!(n_links > 5, "the links were not found");
}
