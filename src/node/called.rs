//! Networks are called by their names where people read of them. What looks at the kernel knows a network by overlay and VNI alone; who tells it
//! knows the table.

use crate::api::local::Finding;
use crate::table::Slice;

/// The finding with the names of the networks that the table has, in place of their overlay and VNI.
pub fn by_name(mut finding: Finding, slice: &Slice) -> Finding {
    for (key, network) in &slice.networks {
        let (key, name) = (key.to_string(), network.name.as_str());
        for text in [&mut finding.what, &mut finding.help] {
            if text.contains(&key) {
                *text = renamed(text, &key, name);
            }
        }
    }
    finding
}

/// The text with another word in place of one, where that stands alone.
fn renamed(text: &str, word: &str, other: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    for (at, _) in text.match_indices(word) {
        let end = at + word.len();
        if !text[..at].ends_with(part) && !text[end..].starts_with(part) {
            out.push_str(&text[rest..at]);
            out.push_str(other);
            rest = end;
        }
    }
    out.push_str(&text[rest..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_one_name_wherever_it_is_told_of() {
        let slice = crate::node::plan::tests::slice("suppress", serde_json::json!({}));
        for (what, told) in [
            ("network default/10: 2 ports", "network blue: 2 ports"),
            ("guest 02:00:00:00:00:01 of default/10 is heard", "guest 02:00:00:00:00:01 of blue is heard"),
            ("default/10 and default/10", "blue and blue"),
            ("network default/101, x-default/10, default/10/-/02:00:00:00:00:01", ""),
            ("network other/10 is not known here", ""),
            ("network blue", ""),
        ] {
            let finding = by_name(Finding::new("M0614", what.to_owned(), "default/10"), &slice);
            assert_eq!(finding.what, if told.is_empty() { what } else { told });
            assert_eq!(finding.help, "blue");
        }
    }
}
