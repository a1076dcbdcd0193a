//! Where log lines go: standard error, one line an event, whatever the event quotes.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::api::problem::printable;

/// Standard error, for events of a log. An event stays one line and holds no control character: a name or an error that somebody
/// else chose cannot write a line of its own, nor talk to a terminal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Journal;

/// Escapes what is written to `out`; each write is one event, as `tracing-subscriber` does it.
#[derive(Debug)]
pub struct OneLine<W>(W);

impl<'a> MakeWriter<'a> for Journal {
    type Writer = OneLine<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(io::stderr())
    }
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = printable(text.strip_suffix('\n').unwrap_or(&text));
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// What a log makes of an event, with the writer that the daemons use around it.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(text: &str) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = fmt::layer().with_ansi(false).with_writer(move || OneLine(writer.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::warn!(shown = %text, quoted = ?text, "of somebody else: {text}");
        });
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    proptest! {
        #[test]
        fn an_event_is_one_line_without_control_characters(text in "\\PC*|.*|(\n|\r|\u{1b}|\u{9b}|\u{2028}|\u{202e}|.){0,40}") {
            let line = logged(&text);
            let body = line.strip_suffix('\n').unwrap();
            prop_assert!(body.contains("of somebody else"));
            prop_assert!(!body.contains(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{202e}'), "{body:?}");
        }
    }

    #[test]
    fn a_forged_line_stays_inside_its_own() {
        let line = logged("guest\n2026-01-01T00:00:00Z ERROR forged\x1b[2J");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains("guest\\u{a}2026"), "{line}");
    }
}
