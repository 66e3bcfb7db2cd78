//! What D1 lets SQL do. The lists were measured, one statement each, on Cloudflare's own engine.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Pragmas that take a table or index and need it.
const PRAGMAS_OF_A_NAME: [&str; 6] =
    ["table_info", "table_xinfo", "index_list", "index_info", "index_xinfo", "foreign_key_list"];

/// Pragmas that are allowed in any form.
const PRAGMAS: [&str; 12] = [
    "table_list",
    "foreign_key_check",
    "quick_check",
    "optimize",
    "data_version",
    "foreign_keys",
    "defer_foreign_keys",
    "case_sensitive_like",
    "ignore_check_constraints",
    "legacy_alter_table",
    "recursive_triggers",
    "reverse_unordered_selects",
];

/// Functions that are allowed, in alphabetical order.
const FUNCTIONS: &str = " abs acos acosh asin asinh atan atan2 atanh avg bm25 ceil changes char \
    coalesce concat concat_ws cos cosh count cume_dist current_date current_time \
    current_timestamp date datetime degrees dense_rank exp first_value floor format glob \
    group_concat hex highlight ifnull iif instr json json_array json_array_length json_extract \
    json_group_array json_group_object json_insert json_object json_patch json_quote json_remove \
    json_replace json_set json_type json_valid jsonb jsonb_array jsonb_extract \
    jsonb_group_array jsonb_group_object jsonb_insert jsonb_object jsonb_patch jsonb_remove \
    jsonb_replace jsonb_set julianday lag last_insert_rowid last_value lead length like \
    likelihood likely ln log log2 lower ltrim match max min mod nth_value ntile nullif \
    octet_length percent_rank pi pow printf quote radians random randomblob rank replace round \
    row_number rtrim sign sin sinh snippet sqrt strftime string_agg substr substring sum tan \
    tanh time timediff total total_changes trim trunc typeof unhex unicode unixepoch unlikely \
    upper zeroblob -> ->> ";

/// Functions that `SQLite` itself calls while it alters a table; SQL can't call them.
const INTERNAL: [&str; 5] =
    ["sqlite_rename_", "sqlite_drop_", "sqlite_fail", "sqlite_add_", "sqlite_find_"];

/// Judges the statements of callers, and remembers what the meter wants to know about them.
#[derive(Default)]
pub(super) struct Watch {
    /// Whether a caller's statement is being prepared; our own are not judged.
    guest: AtomicBool,
    transaction: AtomicBool,
    pragma: AtomicBool,
    reads: AtomicBool,
    updates: Mutex<BTreeSet<(String, String)>>,
}

/// What the last statement is going to touch.
pub(super) struct Touched {
    /// Whether it tried to open or end a transaction.
    pub(super) transaction: bool,
    /// Whether it may have changed a switch of the connection.
    pub(super) pragma: bool,
    /// Whether it reads a table.
    pub(super) reads: bool,
    /// Columns it may update, by table.
    pub(super) updates: BTreeSet<(String, String)>,
}

impl Watch {
    /// Starts to judge.
    pub(super) fn begin(&self) {
        self.take();
        self.guest.store(true, Ordering::SeqCst);
    }

    /// Stops judging.
    pub(super) fn end(&self) {
        self.guest.store(false, Ordering::SeqCst);
    }

    /// What has been seen since the last time.
    pub(super) fn take(&self) -> Touched {
        let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
        Touched {
            transaction: self.transaction.swap(false, Ordering::SeqCst),
            pragma: self.pragma.swap(false, Ordering::SeqCst),
            reads: self.reads.swap(false, Ordering::SeqCst),
            updates: std::mem::take(&mut *updates),
        }
    }

    pub(super) fn judge(&self, context: &AuthContext<'_>) -> Authorization {
        if !self.guest.load(Ordering::SeqCst) || self.allows(&context.action) {
            Authorization::Allow
        } else {
            Authorization::Deny
        }
    }

    fn allows(&self, action: &AuthAction<'_>) -> bool {
        match action {
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
                self.transaction.store(true, Ordering::SeqCst);
                false
            }
            AuthAction::Pragma { pragma_name, pragma_value } => {
                self.pragma.store(true, Ordering::SeqCst);
                let name = pragma_name.to_ascii_lowercase();
                PRAGMAS.contains(&name.as_str())
                    || (pragma_value.is_some() && PRAGMAS_OF_A_NAME.contains(&name.as_str()))
            }
            AuthAction::Function { function_name } => is_allowed_function(function_name),
            AuthAction::CreateVtable { module_name, .. }
            | AuthAction::DropVtable { module_name, .. } => {
                ["fts5", "fts5vocab"].contains(&module_name.to_ascii_lowercase().as_str())
            }
            AuthAction::CreateTable { table_name }
            | AuthAction::DropTable { table_name }
            | AuthAction::AlterTable { table_name, .. }
            | AuthAction::Insert { table_name }
            | AuthAction::Delete { table_name } => !is_reserved(table_name),
            AuthAction::Read { table_name, .. } => {
                let is_made_up = table_name.starts_with("json_")
                    || table_name.starts_with("pragma_")
                    || table_name.is_empty();
                if !is_made_up {
                    self.reads.store(true, Ordering::SeqCst);
                }
                !is_reserved(table_name)
            }
            AuthAction::Update { table_name, column_name } => {
                let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
                updates.insert(((*table_name).to_owned(), (*column_name).to_owned()));
                !is_reserved(table_name)
            }
            AuthAction::CreateIndex { .. }
            | AuthAction::CreateTrigger { .. }
            | AuthAction::CreateView { .. }
            | AuthAction::DropIndex { .. }
            | AuthAction::DropTrigger { .. }
            | AuthAction::DropView { .. }
            | AuthAction::Select
            | AuthAction::Reindex { .. }
            | AuthAction::Analyze { .. }
            | AuthAction::Recursive => true,
            // Temporary objects, ATTACH, DETACH, and whatever SQLite may learn later.
            _ => false,
        }
    }
}

/// Cloudflare keeps tables of its own under this prefix.
fn is_reserved(table: &str) -> bool {
    table.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("_cf_"))
}

fn is_allowed_function(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    FUNCTIONS.contains(&format!(" {name} ")) || INTERNAL.iter().any(|i| name.starts_with(i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_known_by_their_whole_name() {
        assert!(is_allowed_function("COALESCE"));
        assert!(is_allowed_function("->>"));
        assert!(!is_allowed_function("json_pretty"));
        assert!(!is_allowed_function("sqlite_version"));
        assert!(!is_allowed_function("json group"));
        assert!(!is_allowed_function("vec_distance_l2"));
    }
}
