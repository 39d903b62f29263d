//! The binary's error type: one line for people and an exit code for scripts.
//!
//! A message says on one line what is wrong and what to do about it. It never contains a secret.

use std::fmt;

/// What went wrong, by who can fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The command line or an environment variable is invalid: exit code 2.
    Usage(String),
    /// The machine, a file or another process prevents the start: exit code 3.
    Refused(String),
    /// Something failed while running: exit code 1.
    Failed(String),
}

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An invalid command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(one_line(message.into()))
    }

    /// A refusal to start.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused(one_line(message.into()))
    }

    /// A failure at run time.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(one_line(message.into()))
    }

    /// The process exit code: 1 failed, 2 usage, 3 refused to start.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Refused(message) | Self::Failed(message) => out.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// Prints one line for the operator to standard error; the node goes on.
pub fn note(text: fmt::Arguments<'_>) {
    engine::io::log_line(&format!("hamster: {}", one_line(text.to_string())));
}

/// Replaces line breaks by spaces: operators grep for these lines, and supervisors show only the last one.
fn one_line(message: String) -> String {
    if message.contains(['\n', '\r']) { message.replace(['\n', '\r'], " ") } else { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_the_fault_decides_the_exit_code() {
        assert_eq!(Error::usage("a\nb").to_string(), "a b");
        assert_eq!(Error::failed("x").exit_code(), 1);
        assert_eq!(Error::usage("x").exit_code(), 2);
        assert_eq!(Error::refused("x").exit_code(), 3);
    }
}
