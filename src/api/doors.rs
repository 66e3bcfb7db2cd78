//! What the handlers of the socket share: the parts of the daemon that they show or move.

use crate::clock::Micros;
use crate::migrate::job::Migrator;
use crate::replicate::handle::ReplicatorHandle;
use crate::service::Service;
use crate::service::backup::Backups;
use crate::shutdown::{Phase, Shutdown, Stopper};
use crate::store::search::Mode;
use metrics_exporter_prometheus::PrometheusHandle;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What every handler can reach.
pub type Doors = Arc<DoorParts>;

/// Parts of the daemon that the API shows.
pub struct DoorParts {
    /// What does the work.
    pub service: Service,
    /// What copies the database.
    pub backups: Backups,
    /// What carries duties to the cloud.
    pub replicator: ReplicatorHandle,
    /// What moves in from the Python service.
    pub migrator: Migrator,
    /// What is being fetched for the embedder, or why that failed.
    pub fetching: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// The parts that broke down by a defect, by name.
    pub broken: Box<dyn Fn() -> Vec<&'static str> + Send + Sync>,
    /// Zone in which dates and phrases are read.
    pub zone: jiff::tz::TimeZone,
    /// Mode of a search that names none.
    pub default_mode: Mode,
    /// Hits of a search that names no number.
    pub default_limit: i64,
    /// Age of a duty from which on `status` is unhealthy.
    pub alarm_age: Duration,
    /// When the daemon started.
    pub started_at: Micros,
    /// `user`, `systemd`, `launchd` or `client`.
    pub started_by: String,
    /// Where it listens.
    pub socket: PathBuf,
    /// Tells the process's resident memory in bytes.
    pub rss: fn() -> u64,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Watches the way down.
    pub shutdown: Shutdown,
    /// Starts the way down.
    pub stopper: Stopper,
}

impl DoorParts {
    pub(super) fn rss_bytes(&self) -> u64 {
        (self.rss)()
    }

    pub(super) fn stop(&self) {
        self.stopper.advance(Phase::Draining);
    }
}
