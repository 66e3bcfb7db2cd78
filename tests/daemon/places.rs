//! Files and folders that are not as they should be: the daemon refuses with the place and what to type,
//! and touches nothing that isn't its own.

use crate::home::{Home, Said};
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn refused(home: &Home, err: &str) {
    let expected = Said { code: Some(1), out: String::new(), err: err.to_owned() };
    assert_eq!(home.refusal(), expected);
    // A client that starts the daemon hears the same, wherever it is noticed.
    let said = home.run(&["store", "a"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    let sentence = err.trim_start_matches("error: ").lines().next().unwrap();
    assert!(said.err.lines().next().unwrap().ends_with(sentence), "{said:?} instead of {sentence}");
}

#[test]
fn only_the_owner_can_enter_or_read_anything() {
    let home = Home::new();
    let daemon = home.daemon_by("umask 000; exec \"$0\" daemon");
    home.store("private");
    assert_eq!(mode(&home.data()), 0o700);
    let mut seen = Vec::new();
    for entry in fs::read_dir(home.data()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        seen.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    seen.sort();
    assert_eq!(
        seen,
        ["memtide.db", "memtide.db-shm", "memtide.db-wal", "memtide.lock", "memtide.sock"]
    );
    daemon.stop();
    // A daemon that a client starts also writes a log.
    assert_eq!(home.run(&["store", "more"]).code, Some(0));
    assert_eq!(mode(&home.data().join("memtide.log")), 0o600);
}

#[test]
fn a_data_folder_that_others_may_enter() {
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    for (bits, shown) in [(0o755, "0755"), (0o770, "0770"), (0o500, "0500")] {
        fs::set_permissions(home.data(), Permissions::from_mode(bits)).unwrap();
        let data = home.data();
        let data = data.display();
        refused(
            &home,
            &format!(
                "error: folder {data} has mode {shown}, it must be open to its owner alone; type: \
                 chmod 700 {data}\n"
            ),
        );
    }
    assert_eq!(fs::read_dir(home.data()).unwrap().count(), 0, "nothing was put into it");
    fs::set_permissions(home.data(), Permissions::from_mode(0o700)).unwrap();
    home.daemon().stop();
}

#[test]
fn a_link_or_a_file_in_place_of_the_data_folder() {
    let home = Home::new();
    let elsewhere = home.root().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, home.data()).unwrap();
    let data = home.data();
    refused(
        &home,
        &format!(
            "error: folder {} is a symbolic link; set MEMTIDE_DATA_DIR to the folder it points to\n",
            data.display()
        ),
    );
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    fs::remove_file(&data).unwrap();
    fs::write(&data, "a file").unwrap();
    refused(
        &home,
        &format!(
            "error: {} is not a folder; move it away or choose another folder\n",
            data.display()
        ),
    );
    assert_eq!(fs::read_to_string(&data).unwrap(), "a file");
    fs::remove_file(&data).unwrap();
}

#[test]
fn a_socket_path_that_the_system_can_not_bind() {
    let home = Home::new();
    let long = home.root().join("s".repeat(120)).join("memtide.sock");
    let home = home.with("MEMTIDE_SOCKET", &long);
    let said = home.refusal();
    assert_eq!(said.code, Some(1));
    let actual = long.as_os_str().len() + 1;
    let start = format!("error: the path of the socket has {actual} bytes, this system allows 10");
    assert!(said.err.starts_with(&start), "{said:?}");
    let advice = "; set MEMTIDE_SOCKET to a shorter path, as in MEMTIDE_SOCKET=/tmp/memtide-";
    assert!(said.err.contains(advice), "{said:?}");
    assert!(!home.data().exists());
}

#[test]
fn a_file_in_place_of_the_socket_stays() {
    let home = Home::new();
    home.daemon().stop();
    fs::write(home.socket(), "precious").unwrap();
    let socket = home.socket();
    refused(
        &home,
        &format!(
            "error: listen on {}: it exists and is no socket; move it away\n",
            socket.display()
        ),
    );
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let home = Home::new();
    home.daemon().kill();
    let left = fs::symlink_metadata(home.socket()).unwrap();
    assert!(left.file_type().is_socket(), "a killed daemon leaves its socket");
    let daemon = home.daemon();
    home.store("on the new socket");
    daemon.stop();
    assert!(!home.socket().exists(), "a stopped daemon removes it");

    // Two data folders with one socket: the lock of each is free, the socket is not.
    let shared = home.root().join("shared.sock");
    let first = Home::new().with("MEMTIDE_SOCKET", &shared);
    let second = Home::new().with("MEMTIDE_SOCKET", &shared);
    let _first = first.daemon();
    let expected = format!(
        "error: listen on {}: another daemon serves it; set MEMTIDE_SOCKET to another path\n",
        shared.display()
    );
    let said = second.refusal();
    assert_eq!(said, Said { code: Some(1), out: String::new(), err: expected });
    assert_eq!(crate::home::ask(&shared, "GET", "/v1/status", b"").status, 200);
    assert!(UnixListener::bind(&shared).is_err(), "the first one's socket is still there");
}

#[test]
fn a_socket_in_a_folder_that_others_may_write_to() {
    let home = Home::new();
    let open = home.root().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let home = home.with("MEMTIDE_SOCKET", open.join("memtide.sock"));
    let open = open.display();
    refused(
        &home,
        &format!(
            "error: folder {open} has mode 0777, others could replace the socket in it; type: chmod \
             go-w {open}, or set MEMTIDE_SOCKET to another folder\n"
        ),
    );
}

#[test]
fn a_folder_in_place_of_the_database() {
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    fs::set_permissions(home.data(), Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(home.database()).unwrap();
    let database = home.database();
    refused(
        &home,
        &format!(
            "error: the database file can't be read or written: {}: Is a directory (os error 21)\n\
             hint: check the disk, its free space and quota, and the permissions of the data folder\n",
            database.display()
        ),
    );
}
