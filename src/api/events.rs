//! `GET /v1/events`: what happens, as server-sent events. A reader that lags is told how many it missed.

use super::doors::Doors;
use crate::service::event::{Change, Event};
use crate::shutdown::Phase;
use axum::extract::State;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::StreamExt as _;
use futures_util::stream::Stream;
use serde_json::json;
use std::convert::Infallible;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

pub(super) async fn events(
    State(doors): State<Doors>,
) -> Sse<impl Stream<Item = Result<Sent, Infallible>>> {
    let stream = BroadcastStream::new(doors.service.events().subscribe())
        .map(|event| Ok(sent(event)))
        .take_until(async move { doors.shutdown.reached(Phase::Draining).await });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

fn sent(event: Result<Event, BroadcastStreamRecvError>) -> Sent {
    match event {
        Ok(Event::Memory(change, id)) => {
            let name = match change {
                Change::Stored => "stored",
                Change::Updated => "updated",
                Change::Deleted => "deleted",
            };
            Sent::default().event(name).data(json!({"id": id.to_string()}).to_string())
        }
        Ok(Event::Sync(state)) => {
            Sent::default().event("sync").data(json!({"state": state}).to_string())
        }
        Err(BroadcastStreamRecvError::Lagged(missed)) => {
            Sent::default().event("lagged").data(json!({"missed": missed}).to_string())
        }
    }
}
