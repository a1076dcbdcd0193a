//! Places in a text: from byte offsets (TOML) or from line and column (YAML, JSON) to what a [`Problem`] prints.
//!
//! [`Problem`]: crate::api::problem::Problem

use std::ops::Range;

use crate::api::problem::Place;

/// A text and the name that it goes by in errors.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// File name, or `<stdin>`.
    pub file: &'a str,
    /// The whole text.
    pub text: &'a str,
}

/// Longest line that is printed whole; of a longer one, the part around the place is.
const WINDOW: usize = 100;

impl<'a> Source<'a> {
    /// A text that goes by the name `file`.
    pub const fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text }
    }

    /// The place of a range of bytes. A range over several lines is cut at the end of its first.
    pub fn bytes(self, range: Range<usize>) -> Place {
        let start = floor(self.text, range.start.min(self.text.len()));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[..start].matches('\n').count() + 1;
        let rest = self.text[line_start..].lines().next().unwrap_or("");
        let end = floor(self.text, range.end.clamp(start, line_start + rest.len().max(start - line_start)));
        let column = self.text[line_start..start].chars().count() + 1;
        self.make(line, column, rest, self.text[start..end].chars().count())
    }

    /// The place of a line and a column, both from 1, the column in characters. Meant is the word that starts there.
    pub fn line_column(self, line: usize, column: usize) -> Place {
        // YAML 1.2 section 5.4 ends a line at a lone carriage return too.
        let unix = self.text.replace("\r\n", "\n");
        let text = unix.split(['\n', '\r']).nth(line.saturating_sub(1)).unwrap_or("");
        let word = text.chars().skip(column.saturating_sub(1));
        let width = word.take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ':' | ']' | '}' | '{' | '[')).count();
        self.make(line.max(1), column.max(1), text, width)
    }

    fn make(self, line: usize, column: usize, text: &str, width: usize) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (text, shift) = window(text, column - 1);
        let width = width.clamp(1, text.chars().count().saturating_sub(column - 1 - shift).max(1));
        // The column of a line that is printed in part counts from the start of that part, so that the mark stands right.
        Place {
            file: self.file.to_owned(),
            line: number(line),
            column: number(column - shift),
            text,
            width: number(width),
        }
    }
}

/// The greatest character boundary that is not above `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// The part of a line around a character, and how many characters before it are left out. Tabs become one space each.
fn window(line: &str, at: usize) -> (String, usize) {
    let skip = if at > WINDOW { at - WINDOW / 2 } else { 0 };
    let clean = |c: char| if c == '\t' { ' ' } else { c };
    (line.trim_end().chars().skip(skip).take(WINDOW).map(clean).collect(), skip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_line_column_and_width() {
        let source = Source::new("f", "a = 1\nbé = 22\n");
        let place = source.bytes(12..14);
        assert_eq!((place.line, place.column, place.width, place.text.as_str()), (2, 6, 2, "bé = 22"));
        for range in [0..0, 0..usize::MAX, Range { start: usize::MAX, end: 0 }, 8..9, 13..14, 14..14] {
            let place = source.bytes(range);
            assert!(place.line <= 3 && place.width >= 1);
        }
    }

    #[test]
    fn a_line_of_a_megabyte_is_not_printed_whole() {
        let long = "x".repeat(1 << 20);
        let place = Source::new("f", &long).line_column(1, 1 << 19);
        assert!(place.text.len() <= WINDOW && place.column as usize <= WINDOW);
    }

    #[test]
    fn a_place_behind_the_end_is_still_a_place() {
        let place = Source::new("f", "").line_column(0, 0);
        assert_eq!((place.line, place.column, place.width), (1, 1, 1));
        assert_eq!(Source::new("f", "a").line_column(9, 9).width, 1);
    }
}
