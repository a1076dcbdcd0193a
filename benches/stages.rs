//! What each stage of the data plane costs, in nanoseconds per packet.
//!
//! The clock of a shared machine moves by tens of percent between minutes, so figures of different runs say nothing about each
//! other. All stages therefore run in turn, round after round, in one process, and the table has the 5th percentile and
//! the median of the rounds; `memcpy` of the same bytes is in it as the measure of the machine. Run with
//! `cargo bench --bench stages [-- ROUNDS]`.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people at a terminal")]

#[path = "stages/sealing.rs"]
mod sealing;
#[path = "stages/whole.rs"]
mod whole;

use std::hint::black_box;
use std::ops::Range;

use vxmesh::clock::mono;
use vxmesh::forward::coalesce::{Coalescer, HEADROOM};
use vxmesh::forward::segment::Segments;
use vxmesh::tunnel::Suite;
use vxmesh::types::NetSlot;
use vxmesh::wire::Header;
use vxmesh::wire::ip::{Checksum, Ipv4, TCP, UDP};
use vxmesh::wire::sum::Sum;
use vxmesh::wire::virtio::{Gso, Virtio};

/// Largest IP packet of the path that super-frames are cut to.
const LIMIT: usize = 1400;
/// What lies between two packets in a sealed batch: headers in front, the tag behind.
const GAP: usize = 80;
/// Ethernet and IPv4.
const L4: usize = 34;
/// How often a stage runs in one round.
const TURNS: usize = 8;
const NET: NetSlot = NetSlot(0);

/// One stage: what it does in one turn, and how many packets that is. `reset` undoes it and is not timed.
struct Stage {
    name: &'static str,
    packets: usize,
    run: Box<dyn FnMut()>,
    reset: Box<dyn FnMut()>,
}

fn main() {
    // Cargo passes `--bench`.
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(400usize);
    let mut stages = stages();
    let mut times: Vec<Vec<f64>> = vec![Vec::with_capacity(rounds); stages.len()];
    for _ in 0..rounds + 20 {
        for (stage, times) in stages.iter_mut().zip(&mut times) {
            times.push(round(stage));
        }
    }
    println!("{:<44} {:>9} {:>9}", "stage, ns per packet", "p5", "median");
    for (stage, times) in stages.iter().zip(&mut times) {
        // The first rounds warm caches and page tables.
        let times = &mut times[20..];
        times.sort_by(f64::total_cmp);
        println!("{:<44} {:>9.1} {:>9.1}", stage.name, times[times.len() / 20], times[times.len() / 2]);
    }
}

/// Nanoseconds per packet of one round.
fn round(stage: &mut Stage) -> f64 {
    let mut nanos = 0;
    for _ in 0..TURNS {
        let start = mono();
        (stage.run)();
        nanos += mono().since(start).as_nanos();
        (stage.reset)();
    }
    nanos as f64 / (TURNS * stage.packets) as f64
}

fn stages() -> Vec<Stage> {
    let tcp = SuperFrame::new(TCP, 1448, 65_483);
    let udp = SuperFrame::new(UDP, 1372, 65_000);
    let exact = SuperFrame::new(TCP, 1348, 46 * 1348);
    let many: Vec<_> = (0..4u16).map(|flow| SuperFrame::flow(TCP, flow, 1348, 12 * 1348)).collect();
    let interleaved = interleave(many.iter().map(SuperFrame::cut).collect());
    let acks: Vec<_> = (0..46).map(|_| SuperFrame::new(TCP, 1, 1).cut()[0][..L4 + 32].to_vec()).collect();
    let mut stages = vec![
        copying("memcpy of the segments", &tcp, |to, from| to.copy_from_slice(from)),
        copying("memcpy and checksum in one pass", &tcp, |to, from| {
            black_box(Sum::default().copy(to, from));
        }),
        copying("memcpy, then checksum", &tcp, |to, from| {
            to.copy_from_slice(from);
            black_box(Sum::default().with(to));
        }),
        segmenting("segment, TCP, 64 KiB to 1400", tcp),
        segmenting("segment, UDP, 64 KB of 1372", udp),
        coalescing("coalesce, TCP, one flow, 46 x 1400", &exact.cut()),
        coalescing("coalesce, TCP, four flows in turn, 48 x 1400", &interleaved),
        coalescing("coalesce, nothing joins, 46 x 66 bytes", &acks),
    ];
    let large = SuperFrame::new(TCP, 1348, 46 * 1348);
    let mut small = SuperFrame::new(UDP, 0, 22);
    small.virtio = Virtio::default();
    stages.extend(whole::stages(&large, &small, &SuperFrame::new(UDP, 1372, 1372)));
    stages.extend([Suite::Aesgcm, Suite::Chacha].into_iter().flat_map(sealing::stages));
    stages
}

/// A frame as a guest's kernel leaves it, with its virtio header.
struct SuperFrame {
    frame: Vec<u8>,
    virtio: Virtio,
}

impl SuperFrame {
    fn new(protocol: u8, size: u16, payload: usize) -> Self {
        Self::flow(protocol, 0, size, payload)
    }

    fn flow(protocol: u8, flow: u16, size: u16, payload: usize) -> Self {
        let head = if protocol == TCP { 32 } else { 8 };
        let mut frame = vec![2; 12];
        frame.extend([8, 0]);
        let ip = Ipv4 {
            options: 0,
            tos: 0,
            total: (20 + head + payload).try_into().unwrap_or(u16::MAX),
            id: 7,
            dont_fragment: true,
            more_fragments: false,
            offset: 0,
            ttl: 64,
            protocol,
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
        };
        frame.resize(L4, 0);
        ip.emit(&mut frame[14..]).expect("the frame has room for it");
        let mut l4 = vec![0; head];
        l4[..4].copy_from_slice(&[0x9c, 0x40, 0x14, flow.to_be_bytes()[1]]);
        if protocol == TCP {
            l4[12..14].copy_from_slice(&[0x80, 0x10]);
            l4[20..].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        } else {
            l4[4..6].copy_from_slice(&u16::try_from(head + payload).unwrap_or(u16::MAX).to_be_bytes());
        }
        frame.extend(l4);
        frame.extend((0..payload).map(|n| ((n * 31) >> 3).to_le_bytes()[0]));
        let virtio = Virtio {
            needs_checksum: true,
            gso: if protocol == TCP { Gso::TcpV4 } else { Gso::UdpL4 },
            gso_size: size,
            csum_start: 34,
            csum_offset: if protocol == TCP { 16 } else { 6 },
            ..Virtio::default()
        };
        Self { frame, virtio }
    }

    fn segments(&self) -> Segments<'_> {
        match Segments::new(&self.frame, &self.virtio, LIMIT) {
            Ok(segments) => segments,
            Err(whole) => panic!("the bench made a frame that cannot be cut: {whole:?}"),
        }
    }

    fn cut(&self) -> Vec<Vec<u8>> {
        let mut segments = self.segments();
        let mut all = Vec::new();
        while let Some(len) = segments.next_len() {
            let mut out = vec![0; len];
            segments.write_next(&mut out);
            all.push(out);
        }
        let sum = Checksum::default().with(&all[0][14..L4]).value();
        assert_eq!(sum, 0, "the segments are right");
        all
    }
}

/// One frame of each in turn.
fn interleave(flows: Vec<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    (0..flows[0].len()).flat_map(|n| flows.iter().map(move |flow| flow[n].clone())).collect()
}

/// Copies what a super-frame's segments carry, each behind room for its headers.
fn copying(name: &'static str, frame: &SuperFrame, copy: impl Fn(&mut [u8], &[u8]) + 'static) -> Stage {
    let lens: Vec<usize> = frame.cut().iter().map(Vec::len).collect();
    let from = frame.frame.clone();
    let mut to = vec![0; lens.iter().map(|len| len + GAP).sum()];
    let packets = lens.len();
    let run = move || {
        let (mut read, mut write) = (0, GAP);
        for len in &lens {
            // As many bytes as the segment has; the start is clamped where headers make them more than the frame's own.
            let start = read.min(from.len() - len);
            copy(black_box(&mut to[write..write + len]), black_box(&from[start..start + len]));
            read += len - 66;
            write += len + GAP;
        }
    };
    Stage { name, packets, run: Box::new(run), reset: Box::new(|| {}) }
}

fn segmenting(name: &'static str, frame: SuperFrame) -> Stage {
    let packets = frame.segments().count();
    let mut to = vec![0; packets * (LIMIT + 14 + GAP)];
    let run = move || {
        let mut segments = black_box(&frame).segments();
        let mut at = GAP;
        while let Some(len) = segments.write_next(&mut to[at..]) {
            at += len + GAP;
        }
        black_box(&mut to);
    };
    Stage { name, packets, run: Box::new(run), reset: Box::new(|| {}) }
}

fn coalescing(name: &'static str, frames: &[Vec<u8>]) -> Stage {
    let mut batch = Vec::new();
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for frame in frames {
        batch.resize(batch.len() + GAP, 0);
        ranges.push(batch.len()..batch.len() + frame.len());
        batch.extend(frame);
    }
    let before = batch.clone();
    let heads: Vec<Range<usize>> = ranges.iter().map(|range| range.start - HEADROOM..range.start + 66).collect();
    let batch = std::rc::Rc::new(std::cell::RefCell::new(batch));
    let mut coalescer = Coalescer::new(64, &[]);
    let used = batch.clone();
    let packets = ranges.len();
    let run = move || {
        let mut batch = used.borrow_mut();
        for range in &ranges {
            coalescer.push(&batch, range.clone(), NET).expect("the frame lies in the batch");
        }
        coalescer.flush(&mut batch, |net, bytes| {
            black_box((net, bytes));
        });
    };
    let reset = move || {
        let mut batch = batch.borrow_mut();
        for head in &heads {
            batch[head.clone()].copy_from_slice(&before[head.clone()]);
        }
    };
    Stage { name, packets, run: Box::new(run), reset: Box::new(reset) }
}
