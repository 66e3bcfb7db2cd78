//! The facts about a database that every device must agree on: `mt_meta`.

use super::contract::Contract;
use super::d1::{D1, Statement};
use super::error::{Disposition, Pause, Product, RemoteError};
use super::schema;

const EXISTS: &str = "SELECT count(*) AS n FROM sqlite_master WHERE name = 'mt_meta'";
const READ: &str = "SELECT k, v FROM mt_meta";
const WRITE: &str = "INSERT OR IGNORE INTO mt_meta(k, v) VALUES (?1, ?2)";

/// What `mt_meta` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Version of the side tables.
    pub schema: u32,
    /// The database's own name for itself, made once: another one under the same address is another
    /// database.
    pub database: String,
    /// What vectors the index holds; `None` if nobody has said.
    pub contract: Option<Contract>,
}

/// Reads it; `None` where memtide has made nothing yet.
///
/// # Errors
/// The request failed, or a newer memtide has written there.
pub async fn read(d1: &D1) -> Result<Option<Meta>, RemoteError> {
    let exists = d1.run(Statement::plain(EXISTS)).await?;
    if exists.first().and_then(|row| row.integer("n")) != Some(1) {
        return Ok(None);
    }
    let rows = d1.run(Statement::plain(READ)).await?;
    let find = |key: &str| {
        let mut found = rows.rows().filter(|row| row.text("k") == Some(key));
        found.next().and_then(|row| row.text("v"))
    };
    let (Some(version), Some(database)) = (find("schema"), find("database")) else {
        return Ok(None);
    };
    let schema = version.parse().map_err(|_| unusable(&format!("schema version {version:?}")))?;
    if schema > schema::VERSION {
        let what = format!("schema version {schema}, this memtide knows {}", schema::VERSION);
        return Err(unusable(&what));
    }
    let contract = find("contract").map(Contract::from_json).transpose();
    let contract = contract.map_err(|error| unusable(&error.to_string()))?;
    Ok(Some(Meta { schema, database: database.to_owned(), contract }))
}

/// Writes what isn't there yet, and reads what then is: where two devices do this at once, both see
/// the values of the first.
///
/// # Errors
/// As [`read`].
pub async fn write(d1: &D1, database: &str, contract: &Contract) -> Result<Meta, RemoteError> {
    let row =
        |key: &str, value: String| Statement::new(WRITE, vec![Some(key.to_owned()), Some(value)]);
    d1.batch(&[
        row("schema", schema::VERSION.to_string()),
        row("database", database.to_owned()),
        row("contract", contract.to_json()),
    ])
    .await?;
    read(d1).await?.ok_or_else(|| RemoteError::unreadable(Product::D1, "mt_meta is empty"))
}

fn unusable(what: &str) -> RemoteError {
    RemoteError::local(
        Product::D1,
        Disposition::Pause(Pause::Misconfigured),
        &format!("the database was set up by another memtide: {what}"),
        "update memtide on this device, or link another database with `memtide cloud link`",
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{execute, sqlite};
    use super::*;
    use crate::model::space::Space;

    fn local() -> Contract {
        Contract::local(Space::new("m", "r", "mean", 256, 384)).expect("dimensions")
    }

    #[tokio::test]
    async fn the_first_writer_decides() {
        let (d1, _) = sqlite("");
        assert_eq!(read(&d1).await.expect("a look"), None);
        schema::create(&d1).await.expect("created");
        assert_eq!(read(&d1).await.expect("a look"), None, "tables without facts");
        let first = write(&d1, "uuid-1", &local()).await.expect("written");
        assert_eq!((first.database.as_str(), first.contract.as_ref()), ("uuid-1", Some(&local())));
        let second = write(&d1, "uuid-2", &Contract::python()).await.expect("read");
        assert_eq!(second, first);
    }

    #[tokio::test]
    async fn what_a_newer_memtide_wrote_is_not_touched() {
        let (d1, _) = sqlite("");
        schema::create(&d1).await.expect("created");
        write(&d1, "uuid-1", &local()).await.expect("written");
        execute(&d1, "UPDATE mt_meta SET v = '2' WHERE k = 'schema'", &[]).await;
        let error = read(&d1).await.expect_err("newer");
        assert_eq!(error.disposition, Disposition::Pause(Pause::Misconfigured));
        assert!(error.hint.contains("update memtide"), "{}", error.hint);
        execute(&d1, "UPDATE mt_meta SET v = '1' WHERE k = 'schema'", &[]).await;
        execute(&d1, "UPDATE mt_meta SET v = '{\"v\":9}' WHERE k = 'contract'", &[]).await;
        assert!(read(&d1).await.expect_err("newer").message.contains("form 9"));
    }
}
