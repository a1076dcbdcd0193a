//! One pair: what its path answers, and the echoes that find out. Sizes are bytes of a guest's IP packet, as in a guest's MTU.

use std::time::Duration;

use super::super::sizes::spread;
use super::message::{FLOWS, LEAST, PairKey, port};
use super::middle::Middle;
use super::scatter::Scatter;
use crate::types::{Mac, Mono, PeerSlot};

/// How often a path that answers is asked; each time by the next flow, so every flow is asked in 20 s.
const EVERY: Duration = Duration::from_secs(5);
/// The same for a while after something was lost.
const SOON: Duration = Duration::from_secs(1);
/// How long an answer may take. Inside a PDC it takes a millisecond.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How often a path that answers nothing is asked, in the beginning and later.
const QUIET: Duration = Duration::from_secs(2);
const QUIET_LATER: Duration = Duration::from_secs(5);
/// When later begins.
const LATER: Duration = Duration::from_secs(30);
/// How often a path that carries less than the interface is tried for one byte more.
const RAISE: Duration = Duration::from_secs(12);
/// Who was not heard for so long and is heard again begins anew: the break may be another one.
const GONE: Duration = Duration::from_secs(15);
/// Someone who is called so late had been asleep: what has not come by then tells nothing.
const OVERSLEPT: Duration = Duration::from_secs(2);
/// A size that every path carries that works at all, in bytes.
const SMALL: u16 = 128;
/// Answers a second to one peer: a search asks for a good thirty at once.
const ANSWERS: u8 = 80;
/// How long the answer to a question by the session may take: both daemons look twice a second.
const ANSWERED: Duration = Duration::from_secs(4);
/// Questions by the session that must be lost one after the other before that tells anything.
const MUTE: u8 = 2;
/// Echoes that losses are counted over.
const HISTORY: u32 = 32;
const ALL: usize = FLOWS as usize;

/// A pair as the control plane states it.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct PairConfig {
    /// The peer.
    pub peer: PeerSlot,
    /// Its Ethernet address for echoes.
    pub mac: Mac,
    /// This node's towards it.
    pub own: Mac,
    /// What only the two have, the one to speak with first; others hold while one of the two changes its key.
    pub keys: Vec<PairKey>,
    /// What the devices carry: no larger echo can be sent.
    pub largest: u16,
    /// What guests of the networks that the two share may send.
    pub needed: u16,
}

/// What a peer has said by the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// How long before that it heard this node over the plain path; none: never, or too long ago to say.
    pub heard: Option<Duration>,
    /// Its own watch is hit there, and may be all that does not hear.
    pub hit: bool,
    /// When it said so.
    pub at: Mono,
}

/// What a peer says in the echoes that arrive here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theirs {
    /// How long before that it heard this node.
    pub heard: Option<Duration>,
    /// The size that passes from it to here; 0: not known.
    pub passes: u16,
    /// When it said so.
    pub at: Mono,
}

/// What is known of a pair's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The peer.
    pub peer: PeerSlot,
    /// Since when nothing is answered.
    pub quiet: Option<Mono>,
    /// Echoes were lost since that left after something of the peer had arrived again: it is what is sent from here that does not arrive, or
    /// what is answered there.
    pub unanswered: bool,
    /// When an echo was answered last.
    pub answered: Option<Mono>,
    /// When anything of the peer arrived last.
    pub heard: Option<Mono>,
    /// Round trip, smoothed.
    pub rtt: Option<Duration>,
    /// Lost of the last 32 echoes, percent; none before the first.
    pub loss: Option<u8>,
    /// The largest size that passes from here; 0: not known.
    pub size: u16,
    /// It is exact: one byte more does not pass.
    pub exact: bool,
    /// [`PairConfig::largest`].
    pub largest: u16,
    /// [`PairConfig::needed`].
    pub needed: u16,
    /// Source UDP ports of flows that are lost while others arrive, and not by chance.
    pub legs: Vec<u16>,
    /// Many echoes are lost, of no flow in particular: then no flow is named ([`Self::legs`] is empty), and sizes are not certain.
    pub scattered: bool,
    /// A size that is lost from here while smaller and larger ones pass.
    pub hole: Option<u16>,
    /// When the first of several questions by the session left that were not answered, one after the other.
    pub mute: Option<Mono>,
    /// What the peer told by the session.
    pub told: Option<Told>,
    /// What the peer says over the path.
    pub theirs: Option<Theirs>,
}

/// What is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// An echo over the path.
    Echo { size: u16, flow: u8, token: u64 },
    /// By the session.
    Session { token: u64 },
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    token: u64,
    size: u16,
    flow: u8,
    sent: Mono,
}

#[derive(Debug)]
enum Stage {
    /// The path answers. With a token: that echo is under way.
    Calm(Option<u64>),
    /// A check begins as soon as it is this one's turn.
    Due,
    /// Every flow is asked, small and large: what was answered of each.
    Check { again: bool, small: [bool; ALL], large: [bool; ALL] },
    /// What is the largest size that passes, below `high`?
    Search { high: u16, sizes: Vec<u16>, alive: bool },
    /// Nothing is answered.
    Quiet,
}

/// A pair.
pub(super) struct Pair {
    pub(super) config: PairConfig,
    stage: Stage,
    /// When the stage has something to do.
    at: Mono,
    flights: Vec<Flight>,
    flow: u8,
    size: u16,
    exact: bool,
    /// What the search before has found, if it was less than the devices carry.
    found: Option<u16>,
    raise_at: Mono,
    /// When the oldest echo was sent that raised the doubt.
    doubt: Mono,
    /// The question by the session that is under way, and when it left.
    session: Option<(u64, Mono)>,
    /// Questions by the session that were not answered: when the first left, and how many.
    unheard: Option<(Mono, u8)>,
    history: (u32, u32),
    dead: [bool; ALL],
    middle: Middle,
    scatter: Scatter,
    /// Flow of the lost echo that raised the doubt.
    doubted: Option<usize>,
    /// Flows of which a small echo was answered before the check that is under way.
    before: [bool; ALL],
    answers: (Mono, u8),
    /// While nothing is answered: when it was knocked last, and when the peer was heard first.
    knocked: Option<Mono>,
    back: Option<Mono>,
    report: Report,
}

impl Pair {
    /// A pair that is asked for the first time at `at`.
    pub(super) fn new(config: PairConfig, at: Mono) -> Self {
        let report = Report {
            peer: config.peer,
            quiet: None,
            unanswered: false,
            answered: None,
            heard: None,
            rtt: None,
            loss: None,
            size: 0,
            exact: false,
            largest: config.largest,
            needed: config.needed,
            legs: Vec::new(),
            scattered: false,
            hole: None,
            mute: None,
            told: None,
            theirs: None,
        };
        Self {
            config,
            stage: Stage::Due,
            at,
            flights: Vec::new(),
            flow: 0,
            size: 0,
            exact: false,
            found: None,
            raise_at: at,
            doubt: at,
            session: None,
            unheard: None,
            history: (0, 0),
            dead: [false; ALL],
            middle: Middle::default(),
            scatter: Scatter::default(),
            doubted: None,
            before: [false; ALL],
            answers: (at, 0),
            knocked: None,
            back: None,
            report,
        }
    }

    /// The same pair with other numbers or keys. Other devices are measured anew.
    pub(super) fn configure(&mut self, config: PairConfig, now: Mono) {
        if config.largest != self.config.largest {
            self.size = self.size.min(config.largest);
            self.exact = false;
            if !matches!(self.stage, Stage::Quiet) {
                self.begin(now);
            }
        }
        self.config = config;
    }

    /// Somebody wants to know now: every flow is asked, and the size is found out anew.
    pub(super) fn again(&mut self, now: Mono) {
        self.size = 0;
        self.exact = false;
        self.begin(now);
    }

    /// When [`Self::handle`] has something to do.
    pub(super) fn due(&self) -> Mono {
        self.at
    }

    /// How long ago anything of the peer arrived.
    pub(super) fn heard(&self, now: Mono) -> Option<Duration> {
        self.report.heard.map(|at| now.since(at))
    }

    /// The size that is known to pass from here, and no more; 0 while that is being found out.
    pub(super) fn passes(&self) -> u16 {
        if self.exact || self.size >= self.config.largest { self.size } else { 0 }
    }

    /// What is known.
    pub(super) fn report(&self) -> Report {
        let (sent, answered) = (self.history.1, self.history.0.count_ones());
        let lost = sent.saturating_sub(answered).saturating_mul(100).checked_div(sent);
        let scattered = self.scatter.many();
        let wavers = scattered || self.scatter.wavers();
        let legs = (0..FLOWS).zip(self.dead).filter(|(_, dead)| *dead && !wavers).map(|(flow, _)| port(flow));
        Report {
            loss: lost.and_then(|lost| u8::try_from(lost).ok()),
            size: self.size,
            exact: self.exact,
            largest: self.config.largest,
            needed: self.config.needed,
            legs: legs.collect(),
            scattered,
            hole: self.middle.hole().filter(|_| !scattered),
            mute: self.unheard.filter(|(_, count)| *count >= MUTE).map(|(first, _)| first),
            ..self.report.clone()
        }
    }

    /// Does what is due.
    pub(super) fn handle(&mut self, now: Mono, token: &mut dyn FnMut() -> u64, out: &mut dyn FnMut(Ask)) {
        let waits = !matches!(self.stage, Stage::Calm(None) | Stage::Due | Stage::Quiet);
        if waits && now.since(self.at) > OVERSLEPT {
            self.begin(now);
        }
        self.flights.retain(|flight| now.since(flight.sent) <= TIMEOUT * 3);
        match std::mem::replace(&mut self.stage, Stage::Due) {
            Stage::Calm(None) => self.ask(now, token, out),
            Stage::Calm(Some(lost)) => {
                self.record(false);
                let flight = self.flights.iter().find(|flight| flight.token == lost).copied();
                self.doubt = flight.map_or(now, |flight| flight.sent);
                self.doubted = flight.map(|flight| flight.flow.into());
                self.check(false, [[false; ALL]; 2], now, token, out);
            }
            Stage::Due => self.check(false, [[false; ALL]; 2], now, token, out),
            Stage::Check { again, small, large } => self.checked(again, [small, large], now, token, out),
            Stage::Search { high, sizes, alive } => self.searched((high, &sizes, alive), now, token, out),
            Stage::Quiet => self.knock(now, token, out),
        }
    }

    /// An answer with this token has arrived.
    pub(super) fn answered(&mut self, token: u64, now: Mono) {
        let Some(at) = self.flights.iter().position(|flight| flight.token == token) else { return };
        let flight = self.flights.swap_remove(at);
        if now.since(flight.sent) > TIMEOUT {
            return;
        }
        self.middle.answered(token);
        let sample = now.since(flight.sent);
        self.report.rtt = Some(self.report.rtt.map_or(sample, |rtt| rtt - rtt / 8 + sample / 8));
        self.report.answered = Some(now);
        let flow = usize::from(flight.flow);
        let grows = flight.size > self.size;
        self.size = self.size.max(flight.size);
        match &mut self.stage {
            Stage::Calm(Some(asked)) if *asked == token => {
                self.dead[flow] = false;
                self.scatter.record(flow, true);
                self.stage = Stage::Calm(None);
                self.at = flight.sent + self.pause();
                self.record(true);
            }
            Stage::Calm(_) if grows => {
                self.exact = false;
                self.begin(now);
            }
            Stage::Check { small, large, .. } => {
                if flight.size > SMALL {
                    large[flow] = true
                } else {
                    small[flow] = true
                }
                if small.iter().chain(large.iter()).all(|answered| *answered) {
                    self.at = now;
                }
            }
            Stage::Search { sizes, alive, .. } => {
                *alive = true;
                if sizes.last().is_none_or(|last| *last <= self.size) {
                    self.at = now;
                }
            }
            Stage::Quiet => {
                self.record(true);
                self.speaks();
                self.begin(now);
            }
            Stage::Calm(_) | Stage::Due => {}
        }
    }

    /// Something of the peer has arrived, with what it says of the way back. True where a question may be answered.
    pub(super) fn hears(&mut self, theirs: Theirs, question: bool) -> bool {
        let before = self.report.heard.replace(theirs.at);
        self.report.theirs = Some(theirs);
        if before.is_none_or(|before| theirs.at.since(before) > GONE) {
            (self.back, self.report.unanswered) = (None, false);
        }
        if let (Stage::Quiet, Some(quiet)) = (&self.stage, self.report.quiet)
            && theirs.at > quiet + TIMEOUT
        {
            self.back.get_or_insert(theirs.at);
            // The break may be over.
            let soon = self.knocked.map_or(theirs.at, |knocked| (knocked + TIMEOUT).max(theirs.at));
            self.at = self.at.min(soon);
        }
        let (since, count) = self.answers;
        let second = theirs.at.since(since) >= Duration::from_secs(1);
        let count = if second { 0 } else { count };
        let may = question && count < ANSWERS;
        self.answers = (if second { theirs.at } else { since }, count.saturating_add(u8::from(may)));
        may
    }

    /// The peer has told by the session.
    pub(super) fn told(&mut self, token: u64, told: Told) {
        if self.session.is_some_and(|(asked, _)| asked == token) {
            self.report.told = Some(told);
            (self.session, self.unheard) = (None, None);
        }
    }

    /// A check is the next thing to do.
    fn begin(&mut self, now: Mono) {
        self.stage = Stage::Due;
        self.at = now;
    }

    /// Something is answered.
    fn speaks(&mut self) {
        (self.report.quiet, self.report.unanswered) = (None, false);
        (self.knocked, self.back) = (None, None);
    }

    fn record(&mut self, answered: bool) {
        let (bits, count) = self.history;
        self.history = (bits << 1 | u32::from(answered), (count + 1).min(HISTORY));
    }

    fn send(&mut self, size: u16, flow: u8, now: Mono, token: u64, out: &mut dyn FnMut(Ask)) {
        let size = size.clamp(LEAST, self.config.largest.max(LEAST));
        self.flights.push(Flight { token, size, flow, sent: now });
        out(Ask::Echo { size, flow, token });
    }

    fn next_flow(&mut self) -> u8 {
        self.flow = (self.flow + 1) % FLOWS;
        self.flow
    }

    fn ask(&mut self, now: Mono, token: &mut dyn FnMut() -> u64, out: &mut dyn FnMut(Ask)) {
        let (flow, asked) = (self.next_flow(), token());
        self.send(self.size, flow, now, asked, out);
        if self.size < self.config.largest && now >= self.raise_at {
            self.raise_at = now + RAISE;
            self.send(self.size + 1, flow, now, token(), out);
        }
        let between = token();
        if let Some(size) = self.middle.next(SMALL, self.size, between) {
            self.send(size, flow, now, between, out);
        }
        // The session is asked with every other echo: a keepalive of the peer keeps this end's from being sent, so one end may hear none.
        // One that was not answered is repeated with the next.
        if flow % 2 == 0 || self.session.is_some() {
            self.ask_session(now, token, out);
        }
        self.stage = Stage::Calm(Some(asked));
        self.at = now + TIMEOUT;
    }

    /// What large echoes are asked with: the size in use, or what the devices carry.
    fn large(&self) -> u16 {
        if self.size > SMALL { self.size } else { self.config.largest }
    }

    fn check(
        &mut self,
        again: bool,
        [small, large]: [[bool; ALL]; 2],
        now: Mono,
        token: &mut dyn FnMut() -> u64,
        out: &mut dyn FnMut(Ask),
    ) {
        let size = self.large();
        self.middle.forget();
        self.before = small;
        for flow in 0..FLOWS {
            self.send(SMALL, flow, now, token(), out);
            self.send(size, flow, now, token(), out);
        }
        if again {
            self.ask_session(now, token, out);
        }
        self.stage = Stage::Check { again, small, large };
        self.at = now + TIMEOUT;
    }

    fn checked(
        &mut self,
        again: bool,
        [small, large]: [[bool; ALL]; 2],
        now: Mono,
        token: &mut dyn FnMut() -> u64,
        out: &mut dyn FnMut(Ask),
    ) {
        // Where nothing is answered the path is dead for now, which is no chance.
        let some = small.contains(&true);
        if let Some(flow) = self.doubted.take().filter(|_| some) {
            self.scatter.record(flow, false);
        }
        for flow in (0..ALL).filter(|flow| some && !self.before[*flow]) {
            self.scatter.record(flow, small[flow]);
        }
        let alive: Vec<bool> = small.iter().zip(large).map(|(small, large)| *small || large).collect();
        let passes = large.contains(&true);
        let whole = passes && alive.iter().all(|alive| *alive);
        if !(again || whole) {
            return self.check(true, [small, large], now, token, out);
        }
        if alive.iter().all(|alive| !alive) {
            self.report.quiet.get_or_insert(self.doubt);
            return self.rest_quiet(now);
        }
        self.speaks();
        for (dead, alive) in self.dead.iter_mut().zip(&alive) {
            *dead = !alive;
        }
        if passes && (self.exact || self.size >= self.config.largest) {
            return self.calm(now);
        }
        let high = if passes { self.config.largest.saturating_add(1) } else { self.large() };
        if !passes {
            (self.size, self.exact) = (SMALL, false);
        }
        self.search(high, now, token, out);
    }

    fn search(&mut self, high: u16, now: Mono, token: &mut dyn FnMut() -> u64, out: &mut dyn FnMut(Ask)) {
        let mut high = high;
        let mut sizes = spread(self.size, high);
        if sizes.is_empty() && self.size < self.config.largest && self.found != Some(self.size) {
            // On a busy machine echoes are late: what two searches find alike is so.
            self.found = Some(self.size);
            high = self.config.largest.saturating_add(1);
            sizes = spread(self.size, high);
        }
        if sizes.is_empty() {
            return self.calm(now);
        }
        for size in sizes.iter().copied().chain([self.size]).collect::<Vec<_>>() {
            for _ in 0..2 {
                let flow = self.living_flow();
                self.send(size, flow, now, token(), out);
            }
        }
        self.stage = Stage::Search { high, sizes, alive: false };
        self.at = now + TIMEOUT;
    }

    /// The next flow that is not lost.
    fn living_flow(&mut self) -> u8 {
        let flows: Vec<u8> = (0..FLOWS).map(|_| self.next_flow()).collect();
        let living = flows.into_iter().find(|flow| !self.dead[usize::from(*flow)]);
        self.flow = living.unwrap_or_default();
        self.flow
    }

    fn searched(
        &mut self,
        (high, sizes, alive): (u16, &[u16], bool),
        now: Mono,
        token: &mut dyn FnMut() -> u64,
        out: &mut dyn FnMut(Ask),
    ) {
        if !alive {
            return self.check(false, [[false; ALL]; 2], now, token, out);
        }
        let high = sizes.iter().copied().find(|size| *size > self.size).unwrap_or(high);
        self.search(high, now, token, out);
    }

    fn calm(&mut self, now: Mono) {
        (self.exact, self.found) = (true, None);
        self.raise_at = now + RAISE;
        self.stage = Stage::Calm(None);
        self.at = now + self.pause();
    }

    fn pause(&self) -> Duration {
        if self.scatter.hurries() || self.middle.hurries() { SOON } else { EVERY }
    }

    /// Nothing is answered: a little is asked, so that the end of it is noticed.
    fn knock(&mut self, now: Mono, token: &mut dyn FnMut() -> u64, out: &mut dyn FnMut(Ask)) {
        self.record(false);
        self.report.unanswered |= self.knocked.zip(self.back).is_some_and(|(knocked, back)| knocked > back);
        self.knocked = Some(now);
        for _ in 0..2 {
            let flow = self.next_flow();
            self.send(SMALL, flow, now, token(), out);
        }
        self.ask_session(now, token, out);
        self.rest_quiet(now);
    }

    fn rest_quiet(&mut self, now: Mono) {
        let long = self.report.quiet.is_some_and(|since| now.since(since) > LATER);
        self.stage = Stage::Quiet;
        self.at = now + if long { QUIET_LATER } else { QUIET };
    }

    fn ask_session(&mut self, now: Mono, token: &mut dyn FnMut() -> u64, out: &mut dyn FnMut(Ask)) {
        if let Some((_, left)) = self.session.filter(|(_, left)| now.since(*left) >= ANSWERED) {
            let (first, count) = self.unheard.unwrap_or((left, 0));
            self.unheard = Some((first, count.saturating_add(1)));
        }
        let asked = token();
        self.session = Some((asked, now));
        out(Ask::Session { token: asked });
    }
}
