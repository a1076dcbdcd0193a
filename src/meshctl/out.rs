//! The only way to stdout. Results go there, as a table, JSON or YAML; talk goes to stderr. A reader that has seen enough and
//! closes the pipe ends the program quietly.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::api::API_VERSION;
use crate::api::problem::{Exit, Problem, printable};
use crate::config::dates;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON document.
    Json,
    /// For people and programs.
    Yaml,
}

/// Why a command ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is wrong.
    Refused(Box<Problem>),
    /// Nobody reads the result any more.
    PipeClosed,
    /// The result is out, and what it shows is not well.
    Degraded,
    /// The result is out, and it is a difference.
    Differs,
}

/// What a command comes to.
pub(super) type Done = Result<(), Stop>;

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

/// A list for people: lines of cells under column names.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    columns: Vec<&'static str>,
    lines: Vec<Vec<String>>,
}

impl Lines {
    /// Without lines yet.
    pub(super) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), lines: Vec::new() }
    }

    /// Adds a line. An empty cell is shown as `-`.
    pub(super) fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        let clean = |cell: String| if cell.is_empty() { "-".to_owned() } else { printable(&cell) };
        self.lines.push(cells.into_iter().map(clean).collect());
    }

    /// True where there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Cuts to `most` lines and says how many are not shown.
    pub(super) fn cut(&mut self, most: usize) -> usize {
        let more = self.lines.len().saturating_sub(most);
        self.lines.truncate(most);
        more
    }

    /// The text: columns two spaces apart, no frame, nothing behind the last character of a line.
    pub(super) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(self.columns.clone());
        table.add_rows(self.lines.clone());
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// Writes text to stdout.
pub(super) fn text(text: &str) -> Done {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Stop::PipeClosed;
        }
        Problem::new("M0110", Exit::Failed, format!("the result cannot be written: {error}")).into()
    })
}

/// Writes one line to stdout.
pub(super) fn line(line: &str) -> Done {
    text(&format!("{}\n", printable(line)))
}

/// Writes a line to stderr. What cannot be said there cannot be said at all.
pub(super) fn talk(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a value as JSON or YAML.
///
/// # Errors
/// The pipe is closed, or the value cannot be written in this format.
pub(super) fn value(format: Format, value: &impl Serialize) -> Done {
    let mut value = serde_json::to_value(value).map_err(|e| unprintable(&e.to_string()))?;
    dates::readable(&mut value);
    match format {
        Format::Json | Format::Table => {
            let written = serde_json::to_string_pretty(&value).map_err(|e| unprintable(&e.to_string()))?;
            text(&format!("{written}\n"))
        }
        Format::Yaml => text(&serde_saphyr::to_string(&value).map_err(|e| unprintable(&e.to_string()))?),
    }
}

fn unprintable(why: &str) -> Problem {
    Problem::new("M0110", Exit::Failed, format!("the result cannot be written: {why}"))
}

/// The envelope of lists: `{"apiVersion", "kind", "items"}`.
pub(super) fn envelope(kind: &str, items: &impl Serialize) -> Result<Value, Problem> {
    let items = serde_json::to_value(items).map_err(|e| unprintable(&e.to_string()))?;
    Ok(serde_json::json!({ "apiVersion": API_VERSION, "kind": kind, "items": items }))
}

/// Prints a list in any format: `lines` for people, the items in their envelope for programs.
pub(super) fn list(format: Format, kind: &str, items: &impl Serialize, lines: &Lines) -> Done {
    match format {
        Format::Table if lines.is_empty() => {
            talk(&format!("no {kind}"));
            Ok(())
        }
        Format::Table => text(&lines.text()),
        Format::Json | Format::Yaml => value(format, &envelope(kind, items)?),
    }
}

/// Tells a refusal: to people on stderr, to programs on stdout.
pub(super) fn problem(format: Format, problem: &Problem) {
    match format {
        Format::Json | Format::Yaml => drop(value(format, &serde_json::json!({ "error": problem }))),
        Format::Table => talk(&marked(&problem.to_string(), coloured(io::stderr().is_terminal()))),
    }
}

/// Red, and as before (ECMA-48, SGR).
pub(super) const RED: [&str; 2] = ["\u{1b}[31m", "\u{1b}[0m"];

/// A refusal whose first line, what is wrong, is red where that may be.
fn marked(text: &str, red: bool) -> String {
    let [begin, end] = if red { RED } else { [""; 2] };
    let (what, rest) = text.find('\n').map_or((text, ""), |at| text.split_at(at));
    format!("{begin}{what}{end}{rest}")
}

/// May what is wrong be shown in colour? On a terminal that has some, and where nobody says no (no-color.org).
pub(super) fn colours() -> bool {
    coloured(io::stdout().is_terminal())
}

fn coloured(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_red_and_nothing_else_is() {
        assert_eq!(marked("error[M0101]: no\n  help: x", true), "\u{1b}[31merror[M0101]: no\u{1b}[0m\n  help: x");
        assert_eq!(marked("error[M0101]: no\n  help: x", false), "error[M0101]: no\n  help: x");
        assert!(!coloured(false), "never without a terminal");
    }

    #[test]
    fn a_table_is_plain_text_without_a_frame() {
        let mut lines = Lines::new(&["NAME", "VNI"]);
        lines.add(["blue".to_owned(), "10".to_owned()]);
        lines.add(["\u{1b}[2Jx".to_owned(), String::new()]);
        assert_eq!(lines.text(), "NAME        VNI\nblue        10\n\\u{1b}[2Jx  -\n");
        assert_eq!((lines.cut(1), lines.lines.len()), (1, 1));
    }
}
