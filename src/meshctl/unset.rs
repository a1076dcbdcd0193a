//! `set --unset FIELD`: a field as if it had never been given, for every field of every kind that may be empty.

use serde_json::{Map, Value};

use crate::api::objects::Any;
use crate::api::problem::{Exit, Problem};
use crate::config::nearest;
use crate::policy::mtu::MtuPolicy;

/// The object without these fields of its spec. A field is called as the flag that sets it, or as in a manifest.
///
/// # Errors
/// M0133: there is no such field, or the object cannot be without it.
pub(super) fn without(object: &Any, fields: &[String]) -> Result<Any, Problem> {
    let mut object = object.clone();
    for field in fields {
        object = take(&object, field)?;
    }
    Ok(object)
}

/// Refuses a line that empties a field and gives it as well. `object` has been emptied and then given what the flags say.
///
/// # Errors
/// M0133.
pub(super) fn once(object: &Any, fields: &[String]) -> Result<(), Problem> {
    for field in fields.iter().filter(|field| !is_label(field)) {
        if take(object, field)? != *object {
            let flag = field.trim_start_matches("--");
            return Err(Problem::new("M0133", Exit::Usage, format!("'{flag}' is emptied and given in one line"))
                .note("nothing was changed")
                .help("leave out one of the two: a list that is given replaces all of what is there"));
        }
    }
    Ok(())
}

/// Labels are beside the fields of a kind.
fn is_label(field: &str) -> bool {
    matches!(field.trim_start_matches("--"), "label" | "labels")
}

fn take(object: &Any, field: &str) -> Result<Any, Problem> {
    let whole = serde_json::to_value(object).map_err(|e| Problem::new("M0110", Exit::Failed, e.to_string()))?;
    let mut changed = whole.clone();
    if is_label(field) {
        changed.get_mut("metadata").and_then(Value::as_object_mut).and_then(|metadata| metadata.remove("labels"));
        return serde_json::from_value(changed).map_err(|_| needed(object, field));
    }
    let Some(spec) = changed.get_mut("spec").and_then(Value::as_object_mut) else { return Err(none(object, field)) };
    if let Some(part) = part_of_mtu(object, field) {
        empty(spec, part);
        return serde_json::from_value(changed).map_err(|_| needed(object, field));
    }
    let Some(name) = named(spec, field) else {
        // A field that is empty is left out where objects are written down.
        return if MAY_BE_EMPTY.contains(&camel(field).as_str()) {
            Ok(object.clone())
        } else {
            Err(none(object, field))
        };
    };
    spec.remove(&name);
    serde_json::from_value(changed).map_err(|_| needed(object, field))
}

/// The part of the MTU policy that is meant: it is called as the flag beside `--mtu`, or as in a manifest.
fn part_of_mtu(object: &Any, field: &str) -> Option<&'static str> {
    let camel = camel(field);
    let part = camel.strip_prefix("mtu.").unwrap_or(&camel);
    let has = matches!(object, Any::Network(_) | Any::Overlay(_));
    MTU_PARTS.into_iter().find(|known| has && *known == part)
}

/// Empties a part of the MTU policy. Where nothing is left that is not usual, the policy is as if none had been given.
fn empty(spec: &mut Map<String, Value>, part: &str) {
    let Some(policy) = spec.get_mut("mtu").and_then(Value::as_object_mut) else { return };
    if policy.remove(part).is_none() {
        return;
    }
    let left = serde_json::from_value::<MtuPolicy>(Value::Object(policy.clone()));
    if left.is_ok_and(|left| left == MtuPolicy::default()) {
        spec.remove("mtu");
    }
}

/// Parts of an MTU policy.
const MTU_PARTS: [&str; 3] = ["fixed", "oversize", "vlan"];

/// Fields that objects may be without, as manifests call them.
const MAY_BE_EMPTY: [&str; 23] = [
    "between",
    "network",
    "iKnowThisIsClear",
    "admin",
    "external",
    "foreign",
    "endpoint",
    "mtu",
    "nodes",
    "cidr",
    "gateway",
    "owner",
    "flood",
    "groupRate",
    "vlan",
    "ips",
    "allowed",
    "ip",
    "role",
    "interface",
    "routers",
    "tunnelWhenDead",
    "underlay",
];

/// The member that is meant: as it is written, in manifests' way, or one of several.
fn named(spec: &Map<String, Value>, field: &str) -> Option<String> {
    let camel = camel(field);
    [field.to_owned(), format!("{camel}s"), camel].into_iter().find(|name| spec.contains_key(name))
}

/// `udp-port` is `udpPort`.
fn camel(field: &str) -> String {
    let mut parts = field.trim_start_matches("--").split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (head, tail) = part.split_at(part.char_indices().nth(1).map_or(part.len(), |(at, _)| at));
        text + &head.to_ascii_uppercase() + tail
    })
}

fn none(object: &Any, field: &str) -> Problem {
    let what = format!("a {} has no field '{field}' that can be unset", object.kind());
    let problem = Problem::new("M0133", Exit::Usage, what).note("nothing was changed");
    match nearest(field, MAY_BE_EMPTY) {
        Some(near) => problem.help(format!("did you mean '{near}'?")),
        None => problem.help(format!("what it has: meshctl {} show {}", object.kind(), object.name())),
    }
}

fn needed(object: &Any, field: &str) -> Problem {
    let (kind, name) = (object.kind(), object.name());
    Problem::new("M0133", Exit::Usage, format!("{kind} '{name}' cannot be without '{field}'"))
        .note("nothing was changed")
        .help(format!("to change it: meshctl {kind} set {name} --{field} VALUE"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mgmt::fixture;

    fn unset(object: &Any, field: &str) -> Result<Value, Problem> {
        without(object, &[field.to_owned()]).map(|object| serde_json::to_value(object).unwrap()["spec"].clone())
    }

    #[test]
    fn a_field_that_may_be_empty_is_empty_and_one_that_may_not_is_refused() {
        let mut network = fixture::network("blue", "default", 10, "192.168.10.0/24");
        network.spec.owner = Some("shop".into());
        let network = Any::Network(network);
        assert!(unset(&network, "owner").unwrap().get("owner").is_none());
        assert!(unset(&network, "cidr").unwrap().get("cidr").is_none_or(|cidr| *cidr == serde_json::json!([])));
        assert_eq!(
            unset(&network, "mtu").unwrap(),
            serde_json::to_value(&network).unwrap()["spec"],
            "it is empty already"
        );
        let Any::Network(mut sized) = network.clone() else { unreachable!("it is one") };
        let oversize = crate::policy::mtu::Oversize::TooBig;
        sized.spec.mtu = Some(MtuPolicy { vlan: true, oversize, ..MtuPolicy::default() });
        let sized = Any::Network(sized);
        for spelling in ["oversize", "--oversize", "mtu.oversize"] {
            let spec = unset(&sized, spelling).unwrap();
            assert!(spec["mtu"].get("oversize").is_none_or(|left| left == "fragment"), "{spelling}: {spec}");
            assert_eq!(spec["mtu"]["vlan"], true, "{spelling}: {spec}");
        }
        let whole = without(&sized, &["oversize".to_owned(), "vlan".to_owned()]).unwrap();
        assert_eq!(whole, network, "as if none had been given");
        assert_eq!(without(&network, &["oversize".to_owned()]).unwrap(), network, "it is empty already");
        let port = Any::Port(fixture::port("web", "blue", "a-1", 1, "192.168.10.9"));
        assert!(unset(&port, "oversize").is_err());
        for spelling in ["ip", "ips", "--ip"] {
            let spec = unset(&port, spelling).unwrap();
            assert!(spec.get("ips").is_none_or(|ips| *ips == serde_json::json!([])), "{spelling}: {spec}");
        }
        for (object, field, says) in [
            (&network, "overlay", "cannot be without 'overlay'"),
            (&network, "vni", "cannot be without 'vni'"),
            (&port, "mac", "cannot be without 'mac'"),
            (&port, "colour", "has no field 'colour'"),
            (&network, "onwer", "has no field 'onwer'"),
            (&network, "__proto__", "has no field"),
        ] {
            let problem = unset(object, field).unwrap_err();
            assert!(problem.code == "M0133" && problem.what.contains(says), "{field}: {problem}");
        }
        let mut labelled = port.clone();
        crate::meshctl::labels::write(&mut labelled, &["tier=web".parse().unwrap()]);
        for spelling in ["label", "labels", "--label"] {
            assert_ne!(labelled, port);
            assert_eq!(without(&labelled, &[spelling.to_owned()]).unwrap(), port, "{spelling}");
        }
        let overlay = Any::Overlay(fixture::overlay("default", 4789));
        assert!(unset(&overlay, "udp-port").unwrap().get("udpPort").is_none(), "the server gives one");
    }

    #[test]
    fn a_field_is_emptied_or_given_and_not_both() {
        let given = Any::Port(fixture::port("web", "blue", "a-1", 1, "192.168.10.9"));
        let fields = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let problem = once(&given, &fields("role,ips")).unwrap_err();
        assert!(problem.code == "M0133" && problem.what.contains("'ips' is emptied and given"), "{problem}");
        assert!(once(&given, &fields("role,vlan,label")).is_ok());
        assert!(once(&without(&given, &fields("ip")).unwrap(), &fields("ip")).is_ok());
    }
}
