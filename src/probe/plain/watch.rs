//! All pairs of one overlay.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::Message;
use super::pair::{Ask, Pair, PairConfig, Report, Theirs, Told};
use crate::types::{Mac, Mono, PeerSlot, UdpPort};
use crate::wire::Header as _;
use crate::wire::ethernet::{self, Ethernet};

/// How far apart the first echoes of many pairs are.
const SPREAD: Duration = Duration::from_millis(12);

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Out<'a> {
    /// This frame, into the bridge.
    Frame(&'a [u8]),
    /// A question by the session with a peer: when did it hear us?
    Ask {
        /// Whom.
        peer: PeerSlot,
        /// What its answer repeats.
        token: u64,
    },
}

/// The pairs of one overlay, driven like this:
///
/// ```text
/// each frame that arrives:      received, which sends answers
/// when poll_timeout is due:     handle_timeout, which sends questions
/// what a peer tells by session: told
/// ```
pub struct Watch {
    udp_port: UdpPort,
    pairs: Vec<Pair>,
    by_mac: BTreeMap<Mac, usize>,
    frame: Vec<u8>,
}

impl std::fmt::Debug for Watch {
    /// Keys are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("pairs", &self.pairs.len()).finish_non_exhaustive()
    }
}

impl Watch {
    /// Nobody is watched yet. `udp_port` is the overlay's.
    pub fn new(udp_port: UdpPort) -> Self {
        Self { udp_port, pairs: Vec::new(), by_mac: BTreeMap::new(), frame: Vec::new() }
    }

    /// Which overlay it is.
    pub fn udp_port(&self) -> UdpPort {
        self.udp_port
    }

    /// Sets who is watched. What is known of a peer that stays is kept.
    pub fn set(&mut self, configs: Vec<PairConfig>, now: Mono) {
        let mut old: BTreeMap<(PeerSlot, Mac), Pair> =
            self.pairs.drain(..).map(|pair| ((pair.config.peer, pair.config.mac), pair)).collect();
        let mut at = now;
        for config in configs {
            let pair = match old.remove(&(config.peer, config.mac)) {
                Some(mut pair) => {
                    pair.configure(config, now);
                    pair
                }
                None => {
                    at = at + SPREAD;
                    Pair::new(config, at)
                }
            };
            self.pairs.push(pair);
        }
        self.by_mac = self.pairs.iter().enumerate().map(|(at, pair)| (pair.config.mac, at)).collect();
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.pairs.iter().map(Pair::due).min()
    }

    /// Asks what is due. `token` makes a random number for each question.
    pub fn handle_timeout(&mut self, now: Mono, token: &mut dyn FnMut() -> u64, out: &mut dyn FnMut(Out<'_>)) {
        let Self { udp_port, pairs, frame, .. } = self;
        for pair in pairs.iter_mut().filter(|pair| pair.due() <= now) {
            let (heard, passes) = (pair.heard(now), pair.passes());
            let mut asks = Vec::new();
            pair.handle(now, token, &mut |ask| asks.push(ask));
            let PairConfig { peer, mac, own, keys, .. } = &pair.config;
            for ask in asks {
                match (ask, keys.first()) {
                    (Ask::Session { token }, _) => out(Out::Ask { peer: *peer, token }),
                    (Ask::Echo { size, flow, token }, Some(key)) => {
                        Message { answer: false, flow, size, token, heard, passes }.write(
                            (*udp_port, *own, *mac),
                            key,
                            size,
                            frame,
                        );
                        out(Out::Frame(frame));
                    }
                    (Ask::Echo { .. }, None) => {}
                }
            }
        }
    }

    /// A frame has come out of the bridge. Anybody's that is not proved is nobody's.
    pub fn received(&mut self, bytes: &[u8], now: Mono, out: &mut dyn FnMut(Out<'_>)) {
        let Ok(header) = Ethernet::parse(bytes) else { return };
        if header.ethertype != ethernet::IPV4 {
            return;
        }
        let Some(pair) = self.by_mac.get(&header.source).and_then(|at| self.pairs.get_mut(*at)) else { return };
        let own = pair.config.own;
        if header.destination != own {
            return;
        }
        let ends = (self.udp_port, header.source, own);
        let Some(message) = Message::read(ends, &pair.config.keys, bytes) else { return };
        let theirs = Theirs { heard: message.heard, passes: message.passes, at: now };
        let may_answer = pair.hears(theirs, !message.answer);
        if message.answer {
            return pair.answered(message.token, now);
        }
        if let Some(key) = pair.config.keys.first().filter(|_| may_answer) {
            let ends = (self.udp_port, own, header.source);
            let answer = Message { answer: true, heard: Some(Duration::ZERO), passes: pair.passes(), ..message };
            answer.write(ends, key, 0, &mut self.frame);
            out(Out::Frame(&self.frame));
        }
    }

    /// Measures the path to a peer anew, now.
    pub fn again(&mut self, peer: PeerSlot, now: Mono) {
        self.pairs.iter_mut().filter(|pair| pair.config.peer == peer).for_each(|pair| pair.again(now));
    }

    /// A peer has told by the session how long ago it heard us, and whether its own watch is hit.
    pub fn told(&mut self, peer: PeerSlot, token: u64, (heard, hit): (Option<Duration>, bool), now: Mono) {
        for pair in self.pairs.iter_mut().filter(|pair| pair.config.peer == peer) {
            pair.told(token, Told { heard, hit, at: now });
        }
    }

    /// Whether the path to a peer is watched.
    pub fn knows(&self, peer: PeerSlot) -> bool {
        self.pairs.iter().any(|pair| pair.config.peer == peer)
    }

    /// How long ago anything of a peer arrived.
    pub fn heard(&self, peer: PeerSlot, now: Mono) -> Option<Duration> {
        self.pairs.iter().find(|pair| pair.config.peer == peer)?.heard(now)
    }

    /// What is known of each pair.
    pub fn reports(&self) -> Vec<Report> {
        self.pairs.iter().map(Pair::report).collect()
    }
}
