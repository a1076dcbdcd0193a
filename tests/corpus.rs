//! Every input that fuzzing has kept, given to the decoders as an ordinary test, and for a while inputs that are like them: a stable
//! compiler sees the code, and a crash of before stays mended. `fuzz/run.sh` looks for new ones with a fuzzer that sees branches.
//!
//! `FUZZ_SECONDS` is how long each decoder gets (1; CI gives 5), `FUZZ_SEED` where the changes begin (1).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a file that cannot be read is a failed test; counts are for people"
)]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, clippy::expect_used, reason = "a library of its own under the fuzzer")]
mod stages;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vxmesh::clock::mono;

/// Longest input that is made.
const LONGEST: usize = 4096;
/// Longest that one input may take, on a busy machine without optimisation.
const PATIENCE: Duration = Duration::from_secs(5);

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// The inputs of a target, by name.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 5, "{target} has a corpus");
    inputs.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Numbers that look random and are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    /// Below `limit`, which is not 0.
    fn roll(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(limit).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let (a, b) = (self.roll(len + 1), self.roll(len + 1));
        a.min(b)..a.max(b)
    }

    /// Something like one of the inputs.
    fn change(&mut self, inputs: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
        const WORDS: [&[u8]; 12] = [
            b"{",
            b"}",
            b"[",
            b"]",
            b"\"",
            b"null",
            b"-1",
            b"1e999",
            b"\xff\xff\xff\xff",
            b"\0\0\0\0",
            b"\n",
            b"\\u202e",
        ];
        let mut data = inputs[self.roll(inputs.len())].1.clone();
        for _ in 0..=self.roll(6) {
            let at = self.roll(data.len() + 1);
            match self.roll(8) {
                0 if at < data.len() => data[at] = self.byte(),
                1 if at < data.len() => data[at] ^= 1 << self.roll(8),
                2 => data.truncate(at),
                3 => data.insert(at, self.byte()),
                4 => drop(data.drain(self.range(data.len()))),
                5 => {
                    let copied = data[self.range(data.len())].to_vec();
                    data.splice(at..at, copied);
                }
                6 => drop(data.splice(at..at, WORDS[self.roll(WORDS.len())].iter().copied())),
                _ => {
                    let other = &inputs[self.roll(inputs.len())].1;
                    let from = other[self.range(other.len())].to_vec();
                    data.splice(at..at, from);
                }
            }
            data.truncate(LONGEST);
        }
        data
    }
}

/// Gives one input to a target; where it fails, the input is kept and named.
fn attempt(target: &str, stage: fn(&[u8]), name: &str, data: &[u8]) {
    let began = mono();
    let survived = catch_unwind(AssertUnwindSafe(|| stage(data))).is_ok();
    let took = mono().since(began);
    if survived && took < PATIENCE {
        return;
    }
    let kept = std::env::temp_dir().join(format!("vxmesh-{target}-{}", std::process::id()));
    fs::write(&kept, data).unwrap();
    let what = if survived { format!("took {took:?}") } else { "failed as printed above".to_owned() };
    panic!("{target}: {name} {what}; kept as {}: mend it, then move it to fuzz/corpus/{target}/", kept.display());
}

/// Runs a target with every input of its folder, then with some that are like them.
fn replay(target: &str, stage: fn(&[u8])) {
    let inputs = corpus(target);
    for (path, data) in &inputs {
        attempt(target, stage, &path.display().to_string(), data);
    }
    let seed = number("FUZZ_SEED", 1);
    let mut dice = Dice(seed);
    let (began, length) = (mono(), Duration::from_secs(number("FUZZ_SECONDS", 1)));
    let mut count = 0_u64;
    while mono().since(began) < length {
        let data = dice.change(&inputs);
        attempt(target, stage, &format!("change {count} from seed {seed}"), &data);
        count += 1;
    }
    println!("{target}: {} inputs, {count} changes of them", inputs.len());
    assert!(count > 0);
}

/// Each target is a test of its own, so they share the processors.
macro_rules! targets {
    ($($sentence:ident: $target:ident,)*) => {
        $(
            #[test]
            fn $sentence() {
                replay(stringify!($target), stages::$target);
            }
        )*

        #[test]
        fn every_target_of_the_fuzzer_is_here() {
            let here = [$(stringify!($target)),*];
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                assert!(here.contains(&name.as_str()), "give {name} a line in tests/corpus.rs");
            }
        }
    };
}

targets! {
    answers_survive_their_corpus: answer,
    certificates_survive_their_corpus: certificate,
    joining_survives_its_corpus: coalesce,
    configurations_survive_their_corpus: config,
    egress_survives_its_corpus: egress_frame,
    headers_survive_their_corpus: headers,
    ingress_survives_its_corpus: ingress_payload,
    manifests_survive_their_corpus: manifests,
    the_kernels_answers_survive_their_corpus: netlink,
    probing_survives_its_corpus: probe,
    requests_survive_their_corpus: request,
    cutting_survives_its_corpus: segment,
    slices_survive_their_corpus: slice,
    the_stream_survives_its_corpus: stream,
    table_files_survive_their_corpus: table_file,
    tokens_survive_their_corpus: token,
    opening_survives_its_corpus: tunnel_open,
    virtio_headers_survive_their_corpus: virtio,
}
