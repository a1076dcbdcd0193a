//! The audit log's entries: who, what, before and after, from where, when. Written in the transaction of the change itself.

use serde_json::Value;

use super::state::Edit;
use crate::api::admin::{AuditChange, AuditEvent, Verb};
use crate::types::Wall;

/// Prefix of the log's keys in the store.
pub const PREFIX: &str = "audit/";
/// For more objects than this in one change of an operator only names are noted.
const DETAILED: usize = 100;
/// The same in a change of anybody else, who has little room in the log ([`super::ledger`]).
const DETAILED_OTHERS: usize = 8;
/// Objects that an entry of anybody else names.
const NAMED_OTHERS: usize = 64;
/// Longest value that is noted, in characters.
const VALUE_MAX: usize = 200;

/// Who asks, from where, when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `admin/<name>`, `node/<name>`, `token/<id>` or `meshmgr`.
    pub who: String,
    /// Address.
    pub from: String,
    /// When.
    pub at: Wall,
}

impl Origin {
    /// The management node itself.
    pub fn own(at: Wall) -> Self {
        Self { who: "meshmgr".to_owned(), from: "here".to_owned(), at }
    }

    /// An entry about `edits`.
    pub fn event(&self, what: &str, text: impl Into<String>, edits: &[Edit]) -> AuditEvent {
        let (detailed, named) =
            if self.who.starts_with("admin/") { (DETAILED, usize::MAX) } else { (DETAILED_OTHERS, NAMED_OTHERS) };
        let changes = edits.iter().take(named).filter_map(|edit| change(edit, edits.len() <= detailed)).collect();
        let mut text = text.into();
        if let Some(more) = edits.len().checked_sub(named).filter(|more| *more > 0) {
            text.push_str(&format!("; {more} more objects are not named here"));
        }
        AuditEvent { at: self.at, who: self.who.clone(), from: self.from.clone(), what: what.to_owned(), text, changes }
    }
}

/// Key of an entry: keys are in the order of time, and random bytes keep two of one moment apart.
pub fn key(at: Wall, random: [u8; 4]) -> String {
    format!("{PREFIX}{:020}-{}", at.as_nanos(), super::certs::hex(&random))
}

/// What happens to the object of an edit.
pub fn verb(edit: &Edit) -> Verb {
    match (&edit.before, &edit.after) {
        (None, _) => Verb::Create,
        (Some(_), None) => Verb::Delete,
        (Some(before), Some(after)) if before == after => Verb::Unchanged,
        (Some(_), Some(_)) => Verb::Update,
    }
}

fn change(edit: &Edit, detailed: bool) -> Option<AuditChange> {
    let object = edit.object()?;
    let mut fields = Vec::new();
    if detailed {
        let json = |side: &Option<_>| side.as_ref().and_then(|o| serde_json::to_value(o).ok()).unwrap_or(Value::Null);
        differ("", &json(&edit.before), &json(&edit.after), &mut fields);
    }
    Some(AuditChange { kind: object.kind(), name: object.name().to_owned(), change: verb(edit), fields })
}

/// Collects the leaves in which two JSON values differ.
fn differ(path: &str, before: &Value, after: &Value, out: &mut Vec<(String, String, String)>) {
    if before == after || path == "metadata.revision" {
        return;
    }
    let empty = serde_json::Map::new();
    let maps = match (before, after) {
        (Value::Object(a), Value::Object(b)) => Some((a, b)),
        (Value::Null, Value::Object(b)) => Some((&empty, b)),
        (Value::Object(a), Value::Null) => Some((a, &empty)),
        _ => None,
    };
    let Some((a, b)) = maps else {
        out.push((path.to_owned(), short(before), short(after)));
        return;
    };
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys.into_iter().filter(|key| !["kind", "name"].contains(&key.as_str())) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
        differ(&path, &side(a), &side(b), out);
    }
}

fn short(value: &Value) -> String {
    if value.is_null() { String::new() } else { value.to_string().chars().take(VALUE_MAX).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::objects::{Any, Meta, Object};
    use crate::policy::path::{Intra, PdcFacts};

    fn pdc(intra: Intra) -> Any {
        let metadata = Meta { name: "fra".parse().unwrap(), labels: Default::default(), revision: Some(3) };
        Any::Pdc(Object { metadata, spec: PdcFacts { intra, ..PdcFacts::default() }, status: () })
    }

    #[test]
    fn an_entry_says_which_field_was_what() {
        let origin = Origin { who: "admin/root".into(), from: "192.0.2.1".into(), at: Wall::from_secs(9) };
        let edit = Edit::update(pdc(Intra::Plain), pdc(Intra::Encrypted));
        let event = origin.event("update", "pdc fra", &[edit]);
        let fields = &event.changes[0].fields;
        assert_eq!(fields, &[("spec.intra".to_owned(), "\"plain\"".to_owned(), "\"encrypted\"".to_owned())]);
        let made = origin.event("create", "pdc fra", &[Edit::create(pdc(Intra::Plain))]);
        assert_eq!((made.changes[0].change, made.changes[0].fields.is_empty()), (Verb::Create, false));
    }

    #[test]
    fn keys_are_in_the_order_of_time() {
        assert!(key(Wall::from_secs(9), [255; 4]) < key(Wall::from_secs(10), [0; 4]));
    }
}
