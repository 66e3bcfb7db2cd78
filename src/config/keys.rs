//! The table of keys: name, variables of the environment, rule, and the setting that it fills.

use super::form::Form;
use super::settings::Settings;
use std::path::PathBuf;
use std::time::Duration;

/// One key of `config.toml`.
#[derive(Debug)]
pub(super) struct Key {
    /// `section.name`.
    pub(super) name: &'static str,
    /// Variables of the environment that set it; the first one that is set counts.
    pub(super) variables: &'static [&'static str],
    /// What is allowed, and where it goes.
    pub(super) rule: Rule,
}

/// What a value must be, and the setting that it fills.
#[derive(Debug)]
pub(super) enum Rule {
    /// A whole number.
    Whole { min: u64, max: u64, set: fn(&mut Settings, u64) },
    /// A text.
    Text { form: Form, set: fn(&mut Settings, String) },
    /// A text that may be empty, which means that nothing is set.
    Optional { form: Form, set: fn(&mut Settings, Option<String>) },
}

/// A value before it is checked.
#[derive(Debug)]
pub(super) enum Raw<'a> {
    /// From TOML.
    Whole(i64),
    /// From TOML.
    Text(&'a str),
    /// From TOML: neither a text nor a whole number, as it stands there.
    Other(String),
    /// From the environment or an option, where a number is a text too.
    Untyped(&'a str),
}

impl Raw<'_> {
    /// The value for an error message.
    pub(super) fn shown(&self) -> String {
        let start = |text: &str| text.chars().take(60).collect::<String>();
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Text(text) | Self::Untyped(text) => format!("{:?}", start(text)),
            Self::Other(text) => start(text.trim()),
        }
    }
}

impl Key {
    /// Checks `raw`, fills the setting and returns the value as text; `None` if it isn't allowed.
    pub(super) fn apply(&self, raw: &Raw<'_>, settings: &mut Settings) -> Option<String> {
        match (&self.rule, raw) {
            (Rule::Whole { min, max, set }, Raw::Whole(_) | Raw::Untyped(_)) => {
                let number = match raw {
                    Raw::Whole(number) => u64::try_from(*number).ok()?,
                    Raw::Untyped(text) => text.trim().parse().ok()?,
                    Raw::Text(_) | Raw::Other(_) => return None,
                };
                if !(*min..=*max).contains(&number) {
                    return None;
                }
                set(settings, number);
                Some(number.to_string())
            }
            (Rule::Text { form, set }, Raw::Text(text) | Raw::Untyped(text)) => {
                let text = form.check(text.trim())?;
                set(settings, text.clone());
                Some(text)
            }
            (Rule::Optional { form, set }, Raw::Text(text) | Raw::Untyped(text)) => {
                let text = match text.trim() {
                    "" => None,
                    text => Some(form.check(text)?),
                };
                set(settings, text.clone());
                Some(text.unwrap_or_default())
            }
            _ => None,
        }
    }

    /// What is allowed, for `it must be …`.
    pub(super) fn expected(&self) -> String {
        match &self.rule {
            Rule::Whole { min, max, .. } => format!("a whole number from {min} to {max}"),
            Rule::Text { form, .. } => form.expected(),
            Rule::Optional { form, .. } => format!("{}, or empty", form.expected()),
        }
    }
}

/// Finds a key by its name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The names of the keys of a section.
pub(super) fn of_section(section: &str) -> Vec<&'static str> {
    let in_section = |name: &&str| name.strip_prefix(section).is_some_and(|n| n.starts_with('.'));
    KEYS.iter().map(|key| key.name).filter(in_section).collect()
}

/// The known key that `unknown` most likely stands for.
pub(super) fn nearest(unknown: &str) -> Option<&'static str> {
    let unknown: String = unknown.chars().take(100).collect::<String>().to_lowercase();
    let by_variable = KEYS.iter().find(|key| {
        let leaf = unknown.rsplit('.').next().unwrap_or_default();
        key.variables.iter().any(|variable| variable.eq_ignore_ascii_case(leaf))
    });
    if let Some(key) = by_variable {
        return Some(key.name);
    }
    let distance = |name: &str| {
        let leaf = name.rsplit('.').next().unwrap_or_default();
        let whole = strsim::damerau_levenshtein(&unknown, name);
        if unknown.rsplit('.').next() == Some(leaf) { whole.min(1) } else { whole }
    };
    KEYS.iter()
        .map(|key| (distance(key.name), key.name))
        .min()
        .filter(|(distance, _)| *distance <= (unknown.chars().count() / 3).max(2))
        .map(|(_, name)| name)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Every key, in the order of the file of defaults.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "log.filter",
        variables: &["MEMTIDE_LOG"],
        rule: Rule::Text { form: Form::LogFilter, set: |s, text| s.log.filter = text },
    },
    Key {
        name: "limits.text_bytes",
        variables: &[],
        rule: Rule::Whole { min: 1, max: 26_214_400, set: |s, n| s.limits.text_bytes = size(n) },
    },
    Key {
        name: "embedding.model",
        variables: &[],
        rule: Rule::Text {
            form: Form::OneOf(&["all-MiniLM-L6-v2", "bge-small-en-v1.5", "bge-base-en-v1.5"]),
            set: |s, text| s.embedding.model = text,
        },
    },
    Key {
        name: "embedding.threads",
        variables: &[],
        rule: Rule::Whole { min: 1, max: 64, set: |s, n| s.embedding.threads = size(n) },
    },
    Key {
        name: "embedding.fetch",
        variables: &[],
        rule: Rule::Text {
            form: Form::OneOf(&["auto", "never"]),
            set: |s, text| s.embedding.is_fetched = text == "auto",
        },
    },
    Key {
        name: "embedding.hub_url",
        variables: &["HF_ENDPOINT"],
        rule: Rule::Optional { form: Form::Url, set: |s, text| s.embedding.hub_url = text },
    },
    Key {
        name: "embedding.runtime_library",
        variables: &["ORT_DYLIB_PATH"],
        rule: Rule::Optional {
            form: Form::Path,
            set: |s, text| s.embedding.runtime_library = text.map(PathBuf::from),
        },
    },
    Key {
        name: "search.default_mode",
        variables: &[],
        rule: Rule::Text {
            form: Form::OneOf(&["hybrid", "semantic", "keyword", "exact"]),
            set: |s, text| s.search.default_mode = text,
        },
    },
    Key {
        name: "search.default_limit",
        variables: &[],
        rule: Rule::Whole { min: 1, max: 100, set: |s, n| s.search.default_limit = size(n) },
    },
    Key {
        name: "search.mirror_max_mb",
        variables: &[],
        rule: Rule::Whole {
            min: 0,
            max: 1_048_576,
            set: |s, n| s.search.mirror_max_bytes = size(n.saturating_mul(1 << 20)),
        },
    },
    Key {
        name: "replication.alarm_age_hours",
        variables: &[],
        rule: Rule::Whole {
            min: 1,
            max: 8760,
            set: |s, n| s.replication.alarm_age = Duration::from_secs(n.saturating_mul(3600)),
        },
    },
    Key {
        name: "replication.request_budget",
        variables: &[],
        rule: Rule::Whole {
            min: 10,
            max: 1200,
            set: |s, n| s.replication.request_budget = u32::try_from(n).unwrap_or(u32::MAX),
        },
    },
    Key {
        name: "history.keep_versions",
        variables: &[],
        rule: Rule::Whole {
            min: 0,
            max: 10_000,
            set: |s, n| s.history.keep_versions = (n > 0).then_some(size(n)),
        },
    },
    Key {
        name: "history.keep_days",
        variables: &[],
        rule: Rule::Whole {
            min: 0,
            max: 36_500,
            set: |s, n| {
                let keep_for = Duration::from_secs(n.saturating_mul(24 * 3600));
                s.history.keep_for = (n > 0).then_some(keep_for);
            },
        },
    },
    Key {
        name: "cloudflare.api_base_url",
        variables: &["CLOUDFLARE_API_BASE_URL"],
        rule: Rule::Text { form: Form::Url, set: |s, text| s.cloudflare.api_base_url = text },
    },
    Key {
        name: "cloudflare.account_id",
        variables: &["CLOUDFLARE_ACCOUNT_ID"],
        rule: Rule::Optional { form: Form::Name, set: |s, text| s.cloudflare.account_id = text },
    },
    Key {
        name: "cloudflare.d1_database_id",
        variables: &["CLOUDFLARE_D1_DATABASE_ID"],
        rule: Rule::Optional {
            form: Form::Name,
            set: |s, text| s.cloudflare.d1_database_id = text,
        },
    },
    Key {
        name: "cloudflare.vectorize_index",
        variables: &["CLOUDFLARE_VECTORIZE_INDEX"],
        rule: Rule::Optional {
            form: Form::Name,
            set: |s, text| s.cloudflare.vectorize_index = text,
        },
    },
    Key {
        name: "cloudflare.r2_bucket",
        variables: &["CLOUDFLARE_R2_BUCKET"],
        rule: Rule::Optional { form: Form::Name, set: |s, text| s.cloudflare.r2_bucket = text },
    },
    Key {
        name: "cloudflare.embedding_model",
        variables: &["CLOUDFLARE_EMBEDDING_MODEL"],
        rule: Rule::Text {
            form: Form::CloudModel,
            set: |s, text| s.cloudflare.embedding_model = text,
        },
    },
    Key {
        name: "cloudflare.large_content_threshold",
        variables: &["CLOUDFLARE_LARGE_CONTENT_THRESHOLD"],
        rule: Rule::Whole {
            min: 1,
            max: 26_214_400,
            set: |s, n| s.cloudflare.large_content_threshold = size(n),
        },
    },
    Key {
        name: "migrate.database",
        variables: &["MCP_MEMORY_SQLITE_PATH", "MCP_MEMORY_SQLITEVEC_PATH"],
        rule: Rule::Optional {
            form: Form::Path,
            set: |s, text| s.migrate.database = text.map(PathBuf::from),
        },
    },
    Key {
        name: "migrate.base_dir",
        variables: &["MCP_MEMORY_BASE_DIR"],
        rule: Rule::Optional {
            form: Form::Path,
            set: |s, text| s.migrate.base_dir = text.map(PathBuf::from),
        },
    },
    Key {
        name: "migrate.backend",
        variables: &["MCP_MEMORY_STORAGE_BACKEND", "MCP_MEMORY_BACKEND"],
        rule: Rule::Optional { form: Form::Word, set: |s, text| s.migrate.backend = text },
    },
];
