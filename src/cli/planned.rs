//! A blob that would be downloaded or uploaded, as `--dry-run` of pull and push lists it.

use serde_json::Value;

use crate::manifest;
use crate::transfer::Planned;
use crate::ui::table::size;

/// The columns of [`row`].
pub const HEADER: [&str; 4] = ["DIGEST", "KIND", "SIZE", ""];

/// A row of the table; `state` says how much of the blob is present.
#[must_use]
pub fn row(blob: &Planned, state: String) -> Vec<String> {
    let id = blob.digest.map_or_else(|| "-".to_owned(), |digest| digest.short());
    vec![id, manifest::kind(&blob.media_type).to_owned(), size(blob.n_bytes), state]
}

/// The same for programs.
#[must_use]
pub fn json(blob: &Planned) -> Value {
    serde_json::json!({
        "digest": blob.digest,
        "media_type": blob.media_type,
        "total": blob.n_bytes,
        "completed": blob.present,
    })
}
