//! Labels: what operators write on objects, to find them again.

use std::collections::BTreeMap;

use crate::api::objects::Any;

/// `--label KEY=VALUE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label(String, String);

impl std::str::FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok(Self(key.trim().to_owned(), value.to_owned())),
            Some(_) | None => Err(format!("'{text}' is not KEY=VALUE")),
        }
    }
}

/// Writes labels on an object; one without a value is taken off.
pub(super) fn write(object: &mut Any, labels: &[Label]) {
    let all = of_mut(object);
    for Label(key, value) in labels {
        if value.is_empty() {
            all.remove(key);
        } else {
            all.insert(key.clone(), value.clone());
        }
    }
}

/// Has an object all of these?
pub(super) fn fit(object: &Any, labels: &[Label]) -> bool {
    let all = of(object);
    labels.iter().all(|Label(key, value)| all.get(key).map_or(value.is_empty(), |found| found == value))
}

const fn of(object: &Any) -> &BTreeMap<String, String> {
    match object {
        Any::Pdc(it) => &it.metadata.labels,
        Any::Node(it) => &it.metadata.labels,
        Any::Overlay(it) => &it.metadata.labels,
        Any::Network(it) => &it.metadata.labels,
        Any::Port(it) => &it.metadata.labels,
        Any::PathPolicy(it) => &it.metadata.labels,
        Any::Token(it) => &it.metadata.labels,
    }
}

const fn of_mut(object: &mut Any) -> &mut BTreeMap<String, String> {
    match object {
        Any::Pdc(it) => &mut it.metadata.labels,
        Any::Node(it) => &mut it.metadata.labels,
        Any::Overlay(it) => &mut it.metadata.labels,
        Any::Network(it) => &mut it.metadata.labels,
        Any::Port(it) => &mut it.metadata.labels,
        Any::PathPolicy(it) => &mut it.metadata.labels,
        Any::Token(it) => &mut it.metadata.labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mgmt::fixture;

    #[test]
    fn labels_are_written_found_and_taken_off() {
        let label = |text: &str| text.parse::<Label>().unwrap();
        let mut port = Any::Port(fixture::port("web", "blue", "a-1", 1, "192.168.10.9"));
        write(&mut port, &[label("team=shop"), label("tier=front=end")]);
        assert!(fit(&port, &[label("team=shop"), label("tier=front=end")]) && fit(&port, &[]));
        assert!(
            !fit(&port, &[label("team=other")])
                && !fit(&port, &[label("owner=shop")])
                && fit(&port, &[label("owner=")])
        );
        write(&mut port, &[label("team=")]);
        assert!(!fit(&port, &[label("team=shop")]) && fit(&port, &[label("tier=front=end")]));
        for text in ["", "team", "=shop", " =x"] {
            assert!(text.parse::<Label>().is_err(), "{text:?}");
        }
    }
}
