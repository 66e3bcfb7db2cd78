//! Reads the header of a safetensors file: which tensor lies where. The weights themselves are
//! never read here; the runtime maps them.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The header of a large model has some 40 KiB; anything beyond this is damage.
const HEADER_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Why a header can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The file can't be read.
    #[error("read the header of {path}")]
    Io {
        /// The weights file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The length at the front can't be true.
    #[error(
        "the header claims {claimed} bytes, but the file has {file} and a header at most {HEADER_MAX_BYTES}"
    )]
    Length {
        /// What the first eight bytes say.
        claimed: u64,
        /// Size of the file.
        file: u64,
    },
    /// The header is not the JSON it should be.
    #[error("the header is not valid JSON")]
    Json(#[from] serde_json::Error),
    /// A tensor that the model needs is not there.
    #[error("the header lists no tensor {0}")]
    Absent(String),
    /// A tensor is not what the model needs.
    #[error("tensor {name} is {found}, expected {expected}")]
    Unlike {
        /// Name of the tensor.
        name: String,
        /// What the header says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// A tensor lies outside the file.
    #[error("tensor {name} should lie at {begin}..{end}, outside the {data} bytes of data")]
    Outside {
        /// Name of the tensor.
        name: String,
        /// First byte after the header.
        begin: u64,
        /// One past its last byte.
        end: u64,
        /// Bytes after the header.
        data: u64,
    },
}

#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The list of tensors of one file.
#[derive(Debug)]
pub struct Header {
    entries: BTreeMap<String, Entry>,
    data_begin: u64,
    data_bytes: u64,
}

/// Where the bytes of a tensor lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Header {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// The file can't be read, or what stands at its front is no header.
    pub fn read(path: &Path) -> Result<Self, HeaderError> {
        let at = |source| HeaderError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(at)?;
        let file_bytes = file.metadata().map_err(at)?.len();
        let mut prefix = [0_u8; 8];
        file.read_exact(&mut prefix).map_err(at)?;
        let length = checked_length(prefix, file_bytes)?;
        let mut json = Vec::new();
        file.take(length).read_to_end(&mut json).map_err(at)?;
        Self::parse(&json, file_bytes)
    }

    fn parse(json: &[u8], file_bytes: u64) -> Result<Self, HeaderError> {
        let mut raw: BTreeMap<String, serde_json::Value> = serde_json::from_slice(json)?;
        // Free text about the file, not a tensor.
        raw.remove("__metadata__");
        let entries = raw
            .into_iter()
            .map(|(name, value)| Ok((name, serde_json::from_value(value)?)))
            .collect::<Result<_, serde_json::Error>>()?;
        let data_begin = 8 + json.len() as u64;
        Ok(Self { entries, data_begin, data_bytes: file_bytes.saturating_sub(data_begin) })
    }

    /// Finds the f32 tensor `name` (or `bert.` before it, as some files have it) of `shape`.
    ///
    /// # Errors
    /// It is absent, has another type or shape, or lies outside the file.
    pub fn tensor(
        &self,
        name: &str,
        shape: &[Option<u64>],
    ) -> Result<(Vec<u64>, Extent), HeaderError> {
        let entry = self
            .entries
            .get(name)
            .or_else(|| self.entries.get(&format!("bert.{name}")))
            .ok_or_else(|| HeaderError::Absent(name.to_owned()))?;
        let fits = entry.shape.len() == shape.len()
            && entry.shape.iter().zip(shape).all(|(is, want)| want.is_none_or(|want| *is == want));
        if entry.dtype != "F32" || !fits {
            return Err(HeaderError::Unlike {
                name: name.to_owned(),
                found: format!("{}{:?}", entry.dtype, entry.shape),
                expected: format!("F32{}", Pattern(shape)),
            });
        }
        let [begin, end] = entry.data_offsets;
        let length = entry.shape.iter().try_fold(4_u64, |bytes, side| bytes.checked_mul(*side));
        if end > self.data_bytes || length.is_none() || end.checked_sub(begin) != length {
            return Err(HeaderError::Outside {
                name: name.to_owned(),
                begin,
                end,
                data: self.data_bytes,
            });
        }
        let extent = Extent { offset: self.data_begin + begin, length: end - begin };
        Ok((entry.shape.clone(), extent))
    }
}

fn checked_length(prefix: [u8; 8], file_bytes: u64) -> Result<u64, HeaderError> {
    let claimed = u64::from_le_bytes(prefix);
    if claimed > HEADER_MAX_BYTES || claimed > file_bytes.saturating_sub(8) {
        return Err(HeaderError::Length { claimed, file: file_bytes });
    }
    Ok(claimed)
}

struct Pattern<'a>(&'a [Option<u64>]);

impl std::fmt::Display for Pattern<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sides: Vec<String> = self
            .0
            .iter()
            .map(|side| side.map_or_else(|| "any".to_owned(), |side| side.to_string()))
            .collect();
        write!(f, "[{}]", sides.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(json: &str, data: usize) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(&(json.len() as u64).to_le_bytes()).expect("written");
        file.write_all(json.as_bytes()).expect("written");
        file.write_all(&vec![0; data]).expect("written");
        file
    }

    fn tensor_of(json: &str) -> Result<(Vec<u64>, Extent), HeaderError> {
        Header::read(file(json, 24).path())?.tensor("w", &[None, Some(3)])
    }

    #[test]
    fn a_tensor_is_found_with_its_place_in_the_file() {
        let json = r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
        let (shape, extent) = tensor_of(json).expect("a good header");
        assert_eq!(shape, [2, 3]);
        assert_eq!(extent, Extent { offset: 8 + json.len() as u64, length: 24 });
        let prefixed = json.replace("\"w\"", "\"bert.w\"");
        assert!(tensor_of(&prefixed).is_ok());
    }

    #[test]
    fn damage_is_an_error_that_says_what_is_wrong() {
        let good = r#"{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
        let cases = [
            (good.replace("[0,24]", "[4,28]"), "outside the 24 bytes"),
            (good.replace("[0,24]", "[24,0]"), "outside"),
            (good.replace("[0,24]", "[0,20]"), "outside"),
            (good.replace("[2,3]", "[6148914691236517206,3]"), "outside"),
            (good.replace("[2,3]", "[3,2]"), "F32[3, 2], expected F32[any, 3]"),
            (good.replace("[2,3]", "[6]"), "F32[6]"),
            (good.replace("F32", "F16"), "F16[2, 3]"),
            (good.replace("\"w\"", "\"v\""), "no tensor w"),
            (good.replace("[0,24]", "[0,-1]"), "not valid JSON"),
            (good.replace('{', ""), "not valid JSON"),
        ];
        for (json, says) in cases {
            let error = tensor_of(&json).expect_err(&json);
            assert!(error.to_string().contains(says), "{error} should say {says}");
        }
    }

    #[test]
    fn a_length_that_cannot_be_true_allocates_nothing() {
        for claimed in [u64::MAX, HEADER_MAX_BYTES + 1, 17] {
            let error = checked_length(claimed.to_le_bytes(), 24).expect_err("a lie");
            assert!(error.to_string().contains(&claimed.to_string()), "{error}");
        }
        assert_eq!(checked_length(16_u64.to_le_bytes(), 24).ok(), Some(16));
        let short = tempfile::NamedTempFile::new().expect("a temporary file");
        assert!(matches!(Header::read(short.path()), Err(HeaderError::Io { .. })));
    }
}
