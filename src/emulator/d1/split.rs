//! Cuts the text of a call into statements, as simply as the service does before `SQLite` sees it.
//!
//! A trigger's body holds semicolons. The service knows a body by an upper-case `BEGIN` with a
//! space or a line feed behind it and takes the next upper-case `END` for its end. So a trigger
//! in lower case, one with CRLF line ends and one with `CASE … END` inside are cut in the
//! middle, and `SQLite` says `incomplete input`. `SQLite` itself would take all three.

/// The statements of `sql` without their semicolons; blank ones are left out.
pub(super) fn statements(sql: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut in_body = false;
    let mut at = 0;
    let bytes = sql.as_bytes();
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let skipped = opaque(rest);
        if skipped > 0 {
            at += skipped;
            continue;
        }
        let word = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        if word > 0 {
            let text = rest.get(..word).unwrap_or_default();
            let next = rest.get(word).copied();
            if text == b"BEGIN" && matches!(next, Some(b' ' | b'\n')) {
                in_body |= is_trigger(sql.get(start..at).unwrap_or_default());
            } else if text == b"END" && in_body {
                in_body = false;
            }
            at += word;
            continue;
        }
        if rest.first() == Some(&b';') && !in_body {
            push(&mut found, sql.get(start..at));
            start = at + 1;
        }
        at += 1;
    }
    push(&mut found, sql.get(start..));
    found
}

fn push<'a>(found: &mut Vec<&'a str>, statement: Option<&'a str>) {
    found.extend(statement.filter(|text| !text.trim().is_empty()));
}

fn is_trigger(head: &str) -> bool {
    let mut words = head.split_whitespace().map(str::to_ascii_uppercase);
    words.next().as_deref() == Some("CREATE") && words.take(2).any(|word| word == "TRIGGER")
}

/// Length of the string, quoted name or comment that `rest` starts with; 0 if it is none.
fn opaque(rest: &[u8]) -> usize {
    let until = |from: usize, end: &[u8]| {
        let tail = rest.get(from..).unwrap_or_default();
        tail.windows(end.len()).position(|w| w == end).map_or(rest.len(), |n| from + n + end.len())
    };
    match rest {
        [b'-', b'-', ..] => until(2, b"\n"),
        [b'/', b'*', ..] => until(2, b"*/"),
        [b'[', ..] => until(1, b"]"),
        // A doubled quote ends one string and starts the next, which comes to the same.
        [quote @ (b'\'' | b'"' | b'`'), ..] => until(1, &[*quote]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_strings_names_and_comments_cut_nothing() {
        let sql = "SELECT ';''' AS \";\"; -- a; b\n SELECT /* ; */ 1;;  ";
        assert_eq!(statements(sql).len(), 2);
        assert_eq!(statements("SELECT 'open; SELECT 1"), ["SELECT 'open; SELECT 1"]);
        assert!(statements(" ; \n").is_empty());
    }

    #[test]
    fn an_upper_case_trigger_body_stays_whole() {
        let trigger = "CREATE TRIGGER IF NOT EXISTS t AFTER INSERT ON m BEGIN DELETE FROM f; INSERT INTO f VALUES(1); END";
        assert_eq!(statements(&format!("{trigger}; SELECT 1")), [trigger, " SELECT 1"]);
        assert_eq!(statements(&trigger.replace("; ", ";\n")).len(), 1);
    }

    #[test]
    fn what_the_service_cuts_is_cut() {
        let trigger = "CREATE TRIGGER t AFTER INSERT ON m BEGIN\nSELECT 1;\nSELECT 2;\nEND";
        assert_eq!(statements(trigger).len(), 1);
        assert!(statements(&trigger.to_lowercase()).len() > 1);
        assert!(statements(&trigger.replace('\n', "\r\n")).len() > 1);
        let case =
            "CREATE TRIGGER t AFTER INSERT ON m BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT 3; END";
        assert!(statements(case).len() > 1);
    }

    #[test]
    fn a_transaction_is_no_trigger() {
        assert_eq!(statements("BEGIN ; SELECT 1; END").len(), 3);
    }
}
