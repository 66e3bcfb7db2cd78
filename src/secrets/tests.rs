use super::*;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

const CANARY: &str = "canary_Zx81-0123456789abcdefghijklmnopqr";

fn sources(data_dir: &Path) -> Sources<'_> {
    Sources { credentials_dir: None, data_dir, environment: None, environment_first: false }
}

fn put(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

fn loaded(sources: &Sources<'_>) -> Option<(String, TokenSource)> {
    let found = load(sources).expect("no fault");
    found.map(|(token, source)| (token.expose_secret().to_owned(), source))
}

fn refused(sources: &Sources<'_>) -> String {
    let error = load(sources).expect_err("refused");
    let (shown, debugged) = (error.to_string(), format!("{error:?}"));
    assert!(!shown.contains("canary") && !debugged.contains("canary"), "the token leaks: {shown}");
    shown
}

#[test]
fn what_is_saved_is_found_and_can_be_removed() {
    let folder = tempfile::tempdir().expect("folder");
    let sources = sources(folder.path());
    assert_eq!(loaded(&sources), None);
    for token in ["first-token", CANARY] {
        save(folder.path(), &SecretString::from(format!("  {token}\n"))).expect("saved");
        let path = folder.path().join("cloudflare-token");
        assert_eq!(fs::read_to_string(&path).expect("file"), format!("{token}\n"));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(loaded(&sources), Some((token.to_owned(), TokenSource::File(path))));
    }
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    assert!(remove(folder.path()).expect("removed"));
    assert!(!remove(folder.path()).expect("nothing to remove"));
    assert_eq!(loaded(&sources), None);
}

#[test]
fn a_credential_comes_before_the_file_and_the_file_before_the_environment() {
    let (data, credentials) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let credential = credentials.path().join(TOKEN_NAME);
    let sources = Sources {
        credentials_dir: Some(credentials.path()),
        data_dir: data.path(),
        environment: Some(OsStr::new("of-environment\n")),
        environment_first: false,
    };
    let of_environment = Some(("of-environment".to_owned(), TokenSource::Environment));
    assert_eq!(loaded(&sources), of_environment);

    save(data.path(), &SecretString::from("of-file")).expect("saved");
    let file = data.path().join(TOKEN_NAME);
    assert_eq!(loaded(&sources), Some(("of-file".to_owned(), TokenSource::File(file))));

    // The service manager decides who may read a credential.
    put(&credential, "of-credential\n", 0o440);
    let of_credential = TokenSource::Credential(credential);
    assert_eq!(loaded(&sources), Some(("of-credential".to_owned(), of_credential)));

    assert_eq!(loaded(&Sources { environment_first: true, ..sources }), of_environment);
}

#[test]
fn an_empty_variable_is_no_variable() {
    let folder = tempfile::tempdir().expect("folder");
    let empty = Some(OsStr::new(""));
    for environment_first in [false, true] {
        let sources = Sources { environment: empty, environment_first, ..sources(folder.path()) };
        assert_eq!(loaded(&sources), None);
    }
}

#[test]
fn a_file_that_others_could_read_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(TOKEN_NAME);
    let shown = path.display();
    for (mode, text) in [(0o644, "0644"), (0o640, "0640"), (0o602, "0602")] {
        put(&path, CANARY, mode);
        assert_eq!(
            refused(&sources(folder.path())),
            format!(
                "token file {shown} has mode {text}, others may have read it; make a new token at \
                 Cloudflare, or, if you are sure, type: chmod 600 '{shown}'"
            )
        );
    }
    put(&path, CANARY, 0o400);
    assert!(loaded(&sources(folder.path())).is_some());
    let other = own_uid() + 1;
    let error = file::read_private(&path, other).expect_err("not ours").to_string();
    assert_eq!(
        error,
        format!(
            "token file {shown} belongs to user {}, memtide runs as user {other}; remove it and \
             store the token again with `memtide cloud link --token-file -`",
            own_uid()
        )
    );
}

#[test]
fn only_a_regular_file_is_read() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(TOKEN_NAME);
    let target = folder.path().join("elsewhere");
    put(&target, CANARY, 0o600);
    symlink(&target, &path).expect("linked");
    assert!(refused(&sources(folder.path())).contains("is a symbolic link; remove it"));
    save(folder.path(), &SecretString::from("new")).expect("replaces the link, not its target");
    assert_eq!(fs::read_to_string(&target).expect("file"), CANARY);
    fs::remove_file(&path).expect("removed");

    fs::create_dir(&path).expect("made");
    assert!(refused(&sources(folder.path())).ends_with("is not a regular file; move it away"));
    fs::remove_dir(&path).expect("removed");

    let _listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    assert!(refused(&sources(folder.path())).ends_with("is not a regular file; move it away"));
}

#[test]
fn what_can_not_be_a_token_is_refused_and_never_shown() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(TOKEN_NAME);
    let hint = "give the token alone, on one line, without `Bearer` or quotes";
    let place = format!("the token in {}", path.display());
    for (text, expected) in [
        (Vec::new(), "is empty".to_owned()),
        (b" \n\t".to_vec(), "is empty".to_owned()),
        (format!("Bearer {CANARY}").into(), format!("has a space as character 7; {hint}")),
        (format!("\"{CANARY}\"").into(), format!("has a quote as character 1; {hint}")),
        (
            format!("{CANARY}\n{CANARY}").into(),
            format!("has a control character as character 41; {hint}"),
        ),
        (format!("{CANARY}\0").into(), format!("has a control character as character 41; {hint}")),
        (
            format!("{CANARY}é").into(),
            format!("has a character outside ASCII as character 41; {hint}"),
        ),
        (b"canary\xff".to_vec(), format!("has a character outside ASCII as character 7; {hint}")),
        (
            vec![b'c'; TOKEN_MAX_BYTES + 1],
            "has more than 4096 bytes; give the token alone".to_owned(),
        ),
        (vec![b'c'; 1 << 20], "has more than 4096 bytes; give the token alone".to_owned()),
    ] {
        put(&path, &text, 0o600);
        assert_eq!(refused(&sources(folder.path())), format!("{place} {expected}"));
        let environment = Some(OsStr::from_bytes(&text)).filter(|text| !text.is_empty());
        let of_environment = Sources {
            environment,
            environment_first: environment.is_some(),
            ..sources(folder.path())
        };
        let place = if environment.is_some() {
            "the token in environment variable CLOUDFLARE_API_TOKEN"
        } else {
            &place
        };
        assert_eq!(refused(&of_environment), format!("{place} {expected}"));
    }
    put(&path, vec![b'c'; TOKEN_MAX_BYTES], 0o600);
    assert!(loaded(&sources(folder.path())).is_some());
}

#[test]
fn a_refused_token_leaves_the_stored_one() {
    let folder = tempfile::tempdir().expect("folder");
    save(folder.path(), &SecretString::from("good")).expect("saved");
    save(folder.path(), &SecretString::from("not good")).expect_err("refused");
    let token = loaded(&sources(folder.path())).expect("still there").0;
    assert_eq!(token, "good");
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
}

#[test]
fn a_missing_folder_is_an_error_to_save_and_nothing_to_load() {
    let folder = tempfile::tempdir().expect("folder");
    let missing = folder.path().join("missing");
    assert_eq!(loaded(&sources(&missing)), None);
    let error = save(&missing, &SecretString::from(CANARY)).expect_err("no folder").to_string();
    assert!(error.contains("can't be written") && !error.contains("canary"), "{error}");
}

#[test]
fn debug_never_shows_the_token() {
    let folder = tempfile::tempdir().expect("folder");
    save(folder.path(), &SecretString::from(CANARY)).expect("saved");
    let found = load(&sources(folder.path())).expect("no fault");
    assert!(found.as_ref().is_some_and(|(token, _)| token.expose_secret() == CANARY));
    let shown = format!("{found:?} {found:#?}");
    assert!(shown.contains("REDACTED") && !shown.contains("canary"), "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_are_a_token_or_refused_without_an_echo(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        match check(&bytes, || "x".to_owned()) {
            Ok(token) => {
                let token = token.expose_secret();
                prop_assert!(!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert_eq!(token.as_bytes(), bytes.trim_ascii());
            }
            Err(error) => prop_assert!(error.to_string().starts_with("the token in x ")),
        }
    }
}
