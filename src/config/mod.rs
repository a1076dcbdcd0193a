//! Ring 1: what operators write, to validated values; text in, values out.
//!
//! [`meshd`] and [`meshmgr`] are the programs' own files (TOML), [`manifest`] are objects (YAML or JSON). All three refuse what
//! they do not know, and say where: file, line, column, the line itself and the nearest known word. Nothing here opens a file.

pub mod dates;
pub mod manifest;
pub mod meshd;
pub mod meshmgr;
mod place;
mod say;
mod values;

pub use self::place::Source;
pub use self::say::nearest;
pub use self::values::{Attach, Ciphers, Lanes, Level, Period, UnderlayMtu};

use crate::api::problem::Problem;

/// Reads TOML into `T`; everything that is wrong with it becomes a [`Problem`] with its place.
///
/// # Errors
/// M03xx.
pub fn from_toml<T: serde::de::DeserializeOwned>(source: Source<'_>) -> Result<T, Problem> {
    toml::from_str(source.text).map_err(|error| {
        let problem = say::problem(error.message());
        match error.span() {
            Some(span) => problem.at(source.bytes(span)),
            None => problem.note(format!("in {}", source.file)),
        }
    })
}

#[cfg(test)]
mod examples_tests;
