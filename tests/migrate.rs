//! Moving in from the Python service: databases in every variant of its schema, and what its real
//! releases write.

#![expect(clippy::indexing_slicing, reason = "what isn't as expected fails the test")]

#[path = "support/daemon.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod daemon;
#[path = "support/model.rs"]
mod model;
#[path = "support/npm.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod npm;
#[path = "support/python_service.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod python_service;

#[path = "migrate/back.rs"]
mod back;
#[path = "migrate/bad.rs"]
mod bad;
#[path = "migrate/changed.rs"]
mod changed;
#[path = "migrate/clouded.rs"]
mod clouded;
#[path = "migrate/faults.rs"]
mod faults;
#[path = "migrate/inspected.rs"]
mod inspected;
#[path = "migrate/lived.rs"]
mod lived;
#[path = "migrate/moving.rs"]
mod moving;
#[path = "migrate/real.rs"]
mod real;
#[path = "migrate/vectors.rs"]
mod vectors;
#[path = "migrate/verified.rs"]
mod verified;
#[path = "migrate/written.rs"]
mod written;
