//! Times as people and their programs read them. Programs of this project tell each other whole seconds; what is printed is RFC 3339, and
//! both are read.

use serde_json::Value;

use crate::types::Wall;

/// Names of fields that hold a time, in everything that is printed.
const TIMES: [&str; 9] =
    ["at", "expires", "joined", "seen", "since", "keySince", "quarantined", "certificateEnds", "ends"];
/// Numbers below this are no time: it is a second of 2001.
const FIRST: u64 = 1_000_000_000;

/// Writes the times in a value as RFC 3339, in UTC.
pub fn readable(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                match value.as_u64().filter(|seconds| TIMES.contains(&name.as_str()) && *seconds >= FIRST) {
                    Some(seconds) => *value = Value::from(Wall::from_secs(seconds).to_string()),
                    None => readable(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(readable),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_that_is_printed_is_read_again_and_nothing_else_is_taken_for_one() {
        let mut value = serde_json::json!({"items": [{"at": 1_795_000_000_u64, "status": {"joined": 1_795_000_000_u64}}],
            "bytes": 1_795_000_000_u64, "since": 12, "revision": 1_795_000_000_u64, "seen": null});
        readable(&mut value);
        let text = "2026-11-18T11:06:40Z";
        assert_eq!(value["items"][0]["at"], text);
        assert_eq!(value["items"][0]["status"]["joined"], text);
        assert_eq!((value["bytes"].as_u64(), value["since"].as_u64()), (Some(1_795_000_000), Some(12)));
        assert!(value["revision"].is_u64() && value["seen"].is_null());
        let read: Wall = serde_json::from_value(value["items"][0]["at"].clone()).unwrap();
        assert_eq!(read, Wall::from_secs(1_795_000_000));
        for (written, right) in
            [("1795000000", true), ("\"2026-11-18T12:06:40+01:00\"", true), ("\"yesterday\"", false), ("-1", false)]
        {
            let read: Result<Wall, _> = serde_json::from_str(written);
            assert_eq!(read.is_ok_and(|read| read == Wall::from_secs(1_795_000_000)), right, "{written}");
        }
    }
}
