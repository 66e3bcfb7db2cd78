//! What the cloud commands speak to: the account, and the names of what belongs to memtide in it.

use super::super::failure::Failure;
use super::super::session::Session;
use crate::clock::SystemClock;
use crate::remote::budget::Budget;
use crate::remote::cloudflare::Cloudflare;
use crate::remote::error::{Disposition, RemoteError};
use crate::remote::http::HttpTransport;
use crate::remote::provision::{DatabaseName, Names};
use crate::replicate::linking::LinkRefusal;
use secrecy::SecretString;
use std::sync::Arc;

/// Name of the database, the index and the bucket unless configured otherwise.
const DEFAULT_NAME: &str = "memtide";

/// A client of the account with this token.
pub(super) fn client(session: &Session, token: SecretString) -> Result<Cloudflare, Failure> {
    session.config.demand("cloudflare").map_err(Failure::new)?;
    let settings = &session.settings().cloudflare;
    let account = settings.account_id.as_deref().ok_or_else(|| {
        Failure::new("no Cloudflare account is named").with_hint(
            "set CLOUDFLARE_ACCOUNT_ID, or `memtide config set cloudflare.account_id ID`; the dashboard's address shows it",
        )
    })?;
    let transport = HttpTransport::new(&settings.api_base_url, token).map_err(Failure::new)?;
    Ok(Cloudflare::new(Arc::new(transport), account, SystemClock::shared(), Budget::default()))
}

/// The names to look for.
pub(super) fn names(session: &Session) -> Names {
    let settings = &session.settings().cloudflare;
    let or_default =
        |name: &Option<String>| name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
    Names {
        database: settings
            .d1_database_id
            .clone()
            .map_or_else(|| DatabaseName::Name(DEFAULT_NAME.to_owned()), DatabaseName::Id),
        index: or_default(&settings.vectorize_index),
        bucket: Some(or_default(&settings.r2_bucket)),
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Self::new(&error).with_hint(hint(&error))
    }
}

impl From<LinkRefusal> for Failure {
    fn from(refusal: LinkRefusal) -> Self {
        match refusal {
            LinkRefusal::Remote(error) => error.into(),
            other => Self::new(other),
        }
    }
}

/// What the person can do. The daemon tries again by itself; a command that was typed doesn't.
pub(super) fn hint(error: &RemoteError) -> String {
    if matches!(error.disposition, Disposition::Retry | Disposition::RetryAfter(_)) {
        "check the network connection, then repeat the command".to_owned()
    } else {
        error.hint.to_string()
    }
}
