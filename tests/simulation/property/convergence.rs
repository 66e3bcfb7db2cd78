//! I2, I3: in the end all devices hold the same, the cloud's states are the devices', and the Python
//! service's rows show them. Nothing is there twice.

use super::super::view::{Cloud, Local, Memory, Row};
use super::{End, Moment, Property, View};
use memtide::model::id::{BodyHash, MemoryId};
use serde_json::{Map, Value};
use std::rc::Rc;

pub struct DevicesConvergeWhenQuiet;

impl Property for DevicesConvergeWhenQuiet {
    fn name(&self) -> &'static str {
        "devices_converge_when_quiet"
    }

    fn see(&mut self, moment: &Moment<'_>, view: &View<'_>) -> Result<(), String> {
        match moment {
            Moment::CloudMoved { .. } => {
                view.cloud.oddities.first().map_or(Ok(()), |odd| Err(odd.clone()))
            }
            Moment::Acted { device, before, after } | Moment::Moved { device, before, after } => {
                texts_are_whole(before, after).map_err(|why| format!("device {device}: {why}"))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, end: &End<'_>) -> Result<(), String> {
        let View { devices, cloud, .. } = &end.view;
        let (first, others) = devices.split_first().expect("a device");
        for (n, other) in others.iter().enumerate() {
            same_states(first, other).map_err(|why| format!("devices 0 and {}: {why}", n + 1))?;
        }
        same_as_cloud(first, cloud)
    }
}

/// A living memory has the text that its state names.
fn texts_are_whole(before: &Local, after: &Local) -> Result<(), String> {
    for (id, memory) in after.memories.iter().filter(|(_, memory)| memory.state.is_alive()) {
        let is_known = before.memories.get(id).is_some_and(|had| {
            Rc::ptr_eq(&had.state, &memory.state) && had.content == memory.content
        });
        let body = memory.content.as_deref().map(BodyHash::of);
        if !is_known && body != Some(memory.state.text.value) {
            return Err(format!("{id} reads {:?}, which is not its text", memory.content));
        }
    }
    Ok(())
}

fn same_states(one: &Local, other: &Local) -> Result<(), String> {
    for memory in one.memories.keys().chain(other.memories.keys()) {
        let (a, b) = (one.memories.get(memory), other.memories.get(memory));
        let (Some(a), Some(b)) = (a, b) else { return Err(format!("only one has {memory}")) };
        if a.state != b.state {
            return Err(format!("{memory} is {:?} and {:?}", a.state, b.state));
        }
        if a.state.is_alive() && a.content != b.content {
            return Err(format!("{memory} reads {:?} and {:?}", a.content, b.content));
        }
    }
    Ok(())
}

fn same_as_cloud(local: &Local, cloud: &Cloud) -> Result<(), String> {
    for memory in cloud.entries.keys().chain(cloud.rows.keys()).chain(cloud.feed.keys()) {
        if !local.memories.contains_key(memory) {
            return Err(format!("no device has {memory}, which the cloud has"));
        }
    }
    for (id, memory) in &local.memories {
        let entry = cloud.entries.get(id);
        if entry != Some(&memory.state) {
            return Err(format!("the cloud's state of {id} is {entry:?}, not {:?}", memory.state));
        }
        if !cloud.feed.contains_key(id) {
            return Err(format!("the feed lacks {id}"));
        }
        row_shows(memory, cloud.rows.get(id), cloud)
            .map_err(|why| format!("row of {id}: {why}"))?;
    }
    Ok(())
}

fn row_shows(memory: &Memory, row: Option<&Row>, cloud: &Cloud) -> Result<(), String> {
    let state = &memory.state;
    let Some(row) = row else {
        return if state.is_alive() { Err("missing".to_owned()) } else { Ok(()) };
    };
    if row.is_alive != state.is_alive() {
        return Err(format!("alive is {}", row.is_alive));
    }
    if !row.is_alive {
        return Ok(());
    }
    let body = row.r2_key.as_ref().map(|key| cloud.bodies.get(key));
    let content = body.map_or(Some(&row.content), |body| body);
    if content != memory.content.as_ref() {
        return Err(format!("reads {content:?} instead of {:?}", memory.content));
    }
    if row.kind.as_deref() != Some(&state.kind.value) {
        return Err(format!("has the type {:?} instead of {:?}", row.kind, state.kind.value));
    }
    let tags = state.live_tags();
    if !row.tags.iter().map(String::as_str).eq(tags.iter().copied()) {
        return Err(format!("has the tags {:?} instead of {tags:?}", row.tags));
    }
    let mut column: Vec<&str> = row
        .tags_column
        .iter()
        .flat_map(|tags| tags.split(','))
        .filter(|tag| !tag.is_empty())
        .collect();
    // In whatever order the service has listed them.
    column.sort_unstable();
    if !column.iter().copied().eq(tags.iter().copied()) {
        return Err(format!("has the tag column {column:?} instead of {tags:?}"));
    }
    let metadata = metadata(memory);
    if row.metadata.as_ref() != Some(&metadata) {
        return Err(format!("has the metadata {:?} instead of {metadata}", row.metadata));
    }
    Ok(())
}

fn metadata(memory: &Memory) -> Value {
    let live = memory.state.live_metadata().into_iter();
    let mut shown: Map<String, Value> = live
        .map(|(key, value)| (key.to_owned(), serde_json::from_str(value).expect("JSON")))
        .collect();
    if let Some(successor) = &memory.state.superseded_by.value {
        shown.insert("superseded_by".to_owned(), Value::from(successor.to_string()));
    }
    Value::Object(shown)
}

/// The memories that a search should find: alive, and not replaced by another.
pub fn findable(local: &Local) -> Vec<MemoryId> {
    let is_findable =
        |one: &Memory| one.state.is_alive() && one.state.superseded_by.value.is_none();
    local.memories.iter().filter(|(_, one)| is_findable(one)).map(|(id, _)| *id).collect()
}
