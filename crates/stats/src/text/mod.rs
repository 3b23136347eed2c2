//! When two texts say the same: folded texts, numbers, dates, and lists whose items find their partners.

mod assignment;
mod date;
mod fold;
mod number;

pub use assignment::assign;
pub use date::{Date, DayMonth, parse_date};
pub use fold::fold;
pub use number::{Tolerance, parse_number};
