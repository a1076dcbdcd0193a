//! What can go wrong with a lab, and how it is told.

use std::io;

use crate::api::problem::{Exit, Problem};

/// Why a lab command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A program that the lab runs ended with an error.
    #[error("`{line}` failed: {why}")]
    Command {
        /// The command line.
        line: String,
        /// Its last words, or its exit status.
        why: String,
    },
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The error.
        source: io::Error,
    },
    /// A condition did not come true in time.
    #[error("waited {seconds} s for {what}; the last answer was: {last}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// What was seen last.
        last: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The wanted shape is impossible.
    #[error("{0}")]
    Shape(String),
    /// A refusal that is complete as it is.
    #[error("{0}")]
    Refused(Box<Problem>),
}

impl LabError {
    /// For `map_err` on file and process operations.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl From<Problem> for LabError {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<LabError> for Problem {
    fn from(error: LabError) -> Self {
        let text = error.to_string();
        match error {
            LabError::Command { .. } => Self::new("M0651", Exit::Failed, text),
            LabError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Self::new("M0652", Exit::Denied, text)
                    .help("labs are root's, because they make network namespaces: the same command with sudo, as in sudo meshctl lab list")
            }
            LabError::Io { .. } => Self::new("M0662", Exit::Failed, text),
            LabError::Timeout { .. } => Self::new("M0653", Exit::Timeout, text),
            LabError::Interrupted => Self::new("M0654", Exit::Failed, text),
            LabError::Shape(_) => Self::new("M0655", Exit::Invalid, text).note("nothing was changed"),
            LabError::Refused(problem) => *problem,
        }
    }
}
