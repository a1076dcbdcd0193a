//! Every message between programs, with everything in it: one field more anywhere changes nothing and is named.

use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::api::admin::{
    Applied, Apply, BackupText, Events, ForeignConfig, MadeToken, Matrix, MeshStatus, NewToken, Objects,
};
use crate::api::enroll::{EnrollAnswer, EnrollRequest, RenewAnswer, RenewRequest, TokenText};
use crate::api::local::{self, Explanation, Status};
use crate::api::mtu::{MeshMtu, NodeMtu, Probed};
use crate::api::objects::Any;
use crate::api::problem::Problem;
use crate::api::stream::{self, Report};
use crate::policy::path::{Action, Intra, Path, Selector};
use crate::table::{Delta, Flood, Learning, PortRole, Slice, Suite};

/// Members whose values are maps: their keys are names and addresses, not fields.
const MAPS: &[&str] =
    &["pdcs", "policies", "networks", "rows", "peers", "members", "labels", "paths", "objects", "drops"];
/// Members that hold enums with a payload, told by the one key that they have.
const CHOICES: &[&str] = &["between"];
/// Enums whose `state` tells the rest: serde keeps them before it reads them, and what is unknown is skipped without a name.
const UNNAMED: &[&str] = &["management"];

fn key(n: u8) -> String {
    crate::types::PublicKey([n; 32]).to_string()
}

pub(crate) fn slice() -> Value {
    json!({
        "version": {"incarnation": 1, "revision": 7}, "node": "a-1", "pdc": "a", "tunnelAddress": "100.100.0.1",
        "keys": {"current": key(1), "next": key(2), "replace": true},
        "pdcs": {"a": {"intra": "plain", "underlay": ["10.0.0.0/24"], "maxHops": 1}},
        "policies": {"p": {"between": [{"pdc": "a"}, {"node": "b-1"}], "network": "green", "action": "encrypt",
            "iKnowThisIsClear": true}},
        "networks": {"default/10": {"name": "green", "udpPort": 4789, "cidr": ["192.0.2.0/24"], "gateway": ["192.0.2.1"],
            "mtu": {"fixed": 1400, "vlan": true, "oversize": "too-big"}, "guestMtu": 1400, "flood": "replicate",
            "learning": "local", "members": {"b-1": "tunnel"}}},
        "rows": {"default/10/-/02:00:00:00:00:01": {"node": "b-1", "arp": ["192.0.2.5"], "nd": ["2001:db8::5"],
            "port": "web", "dhcpProxy": "02:00:00:00:00:09", "role": ["router", "dhcp"], "interface": "tap0"}},
        "peers": {"b-1": {"pdc": "b", "publicKey": key(3), "psk": key(4), "suite": "aesgcm", "admin": "10.1.0.1",
            "external": "198.51.100.1", "listen": 51820, "lanes": 2,
            "changing": [{"own": key(1), "remote": key(5), "psk": key(6)}],
            "foreign": {"tunnelAddress": "100.100.0.9", "endpoint": "198.51.100.1:51820"}}},
    })
}

pub(crate) fn delta() -> Value {
    let slice = slice();
    let part = |name: &str| json!({"set": slice[name], "gone": []});
    json!({
        "from": {"incarnation": 1, "revision": 6}, "to": {"incarnation": 1, "revision": 7}, "hash": "00", "pdc": "a",
        "tunnelAddress": "100.100.0.1", "keys": slice["keys"], "pdcs": part("pdcs"), "policies": part("policies"),
        "networks": part("networks"), "rows": part("rows"), "peers": part("peers"),
    })
}

fn facts() -> Value {
    json!({"admin": "10.0.0.1", "external": "198.51.100.1", "adminMtu": 1500, "externalMtu": 1500, "listen": 51820,
        "lanes": 2, "aes": true, "version": "9.9.9"})
}

fn report() -> Value {
    json!({"applied": {"incarnation": 1, "revision": 7}, "facts": facts(), "nextKey": key(2), "keyInUse": key(2),
        "ports": [{"network": "default/10", "mac": "02:00:00:00:00:01", "ips": ["192.0.2.5"]}],
        "paths": [{"node": "b-1", "bytes": 1400, "since": 1767225600}],
        "away": [{"network": "default/10", "mac": "02:00:00:00:00:01", "interface": "tap0"}]})
}

fn objects() -> Vec<Value> {
    let object = |kind: &str, name: &str, spec: Value| json!({"kind": kind, "metadata": {"name": name, "labels": {"a": "b"}, "revision": 7}, "spec": spec, "status": null});
    let slice = slice();
    let mut node = object(
        "Node",
        "a-1",
        json!({"pdc": "a", "admin": "10.0.0.1", "external": "198.51.100.1",
        "foreign": {"publicKey": key(1), "endpoint": "198.51.100.1:51820", "tunnelAddress": "100.100.0.9"}}),
    );
    node["status"] = json!({"publicKey": key(1), "nextPublicKey": key(2), "keySince": 1_700_000_000_u64,
        "replaceKey": true, "quarantined": 1_700_000_000_u64, "tlsKey": "ab", "nextTlsKey": "cd", "facts": facts(),
        "tunnelAddress": "100.100.0.1", "joined": 1_700_000_000_u64,
        "acknowledged": {"incarnation": 1, "revision": 7}, "paths": {"b-1": 1400}});
    let mut token = object(
        "Token",
        "t1",
        json!({"pdc": "a", "namePattern": "*", "uses": 1,
        "expires": 1_700_000_000_u64}),
    );
    token["status"] = json!({"secretHash": "ab", "used": [{"node": "a-1", "key": "ab", "from": "::1",
        "at": 1_700_000_000_u64}]});
    let mtu = slice["networks"]["default/10"]["mtu"].clone();
    vec![
        object("Pdc", "a", slice["pdcs"]["a"].clone()),
        node,
        object("Overlay", "default", json!({"udpPort": 4789, "mtu": mtu, "nodes": ["a-1"], "flood": "off"})),
        object(
            "Network",
            "green",
            json!({"overlay": "default", "vni": 10, "cidr": ["192.0.2.0/24"],
            "gateway": ["192.0.2.1"], "mtu": mtu, "owner": "x", "learning": "local", "flood": "off"}),
        ),
        object(
            "Port",
            "web",
            json!({"network": "green", "node": "a-1", "mac": "02:00:00:00:00:01", "vlan": 5,
            "ips": ["192.0.2.5"], "role": ["router", "dhcp"], "interface": "tap0", "reported": true}),
        ),
        object("Policy", "p", slice["policies"]["p"].clone()),
        token,
    ]
}

fn audit() -> Value {
    json!({"at": 1_700_000_000_u64, "who": "admin/x", "from": "::1", "what": "create", "text": "t",
        "changes": [{"kind": "port", "name": "web", "change": "create", "fields": [["a", "b", "c"]]}]})
}

fn sizes() -> Value {
    json!({"oversize": 1, "fragmented": 1, "fragmentsSent": 2, "reassembled": 1, "fragmentsRefused": 1, "tooBig": 1,
        "mssClamped": 1})
}

fn network_mtu() -> Value {
    json!({"network": "green", "mtu": 1400, "fixed": true, "saidBy": "network", "whole": 1400, "missing": 0, "sum": "s",
        "limit": "l", "oversize": "drop", "counts": sizes()})
}

fn lane() -> Value {
    json!({"lane": 0, "bytes": 1400, "phase": "base", "seconds": 1})
}

fn status() -> Value {
    json!({"node": "a-1", "pdc": "a", "daemon": "0", "management": {"state": "away", "since": 1_700_000_000_u64,
        "why": "w"}, "version": {"incarnation": 1, "revision": 7}, "certificateEnds": 1_700_000_000_u64,
        "networks": [{"name": "green", "key": "default/10", "bridge": "vb10", "ports": 1, "plugged": 0, "rows": 1, "mtu": 1400,
            "absent": [{"port": "p", "mac": "02:00:00:00:00:01", "interface": "g1", "since": 1_700_000_000}],
            "problem": "p"}],
        "peers": [{"node": "b-1", "pdc": "b", "paths": ["tunnel"], "why": "w", "vtep": "10.0.0.1",
            "tunnel": {"node": "b-1", "endpoint": "198.51.100.1:51820", "handshakeAge": 1, "up": true,
                "suite": "aesgcm", "received": 1, "sent": 1, "loss": 1, "lanes": [{"lane": 0, "endpoint": "198.51.100.1:51820",
                    "handshakeAge": 1, "up": true, "received": 1, "sent": 1}], "silence": "out"}, "plain": [{"udpPort": 4789,
                "state": "out-lost", "answeredAge": 1, "rttMicros": 1, "loss": 1, "bytes": 1450}]}],
        "problems": [{"code": "M0410", "what": "w", "help": "h"}], "drops": {"oversize": 1}, "sizes": sizes(),
        "offload": {"features": [{"name": "tap", "state": "on", "why": "w", "help": "h", "chosen": true}],
            "superFramesCut": 1, "superFramesWhole": 1, "trainsResent": 1, "framesWritten": 1, "tapWrites": 1,
            "superFramesRecut": 1, "tailsSent": 1, "tailsReceived": 1}})
}

/// Puts one field more into each object of `value` in turn: the new values, each with the path of the field.
fn one_more(value: &Value) -> Vec<(String, Value)> {
    fn places(value: &Value, parent: &str, at: &str, shown: &str, found: &mut Vec<(String, String)>) {
        match value {
            Value::Object(members) => {
                let change = members.len() == 2 && members.contains_key("set") && members.contains_key("gone");
                let map = MAPS.contains(&parent) && !change;
                if !map && !CHOICES.contains(&parent) {
                    found.push((at.to_owned(), shown.to_owned()));
                }
                for (name, member) in members {
                    let inner = if change && name == "set" {
                        "rows"
                    } else if map {
                        ""
                    } else {
                        name
                    };
                    let step = if map { "*" } else { name };
                    places(
                        member,
                        inner,
                        &format!("{at}/{}", name.replace('/', "~1")),
                        &format!("{shown}{step}."),
                        found,
                    );
                }
            }
            Value::Array(items) => {
                let inner = if CHOICES.contains(&parent) { parent } else { "" };
                for (n, item) in items.iter().enumerate() {
                    places(item, inner, &format!("{at}/{n}"), &format!("{shown}*."), found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    places(value, "", "", "", &mut found);
    let news =
        [json!(null), json!(true), json!(-1.5), json!("text"), json!([[], {"a": []}]), json!({"set": {}, "gone": []})];
    let inject = |(n, (at, shown)): (usize, (String, String))| {
        let mut more = value.clone();
        more.pointer_mut(&at).unwrap()["zzNew"] = news[n % news.len()].clone();
        (format!("{shown}zzNew"), more)
    };
    found.into_iter().enumerate().map(inject).collect()
}

fn as_value<T: Serialize>(said: &T) -> Value {
    serde_json::to_value(said).unwrap()
}

/// The sample is whole, and says the same with one field more.
fn holds<T: DeserializeOwned + Serialize>(sample: &Value) {
    let kind = std::any::type_name::<T>();
    let whole: T = serde_json::from_value(sample.clone()).unwrap_or_else(|e| panic!("{kind}: {e}"));
    assert_eq!(as_value(&whole), *sample, "{kind}: the sample leaves something out");
    let known = read::<T>(sample.to_string().as_bytes()).unwrap();
    assert_eq!((as_value(&known.said), known.unknown), (sample.clone(), Vec::new()), "{kind}");
    let places = one_more(sample);
    assert!(!places.is_empty());
    for (at, more) in places {
        let heard = read::<T>(more.to_string().as_bytes()).unwrap_or_else(|e| panic!("{kind} with {at}: {e}"));
        assert_eq!(as_value(&heard.said), *sample, "{kind} with {at}");
        let named = !UNNAMED.iter().any(|part| at.starts_with(part));
        assert_eq!(heard.unknown, if named { vec![at] } else { Vec::new() }, "{kind}");
    }
}

#[test]
fn every_message_with_one_field_more_says_the_same_and_the_field_is_named() {
    holds::<Slice>(&slice());
    holds::<Delta>(&delta());
    holds::<Report>(&report());
    holds::<EnrollRequest>(&json!({"token": "t1", "secret": "s", "name": "a-1", "assertedPdc": "a", "csr": "c",
        "publicKey": key(1), "facts": facts()}));
    holds::<EnrollAnswer>(&json!({"name": "a-1", "pdc": "a", "certificate": "c", "ca": "c", "slice": slice()}));
    holds::<RenewRequest>(&json!({"csr": "c"}));
    holds::<RenewAnswer>(&json!({"certificate": "c"}));
    holds::<TokenText>(&json!({"addresses": ["m:7443"], "pin": "p", "id": "t1", "secret": "s"}));
    holds::<Problem>(&json!({"code": "M0101", "what": "w", "notes": ["n"], "help": ["h"], "exit": "conflict",
        "place": {"file": "f", "line": 1, "column": 1, "text": "t", "width": 1}}));
}

#[test]
fn every_answer_of_the_management_node_with_one_field_more_says_the_same() {
    let objects = objects();
    holds::<Objects>(&json!({"apiVersion": "vxmesh/v1", "items": objects}));
    holds::<Applied>(&json!({"changes": [{"kind": "port", "name": "web", "change": "update", "before": objects[4],
        "after": objects[4]}]}));
    objects.iter().for_each(holds::<Any>);
    holds::<MadeToken>(&json!({"id": "t1", "token": "t", "expires": 1_700_000_000_u64}));
    holds::<BackupText>(&json!({"text": "t"}));
    holds::<Events>(&json!({"items": [audit()]}));
    holds::<MeshStatus>(&json!({"daemon": "0", "version": {"incarnation": 1, "revision": 7}, "objects": {"port": 1},
        "nodes": [{"node": "a-1", "pdc": "a", "foreign": false, "joined": 1_700_000_000_u64, "connected": true,
            "seen": 1_700_000_000_u64, "acknowledged": {"incarnation": 1, "revision": 7}, "inSync": true,
            "daemon": "0"}], "problems": [{"code": "M0107", "what": "w", "help": "h"}]}));
    holds::<Matrix>(
        &json!({"pdcs": [{"a": "a", "b": "b", "path": "tunnel", "why": "w"}], "nodes": [{"network": "green",
        "a": "a-1", "b": "b-1", "path": "plain", "why": "w", "outer": "admin", "mtu": 1400}]}),
    );
    holds::<ForeignConfig>(&json!({"wireguard": "w", "commands": "c"}));
    holds::<MeshMtu>(
        &json!({"pairs": [{"a": "a", "b": "b", "path": "tunnel", "ends": ["a-1", "b-1"], "underlay": 1500,
        "measured": 1400, "since": 1_700_000_000_u64, "counts": 1400, "guest": 1318, "sum": "s", "limit": "l"}],
        "networks": [network_mtu()]}),
    );
}

#[test]
fn every_answer_of_the_daemon_with_one_field_more_says_the_same() {
    holds::<Status>(&status());
    holds::<Vec<local::Event>>(
        &json!([{"at": 1_700_000_000_u64, "kind": "k", "text": "t", "port": "p", "interface": "tap1",
        "network": "blue", "node": "a-1"}]),
    );
    holds::<Explanation>(&json!({"from": "web", "fromNode": "a-1", "to": "t", "steps": [{"what": "port", "text": "t",
        "passes": true}], "verdict": "arrives", "delivered": true, "probed": true, "mac": "02:00:00:00:00:01"}));
    holds::<NodeMtu>(&json!({"node": "a-1", "peers": [{"node": "b-1", "pdc": "b", "path": "tunnel", "underlay": 1500,
        "measured": 1400, "since": 1_700_000_000_u64, "lanes": [lane()], "counts": sizes(), "guest": 1318,
        "sum": "s", "limit": "l"}], "networks": [network_mtu()]}));
    holds::<Probed>(&json!({"node": "b-1", "milliseconds": 1, "lanes": [lane()], "complete": true, "guest": 1318,
        "sum": "s"}));
}

#[test]
fn what_operators_ask_for_is_refused_with_one_field_more() {
    fn refuses<T: DeserializeOwned>(sample: &Value) {
        assert!(serde_json::from_value::<T>(sample.clone()).is_ok());
        for (at, more) in one_more(sample) {
            assert!(serde_json::from_value::<T>(more).is_err(), "{} with {at}", std::any::type_name::<T>());
        }
    }
    objects().iter().for_each(refuses::<Any>);
    refuses::<Apply>(&json!({"items": objects(), "dryRun": true}));
    refuses::<NewToken>(&json!({"pdc": "a", "namePattern": "*", "uses": 1, "ttlSeconds": 1}));
    // Also where the kind does not come first, as no program of ours writes it.
    for object in objects() {
        let Value::Object(members) = &object else { panic!() };
        let backwards: Vec<String> = members.iter().rev().map(|(name, value)| format!("{name:?}:{value}")).collect();
        let text = format!("{{{}}}", backwards.join(","));
        assert_eq!(serde_json::from_str::<Any>(&text).unwrap(), serde_json::from_value(object.clone()).unwrap());
        let more = text.replacen('{', "{\"zzNew\":1,", 1);
        assert!(serde_json::from_str::<Any>(&more).is_err(), "{more}");
    }
}

#[test]
fn an_unknown_value_is_the_one_that_lets_the_least_happen_and_any_other_is_refused() {
    let with = |at: &str, new: Value| {
        let mut sample = slice();
        *sample.pointer_mut(at).unwrap() = new;
        sample
    };
    let safe = |at: &str, new: Value| {
        let heard = read::<Slice>(with(at, new).to_string().as_bytes()).unwrap();
        assert_eq!(heard.unknown.len(), 1, "{:?}", heard.unknown);
        assert!(heard.unknown[0].contains("taken as"), "{:?}", heard.unknown);
        heard.said
    };
    for new in [json!("fresh"), json!({"fresh": {"deep": [1, 2]}})] {
        let network =
            |at: &str| safe(&format!("/networks/default~110/{at}"), new.clone()).networks.into_values().next().unwrap();
        assert_eq!(network("members/b-1").members.into_values().next(), Some(Path::Forbidden));
        assert_eq!((network("flood").flood, network("learning").learning), (Flood::Off, Learning::Declared));
        assert_eq!(network("mtu/oversize").mtu.unwrap().oversize, crate::policy::mtu::Oversize::Drop);
        let row =
            safe("/rows/default~110~1-~102:00:00:00:00:01/role/0", new.clone()).rows.into_values().next().unwrap();
        assert_eq!(row.role, PortRole::Dhcp.into(), "what is known of them holds");
        assert_eq!(safe("/peers/b-1/suite", new.clone()).peers.into_values().next().unwrap().suite, Suite::Chacha);
        assert_eq!(safe("/pdcs/a/intra", new.clone()).pdcs.into_values().next().unwrap().intra, Intra::Encrypted);
        let policy = |at: &str| safe(&format!("/policies/p/{at}"), new.clone()).policies.into_values().next().unwrap();
        assert_eq!(policy("action").action, Action::Forbid);
        assert_eq!(policy("between/0").between[0], Selector::Unknown);
    }
    // Nobody who writes a manifest or asks an operator's question gets this.
    for at in ["/policies/p/action", "/policies/p/between/0", "/pdcs/a/intra", "/networks/default~110/flood"] {
        for new in [json!("fresh"), json!({"fresh": "x"}), json!(u32::MAX), json!({"4294967295": "x"})] {
            assert!(serde_json::from_value::<Slice>(with(at, new)).is_err(), "{at}");
        }
    }
    // What is no list of values is no guess: addresses, keys, numbers.
    for (at, new) in
        [("/node", json!("no name!")), ("/peers/b-1/listen", json!("x")), ("/peers/b-1/publicKey", json!("x"))]
    {
        assert!(read::<Slice>(with(at, new).to_string().as_bytes()).is_err(), "{at}");
    }
}

#[test]
fn an_unknown_selector_stays_one_on_the_disk() {
    let mut sample = slice();
    sample["policies"]["p"]["between"] = json!([{"tenant": "x"}]);
    let said = read::<Slice>(sample.to_string().as_bytes()).unwrap().said;
    let again = read::<Slice>(serde_json::to_string(&said).unwrap().as_bytes()).unwrap().said;
    assert_eq!(said, again);
}

#[test]
fn lines_of_an_unknown_type_are_named_and_nothing_else() {
    let line = stream::read(br#"{"type": "hymn", "slice": 5, "verses": [1]}"#).ok().unwrap();
    assert!(line.message.is_none());
    assert_eq!(line.unknown, ["type 'hymn'"]);
    for bad in ["", "[]", "{}", r#"{"type": 5}"#, r#"{"type": "delta"}"#, r#"{"type": "current"}"#] {
        assert!(stream::read(bad.as_bytes()).is_err(), "{bad}");
    }
    for (kind, rest) in [
        ("snapshot", format!("\"hash\":\"0\",\"slice\":{}", slice())),
        ("removed", "\"x\":1".into()),
        ("delta", format!("\"delta\":{}", delta())),
        ("current", r#""version":{"incarnation":1,"revision":1}"#.into()),
    ] {
        let line = format!("{{\"type\":\"{kind}\",\"zzNew\":[{{}}],{rest}}}");
        let line = stream::read(line.as_bytes()).ok().unwrap();
        assert!(line.message.is_some(), "{kind}");
        assert!(kind == "removed" || line.unknown == ["zzNew"], "{kind}: {:?}", line.unknown);
    }
}

#[test]
fn a_name_is_told_once_and_nobody_can_tell_many() {
    let mut names = Names::default();
    let some = |range: std::ops::Range<u32>| range.map(|n| format!("f{n}")).collect::<Vec<_>>();
    assert_eq!(names.new_of("a", "report", &some(0..2)), ["report: f0", "report: f1"]);
    assert_eq!(names.new_of("a", "report", &some(0..3)), ["report: f2"]);
    assert_eq!(names.new_of("b", "report", &some(0..3)), Vec::<String>::new(), "a thousand nodes are one line");
    assert_eq!(names.new_of("liar", "report", &some(10..500)).len(), PER_SOURCE);
    assert_eq!(names.new_of("b", "report", &some(600..601)).len(), 1, "a liar takes nothing from the others");
    for n in 0..40 {
        names.new_of(&format!("liar{n}"), "report", &some(1000 * n..1000 * n + 500));
    }
    assert!(names.told.len() <= IN_ALL && names.by.len() <= IN_ALL);
    let many = format!("{{\"csr\":\"c\",{}}}", (0..999).map(|n| format!("\"n{n}\":0")).collect::<Vec<_>>().join(","));
    assert_eq!(read::<RenewRequest>(many.as_bytes()).unwrap().unknown.len(), NAMES_KEPT);
    let long = format!("{{\"csr\":\"c\",\"{}\\u001b[2J\":0}}", "x".repeat(5000));
    assert!(read::<RenewRequest>(long.as_bytes()).unwrap().unknown[0].len() <= 400);
    assert!(read::<RenewRequest>(b"{\"csr\":\"c\"} x").is_err(), "nothing may follow");
}
