//! How values that serde would refuse or bloat go between processes: paths and blocks of bytes, exactly as they are.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// A path as its bytes: it need not be UTF-8.
pub mod path {
    use super::{Bytes, Deserialize, Deserializer, Path, PathBuf, Serialize, Serializer};

    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::of(path).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(Bytes::deserialize(deserializer)?.path())
    }
}

/// Paths, as [`path`].
pub mod paths {
    use super::{Bytes, Deserialize, Deserializer, PathBuf, Serializer};
    use serde::ser::SerializeSeq as _;

    pub fn serialize<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(paths.len()))?;
        paths.iter().try_for_each(|path| list.serialize_element(&Bytes::of(path)))?;
        list.end()
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<Bytes>::deserialize(deserializer)?.into_iter().map(Bytes::path).collect())
    }
}

/// A block of bytes in one piece, where serde would take it byte by byte.
pub mod bytes {
    use super::{Bytes, Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, [u8]>, D::Error> {
        Ok(Cow::Owned(Bytes::deserialize(deserializer)?.0))
    }
}

/// Bytes that are one value to serde.
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(path: &Path) -> Bytes {
        Bytes(path.as_os_str().as_bytes().to_vec())
    }

    fn path(self) -> PathBuf {
        OsString::from_vec(self.0).into()
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Whole;

        impl Visitor<'_> for Whole {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Whole)
    }
}

#[cfg(test)]
mod tests;
