//! Asks a person for a secret without showing it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};

use zeroize::Zeroizing;

use super::sys;

/// Longest line that is read.
const MOST: u64 = 16 << 10;

/// One line: from the terminal, with `prompt` and without echo; from standard input where that is no terminal.
///
/// # Errors
/// The system's; `UnexpectedEof` where there is no line.
pub fn read_hidden(prompt: &str) -> io::Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return line(&mut io::stdin().lock());
    }
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(prompt.as_bytes())?;
    let quiet = Quiet::start(&terminal)?;
    let read = line(&mut BufReader::new(&terminal));
    drop(quiet);
    // The line end that was typed was not shown either.
    terminal.write_all(b"\n")?;
    read
}

fn line(from: &mut impl io::BufRead) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    if io::Read::take(from, MOST).read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text)
}

/// Echo is off until this goes away, also by an error.
struct Quiet<'a>(&'a File, bool);

impl<'a> Quiet<'a> {
    fn start(terminal: &'a File) -> io::Result<Self> {
        let was = sys::terminal_echo(terminal, false)?;
        Ok(Self(terminal, was))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing better can be done about a terminal that went away.
        let _ = sys::terminal_echo(self.0, self.1);
    }
}
