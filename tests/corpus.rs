//! Every input that fuzzing has kept, given to the stages as an ordinary test: they are compiled by a stable compiler, and a crash of
//! before stays mended. `fuzz/run.sh` looks for new ones.
#![expect(clippy::unwrap_used, reason = "a file that cannot be read is a failed test")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, clippy::expect_used, reason = "a library of its own under the fuzzer")]
mod stages;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// The inputs of a stage, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 5, "{target} has a corpus");
    inputs.into_iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

/// Runs a stage with every input of its folder, then with some that are like them: two of them joined, bytes changed, cut.
/// `PROPTEST_CASES` says how many.
fn replay(target: &str, stage: fn(&[u8])) {
    let inputs = corpus(target);
    for (name, data) in &inputs {
        assert!(std::panic::catch_unwind(|| stage(data)).is_ok(), "{name}");
    }
    let (one, other) = (0..inputs.len(), 0..inputs.len());
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let cuts = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>());
    let like_them = (one, other, changes, cuts).prop_map(move |(one, other, changes, (at, from, joined))| {
        let (one, other) = (&inputs[one].1, &inputs[other].1);
        let mut data = if joined {
            [&one[..at.index(one.len() + 1)], &other[from.index(other.len() + 1)..]].concat()
        } else {
            one.clone()
        };
        for (place, value) in changes.into_iter().filter(|_| !one.is_empty()) {
            let place = place.index(one.len());
            if let Some(byte) = data.get_mut(place) {
                *byte = value;
            }
        }
        data
    });
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&like_them, |data| {
        stage(&data);
        Ok(())
    });
    result.unwrap_or_else(|why| panic!("{target}: {why}"));
}

#[test]
fn cutting_survives_its_corpus() {
    replay("segment", stages::segment);
}

#[test]
fn joining_survives_its_corpus() {
    replay("coalesce", stages::coalesce);
}

#[test]
fn egress_survives_its_corpus() {
    replay("egress_frame", stages::egress_frame);
}

#[test]
fn ingress_survives_its_corpus() {
    replay("ingress_payload", stages::ingress_payload);
}

#[test]
fn opening_survives_its_corpus() {
    replay("tunnel_open", stages::tunnel_open);
}

#[test]
fn virtio_headers_survive_their_corpus() {
    replay("virtio", stages::virtio);
}
