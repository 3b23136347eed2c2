//! A SHA-256 digest as the registry writes it; it knows no files and no manifests.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 of some bytes, written `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The blob's file name, `sha256-<hex>`: Ollama's, and safe on every file system.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("sha256-{}", self.hex())
    }

    /// The digest of a blob's file name; `None` where the name is not a blob's.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Digest> {
        name.strip_prefix("sha256-").and_then(parse_hex).map(Digest)
    }

    /// The 64 hex digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// The first 16 characters of [`Digest::hex`]: an id that distinguishes evaluations and prompts.
    #[must_use]
    pub fn id(&self) -> String {
        self.hex()[..16].to_owned()
    }

    /// The first 12 hex digits, which Ollama shows as a model's id.
    #[must_use]
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(12);
        hex
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let refused = || DigestError { value: text.chars().take(100).collect() };
        text.strip_prefix("sha256:").and_then(parse_hex).map(Digest).ok_or_else(refused)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Digest, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// Text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a digest: expected `sha256:` and 64 lower-case hex digits")]
pub struct DigestError {
    /// The refused text, cut to 100 characters.
    pub value: String,
}

/// Digests bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    #[must_use]
    pub fn new() -> Hasher {
        Hasher::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything given to [`Hasher::update`].
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

fn parse_hex(hex: &str) -> Option<[u8; 32]> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        // Upper case is refused, so that a digest has one spelling and a blob one file.
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let hex: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), format!("sha256:{EMPTY}"));
        assert_eq!(Digest::of(b"").file_name(), format!("sha256-{EMPTY}"));
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(hasher.finish(), Digest::of(b"abc"));
    }

    #[test]
    fn refuses_other_spellings() {
        let bad = [
            String::new(),
            EMPTY.to_string(),
            format!("sha256:{}", EMPTY.to_uppercase()),
            format!("sha256:{EMPTY}0"),
            format!("md5:{EMPTY}"),
            format!("sha256:../{}", &EMPTY[3..]),
        ];
        for text in bad {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        let error = "sha256:zz".parse::<Digest>().unwrap_err();
        assert_eq!(error.to_string(), "`sha256:zz` is not a digest: expected `sha256:` and 64 lower-case hex digits");
    }

    proptest! {
        #[test]
        fn text_and_file_name_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let digest = Digest::of(&bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
            prop_assert_eq!(Digest::from_file_name(&digest.file_name()), Some(digest));
            prop_assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<Digest>();
            let _ = Digest::from_file_name(&text);
        }
    }
}
