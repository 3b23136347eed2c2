//! What goes wrong with a journal of results, in the words of the commands that write one.

use crate::batch::journal::JournalError;
use crate::failure::Failure;

/// The failure of a journal, with the flags that help.
#[must_use]
pub fn failure(error: JournalError) -> Failure {
    let hint = match &error {
        JournalError::Exists(_) => "; continue it with --resume, or start again with --overwrite",
        JournalError::NoFile(_) => "; leave out --output and redirect standard output",
        JournalError::Foreign { .. } => "; give another file, or start again with --overwrite",
        JournalError::DiskFull { .. } => "; free some space and continue with --resume",
        JournalError::Busy(_) | JournalError::Input(_) | JournalError::Io { .. } => "",
    };
    let mut failure = Failure::from(error);
    failure.message += hint;
    failure
}
