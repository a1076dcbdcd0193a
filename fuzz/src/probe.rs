//! The paths' measuring, told anything in any order.

use std::time::Duration;

use vxmesh::probe::{PathConfig, Paths, Probe};
use vxmesh::types::{Mono, PeerSlot};

/// How many peers.
const PEERS: u16 = 3;

/// `what happens (1) | to whom (1) | a number (2)`, again and again: sizes stay inside what the interface carries, every wait ends, and a
/// probe is asked for a bounded number of times.
pub fn probe(data: &[u8]) {
    let mut now = Mono::from_nanos(1_000_000_000);
    let (mut paths, mut tokens, mut sent) = (Paths::default(), 0_u64, Vec::<Probe>::new());
    for [what, peer, high, low] in data.as_chunks::<4>().0.iter().take(512) {
        let (peer, number) = (PeerSlot(u16::from(*peer) % PEERS), u16::from_be_bytes([*high, *low]));
        match what % 10 {
            0 => paths.set(&configs(number), now),
            1 => paths.up(peer, now),
            2 => paths.down(peer),
            3 => paths.moved(peer, now),
            4 => paths.again(peer, now),
            5 => paths.hint(peer, now),
            6 => paths.used(peer, number, now),
            // An answer that somebody made up, or a right one from the wrong end.
            7 => drop(paths.answered(peer, token(&sent, number), now)),
            8 => {
                if let Some(probe) = sent.get(usize::from(number) % sent.len().max(1)) {
                    paths.refused(probe, now);
                }
            }
            _ => now = now + Duration::from_millis(u64::from(number)),
        }
        paths.handle_timeout(now, &mut || {
            tokens += 1;
            tokens
        });
        let mut asked = 0;
        while let Some(probe) = paths.poll_probe() {
            asked += 1;
            assert!(asked <= 64, "one turn asks for a bounded number of probes");
            sent.push(probe);
        }
        while paths.poll_change().is_some() {}
        assert!(paths.poll_timeout().is_none_or(|due| due > now), "what is due was done");
        for (peer, status) in paths.status() {
            assert!(peer.0 < PEERS && status.size <= status.largest, "{status:?}");
        }
    }
}

/// Of one to three paths; the first bits of the number say which, the rest how large.
fn configs(number: u16) -> Vec<PathConfig> {
    let of = |peer: u16| {
        let interface_mtu = 1280 + (number >> 3);
        PathConfig { peer: PeerSlot(peer), interface_mtu, assumed: interface_mtu - number % 80 }
    };
    (0..PEERS).filter(|peer| number >> peer & 1 == 1).map(of).collect()
}

fn token(sent: &[Probe], number: u16) -> u64 {
    sent.iter().rev().nth(usize::from(number % 8)).map_or_else(|| u64::from(number), |probe| probe.token)
}
