//! `backup`, `backup list` and `backup restore`, and a daemon that finds its database damaged or gone.

use crate::home::{Home, Said};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn done(home: &Home, arguments: &[&str]) -> Said {
    let said = home.run(arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    said
}

fn failed(home: &Home, arguments: &[&str]) -> String {
    let said = home.run(arguments);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{arguments:?}: {said:?}");
    said.err.replace(&home.data().display().to_string(), "DATA")
}

fn texts(home: &Home) -> Vec<String> {
    let listed = done(home, &["list", "--json"]).json();
    let memories = listed["memories"].as_array().expect("memories");
    let text = |memory: &Value| memory["content"].as_str().expect("text").to_owned();
    let mut texts: Vec<String> = memories.iter().map(text).collect();
    texts.sort();
    texts
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

fn path(text: &str) -> PathBuf {
    PathBuf::from(text.trim_end())
}

#[test]
fn a_backup_is_made_listed_put_back_and_taken_back() {
    let home = Home::new();
    done(&home, &["store", "kept"]);
    let made = done(&home, &["backup"]);
    let backup = path(&made.out);
    assert_eq!(backup.parent(), Some(home.data().join("backups").as_path()));
    assert!(made.err.starts_with("1 memory and 0 deleted, "), "{made:?}");
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode(&backup), mode(&home.data().join("backups"))), (0o600, 0o700));
    assert_eq!(names(&home.data().join("backups")).len(), 1, "nothing lies beside it");
    let before = fs::read(&backup).expect("a file");

    done(&home, &["store", "since"]);
    let name = backup.file_name().and_then(|name| name.to_str()).expect("a name");
    let asked = failed(&home, &["backup", "restore", name]);
    assert!(asked.ends_with("needs a confirmation\nhint: repeat with --yes\n"), "{asked}");
    assert_eq!(texts(&home), ["kept", "since"]);
    let restored = done(&home, &["backup", "restore", name, "--yes", "--json"]).json();
    assert_eq!((&restored["memories"], &restored["linked"]), (&1.into(), &false.into()));
    assert_eq!(texts(&home), ["kept"]);
    done(&home, &["--no-spawn", "store", "the daemon runs again"]);
    assert!(fs::read(&backup).expect("a file") == before, "the backup was changed");

    // What was moved aside is a backup too.
    let aside = restored["replaced"].as_str().expect("a path");
    let listed = done(&home, &["backup", "list", "--json"]).json();
    let kinds: Vec<&str> = listed["backups"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["kind"].as_str().expect("a kind"))
        .collect();
    assert_eq!(kinds.len(), 2, "{listed}");
    assert!(kinds.contains(&"by hand") && kinds.contains(&"replaced"), "{listed}");
    let told = done(&home, &["backup", "list"]);
    assert!(told.out.contains(name) && told.err.starts_with("2 backups in "), "{told:?}");
    done(&home, &["down"]);
    done(&home, &["backup", "restore", aside, "--yes", "--no-spawn"]);
    assert!(!home.socket().exists(), "no daemon ran before");
    assert_eq!(texts(&home), ["kept", "since"]);
}

#[test]
fn what_was_acknowledged_before_a_kill_is_moved_aside_with_its_log() {
    let home = Home::new();
    let daemon = home.daemon();
    home.store("kept");
    let backup = done(&home, &["backup"]).out;
    home.store("in the log only");
    daemon.kill();
    let log = home.data().join("memtide.db-wal");
    assert!(fs::metadata(&log).expect("a log").len() > 0);
    let args = ["backup", "restore", backup.trim_end(), "--yes", "--json"];
    let aside = done(&home, &args).json()["replaced"].as_str().expect("a path").to_owned();
    assert_eq!(texts(&home), ["kept"]);
    done(&home, &["backup", "restore", &aside, "--yes"]);
    assert_eq!(texts(&home), ["in the log only", "kept"]);
}

/// Whoever closes a file drops every lock that the process has on it. Without the daemon's another program
/// would take the log away when it closes, and with it what is written from then on.
#[test]
fn a_backup_leaves_the_daemon_its_hold_on_the_database() {
    let home = Home::new();
    let daemon = home.daemon();
    done(&home, &["store", "before"]);
    done(&home, &["backup"]);
    let other = rusqlite::Connection::open(home.database()).expect("a database");
    let n: i64 = other.query_row("SELECT count(*) FROM memory", [], |row| row.get(0)).expect("n");
    other.close().expect("it closes");
    assert_eq!(n, 1);
    assert!(home.data().join("memtide.db-wal").exists(), "the log was taken away");
    done(&home, &["store", "after"]);
    daemon.kill();
    let _daemon = home.daemon();
    assert_eq!(texts(&home), ["after", "before"]);
}

#[test]
fn a_file_of_ones_own_is_written_once_and_over_itself_only_by_force() {
    let home = Home::new();
    done(&home, &["store", "kept"]);
    let file = home.root().join("my backup.db");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(done(&home, &["backup", file]).out, format!("{file}\n"));
    let refused = failed(&home, &["backup", file]);
    assert!(
        refused.ends_with(
            "my backup.db exists already\nhint: give another name, or write over it with --force\n"
        ),
        "{refused}"
    );
    done(&home, &["store", "since"]);
    let again = done(&home, &["backup", file, "--force", "--json"]).json();
    assert_eq!(again["memories"], 2);
    let database = home.database();
    let refused = failed(&home, &["backup", database.to_str().expect("UTF-8"), "--force"]);
    assert!(refused.contains("DATA/memtide.db is the database itself"), "{refused}");
    let nowhere = failed(&home, &["backup", "/no/such/folder/file.db"]);
    assert!(nowhere.starts_with("error: /no/such/folder: No such file"), "{nowhere}");
    assert_eq!(texts(&home), ["kept", "since"]);
}

#[test]
fn a_file_that_is_no_sound_backup_is_refused_and_the_daemon_goes_on() {
    let home = Home::new();
    let mut daemon = home.daemon();
    for n in 0..100 {
        home.store(&format!("memory {n} {}", "of the heron ".repeat(50)));
    }
    let backup = path(&done(&home, &["backup"]).out);
    let sound = fs::read(&backup).expect("a file");
    let file = home.root().join("file.db");
    let given = file.to_str().expect("UTF-8").to_owned();
    let refused = || failed(&home, &["backup", "restore", &given, "--yes"]).replace(&given, "FILE");
    assert_eq!(
        refused(),
        "error: there is no file FILE\nhint: `memtide backup list` shows what there is\n"
    );
    fs::write(&file, "no database at all, but some words").expect("a file");
    assert!(refused().starts_with("error: FILE is no memtide database\nhint: "), "{}", refused());
    fs::write(&file, &sound[..sound.len() / 2]).expect("a file");
    assert!(refused().starts_with("error: FILE is damaged: "), "{}", refused());
    let mut letter = sound.clone();
    let at = letter.windows(9).position(|bytes| bytes == b"memory 7 ").expect("a text");
    letter[at] = b'M';
    fs::write(&file, &letter).expect("a file");
    assert!(refused().contains("is not what was stored"), "{}", refused());
    let database = home.database();
    let itself = failed(&home, &["backup", "restore", database.to_str().expect("UTF-8"), "--yes"]);
    assert!(itself.contains("is the database itself"), "{itself}");
    assert!(daemon.is_alive(), "it was stopped");
    let left = names(&home.data());
    assert!(!left.iter().any(|name| name.contains("part") || name.contains("replac")), "{left:?}");
    assert_eq!(names(&home.data().join("backups")).len(), 1);
}

#[test]
fn a_daemon_of_the_service_manager_is_left_alone() {
    let home = Home::new();
    let script = "exec \"$0\" daemon --started-by systemd";
    let mut daemon = home.daemon_by(script);
    home.store("kept");
    let backup = done(&home, &["backup"]).out;
    let refused = failed(&home, &["backup", "restore", backup.trim_end(), "--yes"]);
    assert_eq!(
        refused,
        "error: systemd runs the daemon, and would start it again at once\nhint: stop its unit with \
         `systemctl --user stop` first, then repeat this; nothing was changed\n"
    );
    assert!(daemon.is_alive());
}

/// R35.
#[test]
fn a_damaged_database_is_never_begun_anew_and_the_newest_backup_is_named() {
    let home = Home::new();
    done(&home, &["store", "kept"]);
    let backup = path(&done(&home, &["backup"]).out);
    let name = backup.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    done(&home, &["down"]);
    let rubbish = vec![7_u8; 20_000];
    fs::write(home.database(), &rubbish).expect("a file");
    let date = name.get(8..16).expect("a date");
    let date = format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]);
    let hint = |rest: &str| {
        format!(
            "hint: put back the newest backup, of {date}, with `memtide backup restore {name}`; {rest}\n"
        )
    };
    let damaged = format!(
        "error: the database file is damaged: file is not a database\n{}",
        hint("the damaged file is kept")
    );
    assert_eq!(home.refusal().err, damaged);
    assert_eq!(
        failed(&home, &["list"]),
        damaged.replace("error: ", "error: the daemon ended while starting: ")
    );
    assert!(fs::read(home.database()).expect("a file") == rubbish, "it was changed");
    let restored = done(&home, &["backup", "restore", &name, "--yes", "--json"]).json();
    assert_eq!(texts(&home), ["kept"]);
    let aside = restored["replaced"].as_str().expect("a path");
    assert!(fs::read(aside).expect("a file") == rubbish, "it was not kept");
    done(&home, &["down"]);

    for (what, is_there) in [("empty", true), ("missing", false)] {
        fs::remove_file(home.database()).expect("a file");
        if is_there {
            fs::write(home.database(), "").expect("a file");
        }
        let lost = failed(&home, &["list"]).replace("the daemon ended while starting: ", "");
        let expected = format!(
            "error: the database DATA/memtide.db is {what}, though a backup of it, \
             DATA/backups/{name}, is there\n{}",
            hint("to begin anew, move the folder of the backups away")
        );
        assert_eq!(lost, expected);
        assert_eq!(home.database().exists(), is_there);
        done(&home, &["backup", "restore", &name, "--yes"]);
        assert_eq!(texts(&home), ["kept"]);
        done(&home, &["down"]);
    }
}

#[test]
fn a_replacement_that_was_cut_off_is_not_opened_and_ends_by_repeating_it() {
    let home = Home::new();
    done(&home, &["store", "kept"]);
    let backup = path(&done(&home, &["backup"]).out);
    done(&home, &["store", "since"]);
    done(&home, &["down"]);
    // As a power cut leaves it after the database was moved.
    let aside = home.data().join("backups/memtide-replaced-20260101T000000Z.db");
    fs::rename(home.database(), &aside).expect("a file");
    let mark = home.data().join("memtide.db.replacing");
    fs::write(&mark, backup.as_os_str().as_encoded_bytes()).expect("a file");
    let refused = failed(&home, &["list"]);
    assert!(refused.contains("was being put in the place of the database"), "{refused}");
    assert!(refused.contains("hint: repeat `memtide backup restore \"DATA/backups/"), "{refused}");
    assert!(!home.database().exists());
    let given = backup.to_str().expect("UTF-8");
    done(&home, &["backup", "restore", given, "--yes"]);
    assert_eq!(texts(&home), ["kept"]);
    assert!(!mark.exists());
    done(&home, &["backup", "restore", aside.to_str().expect("UTF-8"), "--yes"]);
    assert_eq!(texts(&home), ["kept", "since"]);
}
