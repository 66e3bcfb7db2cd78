//! What an emulated account is made with.

use super::faults::Rule;
use super::tokens::Token;
use std::path::PathBuf;
use std::time::Duration;

/// The choices that make an account; see [`Options::default`] for the usual one.
#[derive(Debug, Clone)]
pub struct Options {
    /// The account's id, 32 hex digits.
    pub account_id: String,
    /// The tokens that the account knows.
    pub tokens: Vec<Token>,
    /// The plan's limits.
    pub limits: Limits,
    /// How long an accepted vector stays invisible.
    pub vectorize_delay: Duration,
    /// Whether the account has R2 switched on; without it every call is 403 with code 10042.
    pub r2_enabled: bool,
    /// Where D1 databases lie as files; in memory if `None`.
    pub d1_folder: Option<PathBuf>,
    /// Faults from the start.
    pub faults: Vec<Rule>,
}

impl Options {
    /// The secret of the default token.
    pub const TOKEN: &str = "emulated-user-token-with-every-permission";
    /// The id of the default account.
    pub const ACCOUNT_ID: &str = "00c0ffee00c0ffee00c0ffee00c0ffee";
}

impl Default for Options {
    /// A paid account with one user token that may do everything; vectors are visible after 20 s,
    /// the order of Vectorize's documented median.
    fn default() -> Self {
        Self {
            account_id: Self::ACCOUNT_ID.to_owned(),
            tokens: vec![Token::user(Self::TOKEN)],
            limits: Limits::paid(),
            vectorize_delay: Duration::from_secs(20),
            r2_enabled: true,
            d1_folder: None,
            faults: Vec::new(),
        }
    }
}

/// What a plan allows. `None` means unlimited as far as the emulator goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// API calls in five minutes, per user or account token.
    pub requests_per_5min: Option<u32>,
    /// Bytes of one D1 database.
    pub d1_database_bytes: u64,
    /// D1 databases of the account.
    pub d1_databases: usize,
    /// Rows that D1 may read in one UTC day.
    pub d1_rows_read_per_day: Option<u64>,
    /// Rows that D1 may write in one UTC day.
    pub d1_rows_written_per_day: Option<u64>,
    /// Vectorize indexes of the account.
    pub vectorize_indexes: usize,
    /// Neurons that Workers AI may spend in one UTC day.
    pub neurons_per_day: Option<u64>,
}

impl Limits {
    /// The Workers Paid plan, as Cloudflare documents it.
    pub fn paid() -> Self {
        Self {
            requests_per_5min: Some(1_200),
            d1_database_bytes: 10_000_000_000,
            d1_databases: 50_000,
            d1_rows_read_per_day: None,
            d1_rows_written_per_day: None,
            vectorize_indexes: 50_000,
            neurons_per_day: None,
        }
    }

    /// The Free plan, as Cloudflare documents it.
    pub fn free() -> Self {
        Self {
            requests_per_5min: Some(1_200),
            d1_database_bytes: 500_000_000,
            d1_databases: 10,
            d1_rows_read_per_day: Some(5_000_000),
            d1_rows_written_per_day: Some(100_000),
            vectorize_indexes: 100,
            neurons_per_day: Some(10_000),
        }
    }
}
