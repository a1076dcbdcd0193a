//! One path: what is known to pass, and the probes that find out. Time is an argument; tokens come from outside.

use std::time::Duration;

use super::flights::{Flight, Flights};
use super::interface::{BASE, PathConfig, Phase, Status};
use super::rtt::Rtt;
use super::sizes;
use crate::types::Mono;

/// How often the size of a path in use is confirmed: a path that has shrunk is found out well within three seconds.
const CONFIRM: Duration = Duration::from_millis(500);
/// How long after its last large datagram a path counts as in use.
const IN_USE: Duration = Duration::from_millis(1500);
/// How often, at the latest, an idle path is confirmed, and any path is tried for one byte more.
const IDLE: Duration = Duration::from_secs(25);
/// How often a path in use that answers nothing is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many times at that pace although nobody uses the path.
const QUICK_RETRIES: u8 = 5;
/// Between two probes of a doubt: losses of one moment must not decide.
const DOUBT_PACE: Duration = Duration::from_millis(25);
/// Between two other probes of one burst.
const PACE: Duration = Duration::from_millis(5);
/// Probes of the doubted size that must all be lost, beside the one that raised the doubt: where a third of the echoes is lost at
/// random, that happens once in a million doubts.
const DOUBT_LOSSES: usize = 12;
/// After how many of those comes one of the base size, which shows that the path itself works.
const DOUBT_STRIDE: usize = 3;
/// What was under way when the first lost probe left may still arrive.
const LATE: Duration = Duration::from_secs(1);
/// How soon a path that answers nothing is tried again where something of the peer arrives.
const RECALL: Duration = Duration::from_secs(3);
/// Who was not heard for so long and is heard again begins anew: the break may be another one.
const GONE: Duration = Duration::from_secs(27);
/// Someone who is called so late had been asleep: what has not come by then tells nothing.
const OVERSLEPT: Duration = Duration::from_secs(2);
/// Never.
pub(super) const NEVER: Mono = Mono::from_nanos(u64::MAX);

/// A path.
#[derive(Debug)]
pub(super) struct PathMtu {
    largest: u16,
    size: u16,
    since: Mono,
    /// The size that was told last.
    settled: u16,
    told: Option<u16>,
    /// One byte more than `size` did not pass.
    exact: bool,
    /// Anything was ever answered.
    heard: bool,
    stage: Stage,
    burst: Burst,
    flights: Flights,
    rtt: Rtt,
    /// When the newest answered probe of at least `size` was sent.
    confirmed: Mono,
    /// When `size` was last asked about.
    asked: Mono,
    raise_at: Mono,
    used: Mono,
    active: bool,
    silent: u8,
    /// When the first probe left that nothing has been answered since.
    quiet: Option<Mono>,
    /// Since that: when the peer was heard first and last, and that probes were lost which left after the first.
    back: Option<(Mono, Mono)>,
    one_way: bool,
    /// What is answered although nothing of the base size is.
    little: Option<u16>,
    /// Spreads the idle probes of many paths.
    salt: u8,
}

/// What is being done.
#[derive(Debug)]
enum Stage {
    /// There is no session: nothing can be sent.
    Off,
    /// Nothing.
    Rest,
    /// Is the size still right?
    Confirm,
    /// Does one byte more pass by now?
    Raise,
    /// The size was not confirmed: is it the size, or chance, or the path as a whole?
    Doubt,
    /// What is the largest size that passes? Anything below `high`.
    Search { high: u16, tried: Vec<u16>, critical: Option<u16> },
    /// Nothing is answered. None: a pair of probes is under way.
    Silent { until: Option<Mono> },
}

/// Probes of one purpose: sent one after the other, then waited for.
#[derive(Debug, Default)]
struct Burst {
    sizes: Vec<u16>,
    sent: usize,
    pace: Duration,
    started: Mono,
    last: Mono,
    /// One of them was answered that is no little one.
    alive: bool,
    /// The largest little one that was answered, of this burst and of the one before: chance may take one.
    little: [Option<u16>; 2],
}

impl Burst {
    fn due(&self, timeout: Duration) -> Mono {
        if self.sent == 0 {
            self.started
        } else if self.sent < self.sizes.len() {
            self.last + self.pace
        } else {
            self.last + timeout
        }
    }
}

impl PathMtu {
    /// A path without a session.
    pub(super) fn new(config: &PathConfig, now: Mono) -> Self {
        let size = config.assumed.min(config.interface_mtu);
        Self {
            largest: config.interface_mtu,
            size,
            since: now,
            settled: size,
            told: None,
            exact: false,
            heard: false,
            stage: Stage::Off,
            burst: Burst::default(),
            flights: Flights::default(),
            rtt: Rtt::default(),
            confirmed: now,
            asked: now,
            raise_at: now,
            used: Mono::default(),
            active: false,
            silent: 0,
            quiet: None,
            back: None,
            one_way: false,
            little: None,
            salt: 0,
        }
    }

    /// Another interface MTU, or another assumption. A size that the interface does not carry falls at once; everything else is
    /// found out.
    pub(super) fn configure(&mut self, config: &PathConfig, now: Mono) {
        if !self.heard && self.size != config.assumed {
            self.resize(config.assumed.min(config.interface_mtu), now);
        }
        if self.largest != config.interface_mtu {
            self.largest = config.interface_mtu;
            if self.size > self.largest {
                self.resize(self.largest, now);
            }
            self.moved(now);
        }
    }

    /// There is a session: the size is confirmed before anything else.
    pub(super) fn up(&mut self, now: Mono) {
        self.silent = 0;
        self.answers();
        self.raise_at = now;
        self.confirm(now);
    }

    /// There is no session any more.
    pub(super) fn down(&mut self) {
        self.stage = Stage::Off;
        self.flights.forget();
    }

    /// The path is another one: what is known of it is an assumption again.
    pub(super) fn moved(&mut self, now: Mono) {
        self.exact = false;
        if !matches!(self.stage, Stage::Off) {
            self.flights.forget();
            self.rtt = Rtt::default();
            self.confirm(now);
        }
    }

    /// Somebody says that the path may have changed. Anybody can say that, so it is asked, not believed.
    pub(super) fn hint(&mut self, now: Mono) {
        if matches!(self.stage, Stage::Rest) && now.since(self.asked) >= CONFIRM / 4 {
            self.confirm(now);
        }
    }

    /// Whether large datagrams have left lately.
    pub(super) fn in_use(&self, now: Mono) -> bool {
        now.since(self.used) < IN_USE
    }

    /// A datagram of `size` bytes has left. True where that makes something due earlier.
    #[inline]
    pub(super) fn used(&mut self, size: u16, now: Mono) -> bool {
        if size <= BASE {
            return false;
        }
        self.used = now;
        if self.active {
            return false;
        }
        self.active = true;
        if let Stage::Silent { until: Some(until) } = &mut self.stage
            && self.heard
        {
            *until = (*until).min(now + RETRY);
        }
        true
    }

    /// An answer. False for one that was not asked for, is a copy, or comes too late to mean anything.
    pub(super) fn answered(&mut self, token: u64, now: Mono) -> bool {
        let Some(flight) = self.flights.take(token, now) else { return false };
        self.rtt.sample(now.since(flight.sent));
        if flight.size < self.base().min(self.size) {
            // It shows that the path works, and nothing of what it is used for.
            self.burst.little[0] = self.burst.little[0].max(Some(flight.size));
            return true;
        }
        self.heard = true;
        self.silent = 0;
        self.answers();
        self.burst.alive |= flight.sent >= self.burst.started;
        let (proves, grows) = (flight.size >= self.size, flight.size > self.size);
        if proves {
            self.confirmed = self.confirmed.max(flight.sent);
        }
        if grows {
            self.resize(flight.size, now);
        }
        match &self.stage {
            Stage::Off => {}
            Stage::Rest | Stage::Raise if grows => self.search(self.beyond(), now),
            Stage::Rest | Stage::Raise => {}
            Stage::Confirm | Stage::Doubt | Stage::Silent { .. } if proves => self.proved(now),
            Stage::Confirm | Stage::Doubt => {}
            Stage::Silent { .. } => self.doubt(now),
            Stage::Search { tried, critical, .. } => {
                let above = tried.last().is_some_and(|last| *last > self.size);
                if !above || critical.is_some_and(|critical| critical <= self.size) {
                    self.narrow(now);
                }
            }
        }
        true
    }

    /// The system refused a probe as larger than the interface. It is lost for certain; where a search had asked, so is all above.
    pub(super) fn refused(&mut self, token: u64, now: Mono) {
        let Some(flight) = self.flights.take(token, now) else { return };
        if let Stage::Search { high, tried, .. } = &mut self.stage
            && flight.size > self.size
        {
            *high = (*high).min(flight.size);
            tried.retain(|size| *size < flight.size);
            let sent = self.burst.sent.min(self.burst.sizes.len());
            let mut at = 0;
            self.burst.sizes.retain(|size| {
                at += 1;
                at <= sent || *size < flight.size
            });
        }
    }

    /// True where nothing is answered.
    pub(super) const fn is_silent(&self) -> bool {
        matches!(self.stage, Stage::Silent { .. })
    }

    /// The peer was heard last at `at`. Where nothing is answered, that may be the end of the break, so it is asked soon; and what is lost from
    /// now on shows which direction fails.
    pub(super) fn peer_heard(&mut self, at: Mono, now: Mono) {
        let (Some(quiet), Stage::Silent { until }) = (self.quiet, &mut self.stage) else { return };
        if at <= quiet + LATE || self.back.is_some_and(|(_, last)| at <= last) {
            return;
        }
        match &mut self.back {
            Some((_, last)) if at.since(*last) < GONE => *last = at,
            Some(_) | None => (self.back, self.one_way) = (Some((at, at)), false),
        }
        if let Some(until) = until {
            *until = (*until).min((self.burst.started + RECALL).max(now));
        }
    }

    fn answers(&mut self) {
        (self.quiet, self.back, self.one_way, self.little) = (None, None, false, None);
    }

    /// When [`Self::handle_timeout`] has something to do; [`NEVER`] if nothing.
    pub(super) fn due(&self) -> Mono {
        match &self.stage {
            Stage::Off => NEVER,
            Stage::Rest => self.rest_until(),
            Stage::Silent { until: Some(until) } => *until,
            Stage::Silent { until: None } | Stage::Confirm | Stage::Raise | Stage::Doubt | Stage::Search { .. } => {
                self.burst.due(self.rtt.timeout())
            }
        }
    }

    /// Does what is due; `token` makes a token, `send` takes the size and token of each probe.
    pub(super) fn handle_timeout(&mut self, now: Mono, token: &mut dyn FnMut() -> u64, send: &mut dyn FnMut(u16, u64)) {
        let resting = matches!(self.stage, Stage::Off | Stage::Rest | Stage::Silent { until: Some(_) });
        if !resting && now.since(self.due()) > OVERSLEPT {
            self.flights.forget();
            self.confirm(now);
        }
        // Each round sends a probe or changes the stage; what a stage begins with is due at once.
        for _ in 0..4 {
            if self.due() > now {
                return;
            }
            match self.stage {
                Stage::Off => return,
                Stage::Rest => self.wake(now),
                Stage::Silent { until: Some(_) } => self.call(now),
                Stage::Silent { until: None } | Stage::Confirm | Stage::Raise | Stage::Doubt | Stage::Search { .. } => {
                    if self.burst.sent < self.burst.sizes.len() {
                        self.send_next(now, token(), send);
                    } else {
                        self.conclude(now);
                    }
                }
            }
        }
    }

    /// What is known.
    pub(super) fn status(&self) -> Status {
        let phase = match &self.stage {
            Stage::Silent { .. } => Phase::Error,
            Stage::Search { .. } => Phase::Searching,
            Stage::Off | Stage::Rest | Stage::Confirm | Stage::Raise | Stage::Doubt => {
                if self.exact {
                    Phase::Complete
                } else {
                    Phase::Base
                }
            }
        };
        let silent = self.quiet.filter(|_| phase == Phase::Error);
        let one_way = silent.is_some() && self.one_way;
        Status {
            size: self.size,
            phase,
            since: self.since,
            largest: self.largest,
            silent,
            little: silent.and(self.little),
            one_way,
            answered: self.confirmed,
            doubted: matches!(self.stage, Stage::Doubt),
            answers: self.heard,
        }
    }

    /// The size that was settled before the present one, once after each change.
    pub(super) fn take_settled(&mut self) -> Option<u16> {
        self.told.take()
    }

    fn base(&self) -> u16 {
        BASE.min(self.largest)
    }

    /// The least size that is not worth trying.
    fn beyond(&self) -> u16 {
        self.largest.saturating_add(1)
    }

    fn resize(&mut self, size: u16, now: Mono) {
        if self.size != size {
            self.size = size;
            self.since = now;
        }
    }

    fn send_next(&mut self, now: Mono, token: u64, send: &mut dyn FnMut(u16, u64)) {
        let Some(&size) = self.burst.sizes.get(self.burst.sent) else { return };
        self.burst.sent += 1;
        self.burst.last = now;
        self.salt = token.to_le_bytes()[0];
        self.flights.sent(Flight { token, size, sent: now });
        send(size, token);
    }

    fn begin(&mut self, stage: Stage, sizes: Vec<u16>, pace: Duration, now: Mono) {
        self.stage = stage;
        let little = [None, self.burst.little[0]];
        self.burst = Burst { sizes, sent: 0, pace, started: now, last: now, alive: false, little };
    }

    /// Up to a quarter less than [`IDLE`].
    fn idle(&self) -> Duration {
        IDLE - IDLE * u32::from(self.salt) / 1024
    }

    fn rest_until(&self) -> Mono {
        if self.size >= self.largest {
            return self.asked + if self.active { CONFIRM } else { self.idle() };
        }
        // Where there is more to find, an idle path is confirmed by the probes that look for it.
        (self.asked + if self.active { CONFIRM } else { IDLE }).min(self.raise_at)
    }

    fn wake(&mut self, now: Mono) {
        self.active &= self.in_use(now);
        if self.rest_until() > now {
            return;
        }
        if self.size >= self.largest || self.raise_at > now {
            return self.confirm(now);
        }
        let (more, size) = (self.size + 1, self.size);
        self.asked = now;
        if self.active {
            self.begin(Stage::Raise, vec![more, size, more, more], PACE, now);
        } else {
            // Both in one wake-up: there may be many idle paths.
            self.begin(Stage::Raise, vec![more, size], Duration::ZERO, now);
        }
    }

    /// Asks whether the size passes; on a path that is new, also whether the largest does: mostly that is all there is to find.
    fn confirm(&mut self, now: Mono) {
        self.asked = now;
        let whole = !self.exact && self.size < self.largest;
        let sizes = if whole { vec![self.largest, self.size] } else { vec![self.size] };
        self.begin(Stage::Confirm, sizes, PACE, now);
    }

    fn doubt(&mut self, now: Mono) {
        let (size, base) = (self.size, self.base());
        let mut sizes = Vec::with_capacity(DOUBT_LOSSES + DOUBT_LOSSES / DOUBT_STRIDE);
        for n in 0..DOUBT_LOSSES {
            sizes.push(size);
            if n % DOUBT_STRIDE == 0 {
                sizes.push(base);
            }
        }
        sizes.extend(sizes::little(base.min(size)));
        self.begin(Stage::Doubt, sizes, DOUBT_PACE, now);
    }

    fn call(&mut self, now: Mono) {
        self.active &= self.in_use(now);
        let mut sizes = vec![self.base(), self.size];
        // Who has never answered anything is not asked for long.
        if self.heard || self.little.is_some() || self.silent <= QUICK_RETRIES {
            sizes.extend(sizes::little(self.base().min(self.size)));
        }
        self.begin(Stage::Silent { until: None }, sizes, Duration::ZERO, now);
    }

    /// All probes of the burst are sent, and what has not been answered is lost.
    fn conclude(&mut self, now: Mono) {
        match &self.stage {
            Stage::Confirm => self.doubt(now),
            Stage::Doubt if self.burst.alive => self.fall(now),
            Stage::Doubt | Stage::Silent { .. } => self.hush(now),
            Stage::Raise if self.confirmed >= self.burst.started => {
                self.raise_at = self.asked + self.idle();
                self.stage = Stage::Rest;
            }
            Stage::Raise => self.doubt(now),
            Stage::Search { critical: None, tried, .. } => match tried.iter().find(|size| **size > self.size) {
                Some(&critical) => self.insist(critical, now),
                None => self.narrow(now),
            },
            Stage::Search { critical: Some(_), .. } if !self.burst.alive => self.doubt(now),
            Stage::Search { critical: Some(critical), .. } => {
                let high = *critical;
                self.divide(high, now);
            }
            Stage::Off | Stage::Rest => {}
        }
    }

    /// The size passes.
    fn proved(&mut self, now: Mono) {
        if self.exact {
            self.stage = Stage::Rest;
        } else {
            self.search(self.beyond(), now);
        }
    }

    /// A black hole: small probes are answered, large ones are not.
    fn fall(&mut self, now: Mono) {
        let before = self.size;
        self.flights.forget();
        self.exact = false;
        self.resize(self.base(), now);
        // The size itself is tried once more: chance may have deceived.
        self.search(before.saturating_add(1), now);
    }

    /// Nothing is answered: the path is down, or the peer does not answer echoes, neither of which says anything about sizes; or it carries less
    /// than any path should.
    fn hush(&mut self, now: Mono) {
        let quick = self.silent < QUICK_RETRIES || self.active && self.heard;
        self.silent = self.silent.saturating_add(1);
        self.quiet.get_or_insert(self.asked);
        self.one_way |= self.back.is_some_and(|(first, _)| self.burst.started > first);
        let [this, before] = self.burst.little;
        self.little = this.map(|size| before.map_or(size, |before| before.max(size)));
        let pace = if quick { RETRY } else { self.little.map_or_else(|| self.idle(), |_| RECALL) };
        self.stage = Stage::Silent { until: Some(now + pace) };
    }

    /// Looks for the largest size that passes, below `high`.
    fn search(&mut self, high: u16, now: Mono) {
        self.exact = false;
        self.volley(high, sizes::common(self.size, high), now);
    }

    fn divide(&mut self, high: u16, now: Mono) {
        self.volley(high, sizes::spread(self.size, high), now);
    }

    /// Something was answered: looks further between that and what does not pass.
    fn narrow(&mut self, now: Mono) {
        if let Stage::Search { high, .. } = self.stage {
            self.divide(if high > self.size { high } else { self.beyond() }, now);
        }
    }

    fn volley(&mut self, high: u16, sizes: Vec<u16>, now: Mono) {
        if sizes.is_empty() {
            return self.complete(now);
        }
        self.begin(Stage::Search { high, tried: sizes.clone(), critical: None }, sizes, PACE, now);
    }

    /// The smallest size that was not answered gets more chances, beside some probes of the size that passes.
    fn insist(&mut self, critical: u16, now: Mono) {
        let size = self.size;
        if let Stage::Search { high, tried, .. } = std::mem::replace(&mut self.stage, Stage::Rest) {
            let sizes = vec![critical, critical, size, critical, critical, size, critical];
            self.begin(Stage::Search { high, tried, critical: Some(critical) }, sizes, PACE, now);
        }
    }

    fn complete(&mut self, now: Mono) {
        self.exact = true;
        self.asked = now;
        self.raise_at = now + self.idle();
        self.stage = Stage::Rest;
        if self.settled != self.size {
            self.told = Some(self.settled);
            self.settled = self.size;
        }
    }
}
