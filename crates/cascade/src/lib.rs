//! A cascade as plain values: what its file says, parsed into types that cannot be wrong, and the decisions that follow from it.
//!
//! It asks no model, opens no file and reads no clock: answers, times and amounts are given. Whoever runs the tiers lives above.

mod cascade;
mod certificate;
mod choosing;
mod error;
mod file;
mod handing;
mod labels;
mod path;
mod privacy;
mod routing;
mod spending;
mod verdict;

pub use cascade::{Accept, Budget, Cascade, Exhausted, Threshold, Tier, TierRemote, Whom};
pub use certificate::Certificate;
pub use choosing::{ChoosingError, Chosen, Demand, LEVEL, Levels, Rival, Verdict, choose, rivals, verdict};
pub use error::CascadeError;
pub use file::as_value;
pub use handing::{Draft, Given, HandOn, RankedField};
pub use labels::Labels;
pub use path::{Measure, Outcome, Reason, Step};
pub use privacy::{MaskError, Privacy};
pub use routing::{Figures, NEVER, Routed, RowEnd, Rule, TierRow};
pub use spending::{SHARE_BURST, Spending};
pub use verdict::{Answered, FieldView};
