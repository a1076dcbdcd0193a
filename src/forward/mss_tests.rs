use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::super::sample_tests::{ACK, Sample, any_sample, read};
use super::*;

/// A SYN with these options.
fn syn(sample: &Sample, options: Vec<u8>, flags: u8) -> Vec<u8> {
    Sample { tcp: true, flags, tcp_options: options, payload: Vec::new(), ..sample.clone() }.finished()
}

fn samples() -> impl Strategy<Value = Sample> {
    any_sample(1)
}

proptest! {
    #[test]
    fn a_syn_announces_at_most_what_fits_and_everything_else_stays(
        sample in samples(), announced in any::<u16>(), packet in 576..9000usize, ack in any::<bool>(), before in 0..6usize,
    ) {
        // Padding moves the option to even and odd places.
        let mut options = vec![1; before];
        options.extend([2, 4]);
        options.extend(announced.to_be_bytes());
        options.extend([4, 2, 1, 3, 3, 7]);
        options.resize(options.len().next_multiple_of(4), 0);
        let original = syn(&sample, options, tcp::SYN | if ack { ACK } else { 0 });
        let mut frame = original.clone();
        let lowered = clamp(&mut frame, packet);
        let most = u16::try_from(packet - if sample.v6 { 60 } else { 40 }).unwrap();
        prop_assert_eq!(lowered, announced > most);
        // Reads every length and every checksum in full.
        read(&frame);
        let at = sample.l4() + 20 + before + 2;
        prop_assert_eq!(word(&frame, at), Some(announced.min(most)));
        let mut back = frame;
        back[at..at + 2].copy_from_slice(&original[at..at + 2]);
        let checksum = sample.l4() + 16;
        back[checksum..checksum + 2].copy_from_slice(&original[checksum..checksum + 2]);
        prop_assert_eq!(back, original);
    }

    #[test]
    fn what_is_no_syn_with_an_mss_stays_as_it_is(
        sample in samples(), flags in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mss = vec![2, 4, 0xff, 0xff];
        let no_syn = syn(&sample, mss.clone(), flags & !tcp::SYN);
        let mut datagram = Sample { tcp: false, ..sample.clone() }.finished();
        let mut cut = syn(&sample, mss, tcp::SYN);
        cut.truncate(cut.len() - 3);
        let malformed = syn(&sample, vec![8, 30, 0, 0, 2, 4, 0xff, 0xff], tcp::SYN);
        let absent = syn(&sample, vec![4, 2, 1, 1], tcp::SYN);
        datagram.extend(&noise);
        for original in [no_syn, datagram, cut, malformed, absent, noise] {
            let mut frame = original.clone();
            prop_assert!(!clamp(&mut frame, 576));
            prop_assert_eq!(frame, original);
        }
    }
}

/// What Linux makes of the options of a SYN (`tcp_parse_options`): the last MSS, and nothing behind a length that cannot be.
fn as_linux_reads(mut options: &[u8]) -> Option<u16> {
    let mut mss = None;
    while let [kind, rest @ ..] = options {
        match kind {
            0 => break,
            1 => options = rest,
            _ => {
                let Some(len) = rest.first().map(|len| usize::from(*len)) else { break };
                if len < 2 || len > options.len() {
                    break;
                }
                if *kind == 2 && len == 4 {
                    mss = word(options, 2);
                }
                options = &options[len..];
            }
        }
    }
    mss
}

proptest! {
    #[test]
    fn no_options_let_linux_believe_in_more_than_fits(
        sample in samples(), packet in 576..9000usize,
        parts in prop::collection::vec(prop_oneof![
            any::<u16>().prop_map(|mss| [&[2, 4][..], &mss.to_be_bytes()].concat()),
            Just(vec![2, 4, 0xff, 0xff]), Just(vec![1]), Just(vec![4, 2]), Just(vec![3, 3, 7]), Just(vec![2, 3, 9]),
            prop::collection::vec(any::<u8>(), 1..5),
        ], 0..12),
    ) {
        let mut options = parts.concat();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 0);
        let len = options.len();
        let original = syn(&sample, options, tcp::SYN);
        let mut frame = original.clone();
        clamp(&mut frame, packet);
        read(&frame);
        let at = sample.l4() + 20;
        let most = u16::try_from(packet - if sample.v6 { 60 } else { 40 }).unwrap();
        let before = as_linux_reads(&original[at..at + len]);
        prop_assert_eq!(as_linux_reads(&frame[at..at + len]), before.map(|before| before.min(most)));
    }
}

#[test]
fn a_fragment_of_a_syn_stays_as_it_is() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sample = samples().new_tree(&mut runner).unwrap().current();
    let sample = Sample { v6: false, dont_fragment: false, ..sample };
    let mut frame = syn(&sample, vec![2, 4, 0xff, 0xff], tcp::SYN);
    frame[sample.l3() + 6] |= 0x20;
    let original = frame.clone();
    assert!(!clamp(&mut frame, 1000));
    assert_eq!(frame, original);
}
