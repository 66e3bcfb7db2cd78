//! D1: SQL databases under `/accounts/{a}/d1/database`.
//!
//! Each database is a `SQLite` of its own, and one call is one transaction. Row counts of `meta`
//! are close to Cloudflare's, not equal: see [`meter`].

mod authorizer;
mod database;
mod errors;
mod limits;
mod meter;
mod split;
mod values;
mod world;

use super::call::Call;
use super::chance::Chance;
use super::envelope::{self, Failure};
use super::options::Limits;
use super::tokens::Permission;
use crate::clock::{Micros, SharedClock};
use bytes::Bytes;
use database::{Ask, Database, Ran};
use http::{Method, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The databases of an account.
pub(super) struct Databases {
    clock: SharedClock,
    folder: Option<PathBuf>,
    limits: Limits,
    list: Vec<Database>,
    today: Today,
}

/// What the account has used since the last midnight in UTC.
#[derive(Default)]
struct Today {
    day: i64,
    rows_read: u64,
    rows_written: u64,
}

impl Today {
    fn roll(&mut self, now: Micros) {
        let day = now.0.div_euclid(86_400_000_000);
        if day != self.day {
            *self = Self { day, ..Self::default() };
        }
    }
}

#[derive(Deserialize)]
struct Creation {
    name: String,
}

#[derive(Deserialize)]
struct Query {
    sql: Option<String>,
    params: Option<Vec<Value>>,
    batch: Option<Vec<Single>>,
}

#[derive(Deserialize)]
struct Single {
    sql: String,
    params: Option<Vec<Value>>,
}

impl Databases {
    pub(super) fn new(clock: SharedClock, folder: Option<PathBuf>, limits: Limits) -> Self {
        Self { clock, folder, limits, list: Vec::new(), today: Today::default() }
    }

    /// Rows written since the last midnight in UTC, as `meta` counts them.
    pub(super) fn rows_written_today(&self) -> u64 {
        self.today.rows_written
    }

    /// The database with this name or id.
    pub(super) fn find(&mut self, name_or_id: &str) -> Option<&mut Database> {
        self.list.iter_mut().find(|db| db.uuid == name_or_id || db.name == name_or_id)
    }

    pub(super) fn route(
        &mut self,
        call: &Call<'_>,
        rest: &[&str],
        chance: &mut Chance,
    ) -> Result<Response<Bytes>, Failure> {
        self.today.roll(call.now);
        let reads = matches!(*call.method, Method::GET);
        call.need(if reads { Permission::D1Read } else { Permission::D1Write })?;
        match rest {
            [] if reads => Ok(self.listed(call)),
            [] if call.method == Method::POST => {
                let ask: Creation = call.json().map_err(|error| malformed(&error))?;
                self.create(&ask.name, chance).map(|id| self.described(&id)).map(envelope::success)
            }
            [id] if reads => {
                self.known(id)?;
                Ok(envelope::success(self.described(id)))
            }
            [id] if call.method == Method::DELETE => {
                self.known(id)?;
                self.list.retain(|db| db.uuid != *id);
                Ok(envelope::success(Value::Null))
            }
            [id, form @ ("query" | "raw")] if call.method == Method::POST => {
                self.query(call, id, *form == "raw")
            }
            [id, "time_travel", "bookmark"] if reads => {
                let at = instant(call, "timestamp")?;
                let bookmark = self.known(id)?.bookmark(at, call.now, chance)?;
                Ok(envelope::success(json!({"bookmark": bookmark})))
            }
            [id, "time_travel", "restore"] if call.method == Method::POST => {
                self.restore(call, id, chance)
            }
            [] | [_] | [_, "query" | "raw"] => Err(call.no_method()),
            _ => Err(call.no_route()),
        }
    }

    /// Creates a database and returns its id.
    pub(super) fn create(&mut self, name: &str, chance: &mut Chance) -> Result<String, Failure> {
        if name.is_empty() {
            return Err(Failure::new(400, 7400, "Invalid property: name => String is empty"));
        }
        if self.list.iter().any(|db| db.name == name) {
            return Err(Failure::new(400, 7502, "A database with that name already exists"));
        }
        if self.list.len() >= self.limits.d1_databases {
            let text = format!("You have reached the limit of {} databases", self.list.len());
            return Err(Failure::new(400, 7406, text));
        }
        let uuid = chance.uuid();
        let file = self.folder.as_ref().map(|folder| folder.join(format!("{uuid}.sqlite")));
        if let Some(file) = &file {
            fresh(file)
                .map_err(|error| Failure::new(500, 7500, format!("{}: {error}", file.display())))?;
        }
        let made = Database::create(
            &uuid,
            name,
            &self.clock,
            file.as_deref(),
            self.limits.d1_database_bytes,
        );
        self.list.push(made.map_err(|error| Failure::new(500, 7500, error.to_string()))?);
        Ok(uuid)
    }

    fn known(&mut self, id: &str) -> Result<&mut Database, Failure> {
        self.list
            .iter_mut()
            .find(|db| db.uuid == id)
            .ok_or_else(|| Failure::new(404, 7404, format!("The database {id} could not be found")))
    }

    fn described(&mut self, id: &str) -> Value {
        self.known(id).map(database::Database::describe).unwrap_or_default()
    }

    fn listed(&mut self, call: &Call<'_>) -> Response<Bytes> {
        let wanted = call.param("name").unwrap_or_default();
        // The service documents `name` as a search, so a caller has to compare names itself.
        let found: Vec<Value> = self
            .list
            .iter_mut()
            .filter(|db| db.name.contains(wanted))
            .map(database::Database::describe)
            .collect();
        let per_page = call.number("per_page", 100).clamp(1, 10_000);
        let page = call.number("page", 1).max(1);
        let total = found.len();
        let shown: Vec<Value> =
            found.into_iter().skip((page - 1).saturating_mul(per_page)).take(per_page).collect();
        let info = json!({
            "page": page, "per_page": per_page, "count": shown.len(), "total_count": total,
        });
        envelope::success_list(Value::Array(shown), info)
    }

    fn query(&mut self, call: &Call<'_>, id: &str, raw: bool) -> Result<Response<Bytes>, Failure> {
        let ask: Query = call.json().map_err(|error| malformed(&error))?;
        let asks = asks(ask)?;
        let quota = database::Quota {
            may_read: self.limits.d1_rows_read_per_day.is_none_or(|n| self.today.rows_read < n),
            may_write: self
                .limits
                .d1_rows_written_per_day
                .is_none_or(|n| self.today.rows_written < n),
        };
        let ran = self
            .known(id)?
            .run(&asks, quota)
            .map_err(|message| Failure::new(400, 7500, message))?;
        for statement in &ran {
            self.today.rows_read += statement.meta.rows_read;
            self.today.rows_written += statement.meta.rows_written;
        }
        let results = ran.into_iter().map(|ran| shown(ran, raw)).collect();
        Ok(envelope::success(Value::Array(results)))
    }

    fn restore(
        &mut self,
        call: &Call<'_>,
        id: &str,
        chance: &mut Chance,
    ) -> Result<Response<Bytes>, Failure> {
        let at = instant(call, "timestamp")?;
        let bookmark = call.param("bookmark").map(str::to_owned);
        let database = self.known(id)?;
        let before = database.bookmark(None, call.now, chance)?;
        let target = match (bookmark, at) {
            (Some(bookmark), _) => bookmark,
            (None, Some(at)) => database.bookmark(Some(at), call.now, chance)?,
            (None, None) => {
                let text = "Invalid property: bookmark or timestamp => Required";
                return Err(Failure::new(400, 7400, text));
            }
        };
        database.restore(&target)?;
        Ok(envelope::success(json!({
            "bookmark": target,
            "previous_bookmark": before,
            "message": "Database restored successfully",
        })))
    }
}

/// Makes room for a database's file: the same seed gives the same id again.
fn fresh(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::new(400, 7400, format!("The request is malformed: {error}"))
}

fn instant(call: &Call<'_>, name: &str) -> Result<Option<Micros>, Failure> {
    let Some(text) = call.param(name) else { return Ok(None) };
    Micros::parse_rfc3339(text)
        .map(Some)
        .ok_or_else(|| Failure::new(400, 7400, format!("Invalid property: {name} => {text}")))
}

/// The statements of one call, in order.
fn asks(query: Query) -> Result<Vec<Ask>, Failure> {
    let singles = match (query.sql, query.batch) {
        (Some(sql), None) => vec![Single { sql, params: query.params }],
        (None, Some(batch)) if query.params.is_none() => batch,
        _ => {
            let text = "The request is malformed: either sql, with params or without, or batch";
            return Err(Failure::new(400, 7400, text));
        }
    };
    let mut asks = Vec::new();
    for single in singles {
        let params = single.params.unwrap_or_default();
        for param in &params {
            values::check(param).map_err(|text| Failure::new(400, 7400, text))?;
        }
        let statements = split::statements(&single.sql);
        if statements.len() > 1 && !params.is_empty() {
            let text = "The request is malformed: params with several statements; use batch";
            return Err(Failure::new(400, 7400, text));
        }
        let mut params = Some(params);
        asks.extend(
            statements
                .into_iter()
                .map(|sql| Ask { sql: sql.to_owned(), params: params.take().unwrap_or_default() }),
        );
    }
    if asks.is_empty() {
        return Err(Failure::new(400, 7500, "No SQL statements detected."));
    }
    Ok(asks)
}

fn shown(ran: Ran, raw: bool) -> Value {
    let results = if raw {
        json!({"columns": ran.columns, "rows": ran.rows})
    } else {
        // Columns of the same name merge and the last one wins, as in the service.
        let objects = ran.rows.into_iter().map(|row| {
            let fields = ran.columns.iter().cloned().zip(row);
            Value::Object(fields.collect::<Map<String, Value>>())
        });
        Value::Array(objects.collect())
    };
    json!({"results": results, "success": true, "meta": ran.meta.to_json()})
}
