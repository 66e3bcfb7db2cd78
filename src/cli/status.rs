//! `memtide status`.

use super::failure::{Code, Failure};
use super::session::Session;
use super::{args, output};
use crate::api::oldest::OldestJson;
use crate::api::status::{CourseJson, StatusJson};
use crate::clock::{Clock as _, Micros, SystemClock};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// Between two prints of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

pub(super) fn run(session: &Session, args: &args::Status) -> Result<ExitCode, Failure> {
    loop {
        let client = match session.running_client() {
            Ok(client) => client,
            Err(failure) if failure.code == Code::NoDaemon => return no_daemon(session, args),
            Err(failure) => return Err(failure),
        };
        let status: StatusJson = session.block_on(client.get("/v1/status"))?;
        let shown = if args.json { serde_json::to_string(&status)? } else { text(&status) };
        let is_read = output::line_to_reader(&shown)?;
        if !args.watch || !is_read {
            return Ok(ExitCode::SUCCESS);
        }
        if !args.json {
            output::line("")?;
        }
        session.pause(WATCH_EVERY);
    }
}

/// What can be told without a daemon: the files.
fn no_daemon(session: &Session, args: &args::Status) -> Result<ExitCode, Failure> {
    let paths = &session.paths;
    let bytes = std::fs::metadata(&paths.database).map(|meta| meta.len()).ok();
    if args.json {
        output::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "protocol": crate::api::PROTOCOL,
            "healthy": false,
            "problems": [{
                "code": "no_daemon",
                "message": "no daemon runs",
                "next_step": "start it with `memtide up`",
            }],
            "daemon": null,
            "store": {"path": paths.database.display().to_string(), "bytes": bytes},
            "socket": paths.socket.display().to_string(),
            "config": paths.config_file.display().to_string(),
        }))?;
    } else {
        output::line("daemon       not running (start it with `memtide up`)")?;
        let size = bytes.map_or_else(|| "not there yet".to_owned(), megabytes);
        output::line(&format!("database     {} ({size})", paths.database.display()))?;
        output::line(&format!("socket       {}", paths.socket.display()))?;
        output::line(&format!("config       {}", paths.config_file.display()))?;
        output::line(&format!("log          {}", paths.log_file.display()))?;
    }
    Ok(ExitCode::from(Code::NoDaemon as u8))
}

fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// A status for people.
pub(super) fn text(status: &StatusJson) -> String {
    let mut lines = Vec::new();
    lines.push(if status.healthy { "healthy".to_owned() } else { "NOT HEALTHY".to_owned() });
    for problem in &status.problems {
        lines.push(format!("  {}: {}", problem.code, problem.message));
        lines.push(format!("  -> {}", problem.next_step));
    }
    let store = &status.store;
    lines.push(format!(
        "memories     {} ({} deleted), {}, acknowledged writes survive {}",
        store.memories,
        store.tombstones,
        megabytes(store.bytes),
        store.durability.replace('-', " ")
    ));
    let embedder = &status.embedder;
    let waiting = if embedder.pending == 0 {
        String::new()
    } else {
        format!(", {} waiting for a vector", embedder.pending)
    };
    let vectors = match status.search.vectors.as_str() {
        "memory" => ", vectors in memory",
        "memory_bits" => ", one bit a dimension in memory",
        "file" => ", vectors in the file",
        _ => "",
    };
    lines.push(format!("search       {} is {}{waiting}{vectors}", embedder.model, embedder.state));
    lines.push(replication(status, SystemClock.now()));
    if status.migration.source.is_some() {
        lines.push(format!("moving in    {}", super::migrate::told(&status.migration)));
    }
    let daemon = &status.daemon;
    lines.push(format!(
        "daemon       {}, pid {}, up {}, {} resident, started by {}",
        status.version,
        daemon.pid,
        duration(daemon.uptime_s),
        megabytes(daemon.rss_bytes),
        daemon.started_by
    ));
    if let Some(remark) = other_version(&status.version) {
        lines.push(format!("             {remark}"));
    }
    lines.push(format!("database     {}", store.path));
    lines.push(format!("socket       {}", daemon.socket));
    lines.join("\n")
}

/// A daemon that goes on running after an update is another program than the one on the disk.
fn other_version(daemon: &str) -> Option<String> {
    let own = env!("CARGO_PKG_VERSION");
    (daemon != own).then(|| {
        format!("this command is {own}: restart the daemon with `memtide down` and `memtide up`")
    })
}

fn replication(status: &StatusJson, now: Micros) -> String {
    let replication = &status.replication;
    if replication.state == "unlinked" {
        return "cloud        not linked (see `memtide cloud --help`)".to_owned();
    }
    let outbox = &replication.outbox;
    let mut line = format!("cloud        {}, {}", replication.mode, replication.state);
    let is_complete = outbox.pending + outbox.parked + outbox.waiting_for_embedding == 0;
    if is_complete && outbox.unconfirmed > 0 {
        line.push_str(", everything is taken");
    } else if is_complete {
        line.push_str(", everything is there");
    } else if outbox.pending > 0 {
        let pending = output::counted(outbox.pending, "duty", "duties");
        line.push_str(&format!(", {pending} pending"));
    }
    for (n, what) in [
        (outbox.parked, "parked"),
        (outbox.waiting_for_embedding, "waiting for a vector"),
        (outbox.conflicts, "in conflict"),
        (outbox.unconfirmed, "not confirmed by the index yet"),
    ] {
        if n > 0 {
            line.push_str(&format!(", {n} {what}"));
        }
    }
    if let Some(age) = outbox.oldest_pending_age_s {
        // Whole seconds are enough for people.
        line.push_str(&format!(", the oldest for {age:.0} s"));
    }
    let ways = [("up", &replication.backfill.up), ("down", &replication.backfill.down)];
    for (way, course) in ways {
        if let Some(course) = course.as_ref().filter(|course| course.done < course.total) {
            line.push_str(&format!("\n             {}", backfill(way, course)));
        }
    }
    if let Some(blocked) = outbox.oldest.as_ref().and_then(|oldest| blocked(oldest, now)) {
        line.push_str(&format!("\n             {blocked}"));
    }
    line
}

fn backfill(way: &str, course: &CourseJson) -> String {
    let mut line = format!("backfill {way}: {} of {}", course.done, course.total);
    if course.per_min > 0.0 {
        line.push_str(&format!(", {:.0} a minute", course.per_min));
    }
    if let Some(eta_s) = course.eta_s {
        line.push_str(&format!(", about {} left", duration(eta_s)));
    }
    line
}

/// What the oldest duty waits for, and when it is tried next.
fn blocked(oldest: &OldestJson, now: Micros) -> Option<String> {
    let why = output::printable(oldest.blocked_by.as_deref()?);
    let next_at = oldest.next_attempt_at.as_deref().and_then(Micros::parse_rfc3339);
    let next = match next_at {
        Some(at) if at > now => format!("; tried next in {}", duration(at.since(now).as_secs())),
        Some(_) => "; tried now".to_owned(),
        None => String::new(),
    };
    Some(format!("the oldest is blocked: {why}{next}"))
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_duty_says_why_and_until_when() {
        let now = Micros(1_700_000_000_000_000);
        let told = |why: Option<&str>, next_in: Option<u64>| {
            let next_at = next_in.map(|after| now.plus(Duration::from_secs(after)).to_rfc3339());
            let blocked_by = why.map(str::to_owned);
            let oldest = OldestJson {
                id: "x".to_owned(),
                product: "d1".to_owned(),
                age_s: 3.0,
                blocked_by,
                next_attempt_at: next_at,
            };
            blocked(&oldest, now).unwrap_or_default()
        };
        assert_eq!(told(None, Some(0)), "");
        assert_eq!(
            told(Some("offline: no answer"), Some(90)),
            "the oldest is blocked: offline: no answer; tried next in 1 min"
        );
        assert_eq!(told(Some("a"), Some(0)), "the oldest is blocked: a; tried now");
        assert_eq!(told(Some("parked: b"), None), "the oldest is blocked: parked: b");
    }

    #[test]
    fn a_backfill_tells_how_far_it_is() {
        let mut course = CourseJson { done: 1200, total: 10_000, per_min: 0.0, eta_s: None };
        assert_eq!(backfill("up", &course), "backfill up: 1200 of 10000");
        course = CourseJson { per_min: 300.4, eta_s: Some(1760), ..course };
        assert_eq!(
            backfill("down", &course),
            "backfill down: 1200 of 10000, 300 a minute, about 29 min left"
        );
    }

    #[test]
    fn a_daemon_of_another_version_is_told() {
        assert_eq!(other_version(env!("CARGO_PKG_VERSION")), None);
        assert!(other_version("0.0.9").unwrap().contains("`memtide down`"));
    }
}
