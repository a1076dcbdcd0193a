//! Every input that fuzzing has kept, given to the stages as an ordinary test: they are compiled by a stable compiler, and a crash of
//! before stays mended. `fuzz/run.sh` looks for new ones.
#![expect(clippy::unwrap_used, reason = "a file that cannot be read is a failed test")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, clippy::expect_used, reason = "a library of its own under the fuzzer")]
mod stages;

use std::fs;
use std::path::Path;

/// Runs a stage with every input of its folder, in the order of their names.
fn replay(target: &str, stage: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 5, "{target} has a corpus");
    for input in inputs {
        let data = fs::read(&input).unwrap();
        assert!(std::panic::catch_unwind(|| stage(&data)).is_ok(), "{}", input.display());
    }
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
