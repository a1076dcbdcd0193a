//! How anything says no: what, where, why, what to do next. The same in a terminal, in an HTTP body and in an event.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One refusal. Printed like a compiler's error; serialised as the body of every HTTP answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `M` and four digits by area: 01 general, 02 token and enrolment, 03 config and objects, 04 path and tunnel, 05 MTU,
    /// 06 host, 07 store, 08 roles.
    pub code: String,
    /// What is wrong, in one sentence with the object's name.
    pub what: String,
    /// Where it stands, if it stands in a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Facts: why, and whether anything was changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The next command or edit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub help: Vec<String>,
    /// How a program ends that meets it.
    pub exit: Exit,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// File name, or `<stdin>`.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The whole line.
    pub text: String,
    /// How many characters are meant.
    pub width: u32,
}

/// Exit codes of all three programs. Documented, stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// 1
    Failed,
    /// 2
    Usage,
    /// 3
    Invalid,
    /// 4
    NotFound,
    /// 5
    Conflict,
    /// 6
    Denied,
    /// 7
    Unreachable,
    /// 8
    Timeout,
    /// 9
    Degraded,
}

impl Exit {
    /// The process exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Denied => 6,
            Self::Unreachable => 7,
            Self::Timeout => 8,
            Self::Degraded => 9,
        }
    }
}

impl Problem {
    /// A refusal with nothing but a sentence yet.
    pub fn new(code: &str, exit: Exit, what: impl Into<String>) -> Self {
        Self { code: code.into(), what: what.into(), place: None, notes: Vec::new(), help: Vec::new(), exit }
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", printable(&self.code), printable(&self.what))?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let pad = " ".repeat(number.len());
            // A place may come from another machine: the mark stays under its line.
            let shown = place.text.chars().count();
            let column = (place.column.saturating_sub(1) as usize).min(shown);
            let before = " ".repeat(column);
            let mark = "^".repeat((place.width as usize).min(shown - column).max(1));
            write!(f, "\n{pad}--> {}:{}:{}", printable(&place.file), place.line, place.column)?;
            write!(f, "\n{pad} |\n{number} | {}\n{pad} | {before}{mark}", printable(&place.text))?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {}", printable(note))?;
        }
        for help in &self.help {
            write!(f, "\n  help: {}", printable(help))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// True for what a terminal, a log or a reader could take for something else than a character: control characters, line and
/// paragraph separators, bidirectional marks, characters without width, and tags.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Most characters of a text of others that are quoted.
const QUOTED: usize = 400;

/// The beginning of a text of others: what is wrong with a megabyte is not told by repeating it.
pub fn clip(text: &str) -> &str {
    text.char_indices().nth(QUOTED).map_or(text, |(end, _)| &text[..end])
}

/// Text of others without anything that a terminal or a log could take for a command: control characters and bidirectional
/// marks, and what nobody can see, are escaped.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_hostile(c) {
            out.extend(c.escape_unicode())
        } else {
            out.push(c)
        }
        out
    })
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
