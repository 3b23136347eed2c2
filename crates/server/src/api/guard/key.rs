//! API keys: compared by their digests and in constant time, so that timing reveals nothing.

use super::RulesError;
use axum::http::header::{self, HeaderMap};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// The digests of the keys; none where everybody may ask.
#[derive(Default)]
pub(super) struct Keys(Vec<[u8; 32]>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    pub(super) fn read(text: &str) -> Result<Keys, RulesError> {
        let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
        let digests = keys.map(|key| match key.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Sha256::digest(key).into()),
            // Not the key itself: a message may end up in a log.
            false => Err(RulesError::Key(key.chars().take(2).chain("...".chars()).collect())),
        });
        let digests = digests.collect::<Result<Vec<[u8; 32]>, RulesError>>()?;
        if digests.is_empty() { Err(RulesError::NoKey) } else { Ok(Keys(digests)) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mark of the key that a request holds, if it is one of these. It tells keys apart and says nothing of them.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<String> {
        let bearer = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| bearer(value.as_bytes()));
        // As clients of Anthropic's API send theirs.
        let plain = headers.get_all("x-api-key").iter().map(|value| value.as_bytes());
        bearer.chain(plain).take(4).find_map(|key| self.mark(key))
    }

    fn mark(&self, key: &[u8]) -> Option<String> {
        let digest: [u8; 32] = Sha256::digest(key.trim_ascii()).into();
        let is_one = self.0.iter().fold(Choice::from(0), |found, own| found | own.ct_eq(&digest));
        // Of a digest of the digest: a part of the digest itself would help in guessing.
        let mark = || Sha256::digest(digest)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        bool::from(is_one).then(mark)
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
}
