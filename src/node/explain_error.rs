//! Why there is nothing to explain.

use super::target::Target;
use crate::api::problem::{Exit, Problem};

/// Code of [`ExplainError`].
pub const UNEXPLAINED: &str = "M0406";

/// Why there is nothing to explain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// The sender is in no row.
    #[error("{} is not known on node '{node}'", guest(.from))]
    Unknown {
        /// The sender.
        from: Target,
        /// This node.
        node: String,
        /// The known port with the most similar name.
        near: Option<String>,
    },
    /// No row has the sender's address, and guests may use any, or one uses it and is refused.
    #[error("{what}")]
    Undeclared {
        /// Who they are, in words.
        what: String,
        /// Commands that ask for them, or that mend it.
        help: String,
    },
    /// The sender is on another node.
    #[error("{} runs on node '{runs_on}', not on '{node}'", guest(.from))]
    Elsewhere {
        /// The sender.
        from: Target,
        /// Where it runs.
        runs_on: String,
        /// This node.
        node: String,
        /// Where the frame shall go.
        to: Target,
    },
}

/// A sender in words.
fn guest(from: &Target) -> String {
    match from {
        Target::Port(port) => format!("port '{port}'"),
        Target::Mac(_) | Target::Ip(_) => format!("a guest with the address {from}"),
    }
}

impl From<ExplainError> for Problem {
    fn from(error: ExplainError) -> Self {
        let problem = Self::new("M0406", Exit::NotFound, error.to_string());
        match error {
            ExplainError::Unknown { near: Some(near), .. } => problem.help(format!("did you mean '{near}'?")),
            ExplainError::Unknown { .. } => problem.help("meshctl port list"),
            ExplainError::Undeclared { help, .. } => problem.help(help),
            ExplainError::Elsewhere { from, runs_on, to, .. } => problem.help(format!(
                "on {runs_on}: meshctl explain {from} {to}; where the admin credential is: meshctl --mesh explain {from} {to}"
            )),
        }
    }
}
