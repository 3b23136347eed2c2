//! The older form of an importance matrix, `.dat`: numbers and names one after the other, without a magic number.

use std::collections::BTreeMap;

use super::{Imatrix, ImatrixError, Importance};

/// The most entries, and the most bytes of a name: real files have a few hundred and a few dozen.
const MAX_ENTRIES: i32 = 65_536;
const MAX_NAME_BYTES: i32 = 256;

/// Reads such a file.
///
/// # Errors
/// A number is impossible, or the bytes end too early.
pub fn parse(bytes: &[u8]) -> Result<Imatrix, ImatrixError> {
    let mut rest = bytes;
    let n_entries = number(&mut rest, "it is empty")?;
    if !(1..=MAX_ENTRIES).contains(&n_entries) {
        return Err(ImatrixError::Legacy("its number of entries is impossible"));
    }
    let mut entries = BTreeMap::new();
    for _ in 0..n_entries {
        let name = text(&mut rest, "an entry has no name")?;
        let n_calls = number(&mut rest, "an entry has no count")?;
        let n_values = number(&mut rest, "an entry has no number of values")?;
        let n_bytes = usize::try_from(n_values).ok().filter(|&n| n > 0).and_then(|n| n.checked_mul(4));
        let n_bytes = n_bytes.ok_or(ImatrixError::Legacy("an entry has an impossible number of values"))?;
        let values = take(&mut rest, n_bytes, "an entry's values end too early")?;
        let sums = values.chunks_exact(4).map(|x| f32::from_le_bytes([x[0], x[1], x[2], x[3]])).collect();
        // Where no calls were counted the values are what they are.
        let counts = vec![if n_calls > 0 { n_calls as f32 } else { 1.0 }];
        entries.insert(name, Importance { sums, counts });
    }
    // What follows came later, and need not be there.
    let n_chunks = number(&mut rest, "").ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let datasets = text(&mut rest, "").ok().filter(|name| !name.is_empty()).into_iter().collect();
    Ok(Imatrix { entries, datasets, n_chunks, chunk_size: 0 })
}

fn take<'b>(rest: &mut &'b [u8], n_bytes: usize, missing: &'static str) -> Result<&'b [u8], ImatrixError> {
    let (taken, left) = rest.split_at_checked(n_bytes).ok_or(ImatrixError::Legacy(missing))?;
    *rest = left;
    Ok(taken)
}

fn number(rest: &mut &[u8], missing: &'static str) -> Result<i32, ImatrixError> {
    let bytes = take(rest, 4, missing)?;
    Ok(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn text(rest: &mut &[u8], missing: &'static str) -> Result<String, ImatrixError> {
    let n_bytes = number(rest, missing)?;
    if !(0..=MAX_NAME_BYTES).contains(&n_bytes) && !missing.is_empty() {
        return Err(ImatrixError::Legacy(missing));
    }
    let bytes = take(rest, usize::try_from(n_bytes).unwrap_or(0), missing)?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}
