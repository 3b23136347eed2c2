//! The faces of a report: for a terminal, a pull request, a spreadsheet, a CI server and a browser. They compute nothing.

pub mod ci;
pub mod csv;
mod detail;
mod differences;
pub mod html;
mod layout;
pub mod markdown;
pub mod text;
mod values;
