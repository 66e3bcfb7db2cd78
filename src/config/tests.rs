use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

fn load(text: &str, variables: &[(&str, &str)], flags: &[Flag]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("config.toml");
    fs::write(&path, text).expect("written");
    let env = |name: &str| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    };
    Config::load(&path, &env, flags)
}

/// The sentence without the folder of the test's file.
fn sentence(text: &str) -> String {
    let error = load(text, &[], &[]).expect_err(text).to_string();
    let at = error.find("config.toml").expect("the file is named");
    error[at..].to_owned()
}

fn nothing(_: &str) -> Option<OsString> {
    None
}

#[test]
fn the_file_of_defaults_and_the_table_of_keys_agree() {
    let config = Config::defaults().expect("valid");
    let listed: Vec<&str> = config.origins().map(|entry| entry.key).collect();
    let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(listed, known);
    assert!(config.origins().all(|entry| entry.origin == Origin::Default));
    let mut above: Vec<&str> = Vec::new();
    for line in DEFAULTS.lines() {
        if line.starts_with('#') {
            above.push(line);
        } else if let Some((name, _)) = line.split_once(" = ") {
            let comment = above.join(" ");
            let key = KEYS.iter().find(|key| key.name.ends_with(&format!(".{name}")));
            assert!(!comment.is_empty(), "{name} has no comment");
            for variable in key.expect(name).variables {
                assert!(comment.contains(variable), "{variable} is not named above {name}");
            }
            above.clear();
        } else {
            above.clear();
        }
    }
}

#[test]
fn defaults_are_those_of_the_interface() {
    let config = Config::load(Path::new("/nonexistent/config.toml"), &nothing, &[]);
    let config = config.expect("a missing file is empty");
    let settings = config.settings();
    assert_eq!(settings.limits.text_bytes, crate::model::draft::TEXT_DEFAULT_BYTES);
    assert_eq!(settings.replication.alarm_age, Duration::from_hours(24));
    assert_eq!(settings.replication.request_budget, 600);
    assert_eq!(settings.cloudflare.api_base_url, "https://api.cloudflare.com/client/v4");
    assert_eq!(settings.cloudflare.large_content_threshold, 1_048_576);
    assert_eq!(settings.cloudflare.account_id, None);
    assert_eq!(settings.search.default_mode, "hybrid");
    assert_eq!(settings.history.keep_for, Some(Duration::from_hours(30 * 24)));
}

#[test]
fn the_upper_limit_of_texts_is_the_models() {
    let max = crate::model::draft::TEXT_MAX_BYTES;
    let config = load(&format!("limits.text_bytes = {max}"), &[], &[]).expect("allowed");
    assert_eq!(config.settings().limits.text_bytes, max);
    assert!(load(&format!("limits.text_bytes = {}", max + 1), &[], &[]).is_err());
}

#[test]
fn later_layers_win_and_values_know_their_layer() {
    let text =
        "[log]\nfilter = \"warn\"\n[cloudflare]\naccount_id = \"from-file\"\nr2_bucket = \"b\"\n";
    let variables = [("MEMTIDE_LOG", "error"), ("CLOUDFLARE_ACCOUNT_ID", " from-env\n")];
    let flag = Flag { key: "log.filter", name: "--log", value: "trace".to_owned() };
    let config = load(text, &variables, &[flag]).expect("valid");
    let settings = config.settings();
    assert_eq!(settings.log.filter, "trace");
    assert_eq!(settings.cloudflare.account_id.as_deref(), Some("from-env"));
    assert_eq!(settings.cloudflare.r2_bucket.as_deref(), Some("b"));
    let origin = |key: &str| config.entry(key).expect(key).origin.to_string();
    assert_eq!(origin("log.filter"), "option --log");
    assert_eq!(origin("cloudflare.account_id"), "environment variable CLOUDFLARE_ACCOUNT_ID");
    assert!(origin("cloudflare.r2_bucket").ends_with("config.toml:5"));
    assert_eq!(origin("search.default_limit"), "default");
    assert_eq!(config.entry("cloudflare.account_id").expect("known").value, "from-env");
}

#[test]
fn an_empty_variable_is_no_variable_and_the_first_one_set_counts() {
    let variables = [
        ("CLOUDFLARE_ACCOUNT_ID", ""),
        ("MCP_MEMORY_SQLITE_PATH", ""),
        ("MCP_MEMORY_SQLITEVEC_PATH", "/old/sqlite_vec.db"),
        ("MCP_MEMORY_STORAGE_BACKEND", "hybrid"),
        ("MCP_MEMORY_BACKEND", "cloudflare"),
    ];
    let config = load("cloudflare.account_id = \"a\"", &variables, &[]).expect("valid");
    assert_eq!(config.settings().cloudflare.account_id.as_deref(), Some("a"));
    let migrate = &config.settings().migrate;
    assert_eq!(migrate.database.as_deref(), Some(Path::new("/old/sqlite_vec.db")));
    assert_eq!(migrate.backend.as_deref(), Some("hybrid"));
}

#[test]
fn every_variable_reaches_its_key() {
    let fitting = BTreeMap::from([
        ("log.filter", "debug"),
        ("embedding.hub_url", "https://mirror.example.com"),
        ("embedding.runtime_library", "/opt/libonnxruntime.so"),
        ("cloudflare.api_base_url", "http://127.0.0.1:9/client/v4"),
        ("cloudflare.embedding_model", "@cf/baai/bge-small-en-v1.5"),
        ("cloudflare.large_content_threshold", "4096"),
        ("migrate.database", "/p/sqlite_vec.db"),
        ("migrate.base_dir", "/p"),
    ]);
    for key in KEYS {
        for variable in key.variables {
            let value = fitting.get(key.name).copied().unwrap_or("some-name");
            let config = load("", &[(variable, value)], &[]).expect(variable);
            let entry = config.entry(key.name).expect("known");
            assert_eq!(
                (entry.value.as_str(), &entry.origin),
                (value, &Origin::Environment(variable))
            );
        }
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    for (text, expected) in [
        (
            "[limits]\ntext_byte = 5",
            "config.toml:2: unknown key `limits.text_byte`; did you mean `limits.text_bytes`?",
        ),
        (
            "text_bytes = 5",
            "config.toml:1: unknown key `text_bytes`; did you mean `limits.text_bytes`?",
        ),
        (
            "[serach]\ndefault_mode = \"exact\"",
            "config.toml:1: unknown key `serach.default_mode`; did you mean `search.default_mode`?",
        ),
        (
            "CLOUDFLARE_R2_BUCKET = \"x\"",
            "config.toml:1: unknown key `CLOUDFLARE_R2_BUCKET`; did you mean `cloudflare.r2_bucket`?",
        ),
        (
            "colour = true",
            "config.toml:1: unknown key `colour`; `memtide config show` lists the keys",
        ),
        ("[empty]", "config.toml:1: unknown key `empty`; `memtide config show` lists the keys"),
        (
            "[[log]]\nfilter = \"info\"",
            "config.toml:1: `log` is a section, not a value; its keys are log.filter",
        ),
        (
            "[cloudflare]\napi_token = \"SECRET\"",
            "config.toml:2: unknown key `cloudflare.api_token`; the API token is kept apart from the settings, `memtide cloud link` asks for it",
        ),
        (
            "search = 3",
            "config.toml:1: `search` is a section, not a value; its keys are search.default_mode, search.default_limit, search.mirror_max_mb",
        ),
    ] {
        assert_eq!(sentence(text), expected);
    }
    let config = Config::defaults().expect("valid");
    let error = config.entry("log.fliter").expect_err("unknown").to_string();
    assert_eq!(error, "unknown key `log.fliter`; did you mean `log.filter`?");
}

#[test]
fn a_bad_value_is_named_with_what_is_allowed() {
    for (text, expected) in [
        (
            "limits.text_bytes = 0",
            "`limits.text_bytes` is 0, it must be a whole number from 1 to 26214400",
        ),
        (
            "limits.text_bytes = -1",
            "`limits.text_bytes` is -1, it must be a whole number from 1 to 26214400",
        ),
        (
            "limits.text_bytes = \"9\"",
            "`limits.text_bytes` is \"9\", it must be a whole number from 1 to 26214400",
        ),
        (
            "embedding.threads = 1.5",
            "`embedding.threads` is 1.5, it must be a whole number from 1 to 64",
        ),
        (
            "embedding.threads = true",
            "`embedding.threads` is true, it must be a whole number from 1 to 64",
        ),
        (
            "[log.filter]\nx = 1",
            "`log.filter` is a section, it must be a level (error, warn, info, debug, trace) or `target=level` pairs with commas between them",
        ),
        (
            "log.filter = [\"info\"]",
            "`log.filter` is a list, it must be a level (error, warn, info, debug, trace) or `target=level` pairs with commas between them",
        ),
        (
            "search.default_mode = \"fuzzy\"",
            "`search.default_mode` is \"fuzzy\", it must be hybrid, semantic, keyword or exact",
        ),
        (
            "cloudflare.account_id = \"a/b\"",
            "`cloudflare.account_id` is \"a/b\", it must be 1 to 64 letters (a to z), digits, hyphens and underscores, or empty",
        ),
        (
            "cloudflare.api_base_url = \"http://example.com\"",
            "`cloudflare.api_base_url` is \"http://example.com\", it must be an https:// address without user, query or fragment, or plain http:// to localhost, 127.0.0.1 or [::1]",
        ),
        (
            "migrate.database = \"x.db\"",
            "`migrate.database` is \"x.db\", it must be an absolute path, or empty",
        ),
    ] {
        assert_eq!(sentence(text), format!("config.toml:1: {expected}"));
    }
    assert!(sentence("a = 1\na = 2").starts_with("config.toml:2: not valid TOML: duplicate key"));
    let flag = Flag { key: "search.default_limit", name: "-n", value: "many".to_owned() };
    let error = load("", &[], &[flag]).expect_err("no number").to_string();
    assert_eq!(
        error,
        "option -n: `search.default_limit` is \"many\", it must be a whole number from 1 to 100"
    );
}

#[test]
fn files_that_can_not_be_read_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let error = Config::load(folder.path(), &nothing, &[]).expect_err("a folder").to_string();
    assert!(error.contains("can't be read"), "{error}");
    let path = folder.path().join("config.toml");
    fs::write(&path, b"# caf\xe9\n").expect("written");
    let error = Config::load(&path, &nothing, &[]).expect_err("latin-1").to_string();
    assert!(error.ends_with("is not valid UTF-8 at byte 5; save it as UTF-8"), "{error}");
}

#[test]
fn other_programs_variables_are_set_aside_until_they_are_needed() {
    let variables = [("CLOUDFLARE_API_BASE_URL", "http://example.com"), ("HF_ENDPOINT", "mirror")];
    let config = load("", &variables, &[]).expect("a stray variable stops nothing");
    let settings = config.settings();
    assert_eq!(settings.cloudflare.api_base_url, "https://api.cloudflare.com/client/v4");
    assert_eq!(config.entry("cloudflare.api_base_url").expect("known").origin, Origin::Default);
    assert_eq!(config.ignored().len(), 2);
    let error = config.demand("cloudflare").expect_err("needed here").to_string();
    assert!(
        error.starts_with(
            "environment variable CLOUDFLARE_API_BASE_URL: `cloudflare.api_base_url` is"
        ),
        "{error}"
    );
    assert!(config.demand("embedding.hub_url").is_err());
    assert!(config.demand("embedding.model").is_ok());
    assert!(config.demand("cloud").is_ok(), "half a name is another section");

    let error = load("", &[("MEMTIDE_LOG", "x=loud")], &[]).expect_err("our own").to_string();
    assert!(
        error.starts_with("environment variable MEMTIDE_LOG: `log.filter` is \"x=loud\""),
        "{error}"
    );
}

#[test]
fn variables_must_be_utf_8() {
    let env = |name: &str| {
        matches!(name, "CLOUDFLARE_R2_BUCKET").then(|| OsString::from_vec(vec![b'a', 0xff]))
    };
    let config = Config::load(Path::new("/nonexistent"), &env, &[]).expect("set aside");
    assert_eq!(
        config.demand("cloudflare").expect_err("needed").to_string(),
        "environment variable CLOUDFLARE_R2_BUCKET is not valid UTF-8; set it again or unset it"
    );
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused(
        lines in proptest::collection::vec(
            (proptest::sample::select(vec![
                "[log]", "[[search]]", "log.filter = ", "[cloudflare", "default_limit = ",
                "limits = { text_bytes = ", "a.b.c = ", "\"\u{1}\" = ", "search.\"default mode\" = ",
            ]), ".{0,12}"),
            0..5,
        ),
    ) {
        let lines: Vec<String> = lines.iter().map(|(start, rest)| format!("{start}{rest}")).collect();
        let text = lines.join("\n");
        if let Err(error) = load(&text, &[], &[]) {
            let error = error.to_string();
            prop_assert!(error.contains("config.toml:"), "{}", error);
            prop_assert!(!error.contains('\n'), "{}", error);
        }
    }
}
