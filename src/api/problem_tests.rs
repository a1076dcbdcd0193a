use proptest::prelude::*;

use super::*;

/// What Unicode calls control (Cc), format (Cf), line (Zl) and paragraph separators (Zp), as far as terminals and readers obey it.
fn obeyed(c: char) -> bool {
    c.is_control()
        || "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".contains(c)
        || "\u{200b}\u{200c}\u{200d}\u{2028}\u{2029}\u{2060}\u{feff}\u{e0001}\u{e0041}\u{e007f}".contains(c)
}

proptest! {
    #[test]
    fn printable_text_holds_nothing_that_a_terminal_obeys(text in any::<String>()) {
        let clean = printable(&text);
        prop_assert!(clean.bytes().all(|byte| byte >= 0x20 && byte != 0x7f), "{clean:?}");
        prop_assert!(!clean.contains(obeyed), "{clean:?}");
        prop_assert_eq!(printable(&clean), clean.clone(), "once is enough");
        if !text.contains(is_hostile) {
            prop_assert_eq!(clean, text, "what is harmless stays as it is");
        }
    }

    #[test]
    fn a_printed_problem_has_the_lines_that_it_is_made_of(
        what in any::<String>(), file in any::<String>(), text in any::<String>(), note in any::<String>(), help in any::<String>(),
    ) {
        let place = Place { file, line: 3, column: 4, text, width: 2 };
        let problem = Problem::new("M0302", Exit::Invalid, what).at(place).note(note).help(help);
        let shown = problem.to_string();
        prop_assert_eq!(shown.split('\n').count(), 7, "{}", &shown);
        prop_assert!(!shown.contains(|c| c != '\n' && obeyed(c)), "{shown:?}");
    }
}

#[test]
fn every_character_that_is_obeyed_is_escaped() {
    for c in ('\0'..=char::MAX).filter(|c| obeyed(*c)) {
        assert_eq!(printable(&c.to_string()), c.escape_unicode().to_string());
    }
}
