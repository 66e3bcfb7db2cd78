//! Puts another database file in the place of the one in use, which is moved aside and never deleted.
//!
//! Several files change their names, and a power cut may come between any two of them. A mark stands beside
//! the database for as long as that takes: whoever finds it must not open what is there, as a log could
//! be read into a file that isn't its own. Doing it again ends it, whatever was done before.

use super::backup::{beside, folder_of};
use std::fs::{self, File};
use std::io::{ErrorKind, Result, Write as _};
use std::path::{Path, PathBuf};

/// What a replacement is made of.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The database in use; nobody may have it open.
    pub database: PathBuf,
    /// The checked file that takes its place, in the same folder.
    pub new: PathBuf,
    /// The name that the present database gets; no file has it.
    pub aside: PathBuf,
    /// What is told of it while it isn't done: the file that was asked for.
    pub note: String,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Mark,
    MoveDatabase,
    MoveLog,
    DropIndex,
    Place,
    Unmark,
}

/// In this order.
const STEPS: [Step; 6] =
    [Step::Mark, Step::MoveDatabase, Step::MoveLog, Step::DropIndex, Step::Place, Step::Unmark];

impl Replacement {
    /// Does it.
    ///
    /// # Errors
    /// A file can't be renamed or written; the mark then stays, unless nothing was moved yet.
    pub fn run(&self) -> Result<()> {
        for step in STEPS {
            if let Err(error) = self.step(step) {
                if matches!(step, Step::Mark | Step::MoveDatabase) {
                    self.step(Step::Unmark)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn step(&self, step: Step) -> Result<()> {
        match step {
            Step::Mark => {
                let mut file = File::create(mark(&self.database))?;
                file.write_all(self.note.as_bytes())?;
                file.sync_all()?;
            }
            Step::MoveDatabase => rename(&self.database, &self.aside)?,
            Step::MoveLog => rename(&beside(&self.database, "-wal"), &beside(&self.aside, "-wal"))?,
            Step::DropIndex => remove(&beside(&self.database, "-shm"))?,
            Step::Place => fs::rename(&self.new, &self.database)?,
            Step::Unmark => remove(&mark(&self.database))?,
        }
        if matches!(step, Step::MoveDatabase | Step::MoveLog) {
            File::open(folder_of(&self.aside))?.sync_all()?;
        }
        File::open(folder_of(&self.database))?.sync_all()
    }
}

/// The note of a replacement of this database that was begun and not ended.
pub fn interrupted(database: &Path) -> Option<String> {
    let note = fs::read(mark(database)).ok()?;
    Some(String::from_utf8_lossy(&note).into_owned())
}

fn mark(database: &Path) -> PathBuf {
    beside(database, ".replacing")
}

/// A file that isn't there was moved before.
fn rename(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound && !from.exists() => Ok(()),
        renamed => renamed,
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        files.sort();
        files
    }

    fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_cut_after_any_step_leaves_a_mark_and_the_next_attempt_ends_it() {
        for n_done in 0..=STEPS.len() {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(name);
            fs::write(path("db"), "old").unwrap();
            fs::write(path("db-wal"), "old log").unwrap();
            fs::write(path("db-shm"), "old index").unwrap();
            fs::write(path("new"), "new").unwrap();
            let first = Replacement {
                database: path("db"),
                new: path("new"),
                aside: path("aside"),
                note: "backup 1".to_owned(),
            };
            for step in &STEPS[..n_done] {
                first.step(*step).unwrap();
            }
            let is_under_way = n_done > 0 && n_done < STEPS.len();
            let note = is_under_way.then(|| "backup 1".to_owned());
            assert_eq!(interrupted(&path("db")), note, "after {n_done} steps");
            fs::write(path("newer"), "newer").unwrap();
            let is_moved = path("aside").exists();
            // As the caller does: the first name again, unless the database that is there is another one.
            let aside = if is_moved && path("db").exists() { "aside 2" } else { "aside" };
            let again = Replacement { new: path("newer"), aside: path(aside), ..first };
            again.run().unwrap();
            assert_eq!(interrupted(&path("db")), None);
            let mut expected =
                named(&[("aside", "old"), ("aside-wal", "old log"), ("db", "newer")]);
            match n_done {
                0..5 => expected.push(("new".to_owned(), "new".to_owned())),
                _ => expected.insert(1, ("aside 2".to_owned(), "new".to_owned())),
            }
            expected.sort();
            assert_eq!(files(dir.path()), expected, "after {n_done} steps");
        }
    }

    #[test]
    fn what_cannot_be_moved_aside_stays_and_no_mark_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("db"), "old").unwrap();
        fs::write(path("new"), "new").unwrap();
        let replacement = Replacement {
            database: path("db"),
            new: path("new"),
            aside: path("no such folder").join("aside"),
            note: String::new(),
        };
        replacement.run().unwrap_err();
        assert_eq!(interrupted(&path("db")), None);
        assert_eq!(files(dir.path()), named(&[("db", "old"), ("new", "new")]));
    }
}
