//! The timers against a small model of what the whitepaper says, on a wire that loses, delays and reorders.

use std::time::Duration;

use proptest::prelude::*;

use super::world::*;
use crate::types::Mono;

const STEP: Duration = Duration::from_millis(50);
const KEEPALIVE: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(5);
const JITTER: Duration = Duration::from_millis(334);
/// For how long it calls without an answer.
const GIVES_UP: Duration = Duration::from_secs(90);
/// How long a call makes way for one of the peer: for one that came before, and once for one that comes meanwhile.
const WAY: Duration = RETRY.saturating_mul(2).saturating_add(JITTER.saturating_mul(2));

/// What an end is obliged to by what it has sent and received, and when.
struct Model {
    name: &'static str,
    /// A keepalive is owed then; and whether data came after the first for which it is owed.
    keepalive: Option<(Mono, bool)>,
    /// Data sent since anything was last received: when the first of it.
    unheard: Option<Mono>,
    /// When it was heard again after it had been silent for long enough to be called: the call may have been waiting for the peer's.
    back: Option<Mono>,
    /// The last initiation.
    initiated: Option<Mono>,
    /// Initiations since the last handshake that was completed.
    waiting: bool,
}

impl Model {
    const fn new(name: &'static str) -> Self {
        Self { name, keepalive: None, unheard: None, back: None, initiated: None, waiting: false }
    }

    fn received(&mut self, datagram: &[u8], now: Mono) {
        // Who calls may be somebody else; the first data shows that it is the peer.
        if datagram[0] == 1 {
            return;
        }
        self.back = self.unheard.take().filter(|since| now.since(*since) >= SILENCE).map_or(self.back, |_| Some(now));
        match (datagram[0], datagram.len()) {
            (4, 32) => {}
            (4, _) => {
                let more = self.keepalive.is_some();
                let (due, _) = self.keepalive.unwrap_or((now + KEEPALIVE, false));
                self.keepalive = Some((due, more));
            }
            (2, _) => self.waiting = false,
            _ => {}
        }
    }

    fn sent(&mut self, datagram: &[u8], now: Mono) -> Result<(), TestCaseError> {
        // An answer to a call goes to whoever calls, and tells the peer nothing for sure.
        if datagram[0] == 2 {
            return Ok(());
        }
        let owed = self.keepalive.take();
        match (datagram[0], datagram.len()) {
            (4, 32) => {
                if let Some((due, more)) = owed.filter(|(due, _)| *due <= now) {
                    prop_assert!(now < due + STEP, "{}: a keepalive is late", self.name);
                    self.keepalive = more.then_some((now + KEEPALIVE, false));
                } else {
                    // Else only right after a handshake, to tell the peer that it is done.
                    let fresh = self.initiated.is_some_and(|at| now.since(at) < Duration::from_secs(6));
                    prop_assert!(fresh, "{}: a keepalive that nobody is owed", self.name);
                }
            }
            (4, _) => drop(self.unheard.get_or_insert(now)),
            (1, _) => self.initiation(now)?,
            _ => {}
        }
        Ok(())
    }

    fn initiation(&mut self, now: Mono) -> Result<(), TestCaseError> {
        if let Some(last) = self.initiated {
            prop_assert!(now.since(last) >= RETRY, "{}: initiations too close", self.name);
        }
        let retry = self.waiting;
        let silent = self.unheard.is_some_and(|since| now.since(since) >= SILENCE);
        let silent = silent || self.back.is_some_and(|at| now.since(at) <= WAY);
        prop_assert!(retry || silent || self.initiated.is_none(), "{}: an initiation without a reason", self.name);
        self.initiated = Some(now);
        self.waiting = true;
        Ok(())
    }

    /// Nothing that is owed is overdue.
    fn check(&self, now: Mono) -> Result<(), TestCaseError> {
        if let Some((due, _)) = self.keepalive {
            prop_assert!(now < due + STEP, "{}: no keepalive", self.name);
        }
        // Whoever hears nothing but calls calls; and until there is an answer, again every five seconds.
        let limit = SILENCE + WAY + STEP;
        let calls = limit..SILENCE + GIVES_UP;
        if let Some(since) = self.unheard.filter(|since| calls.contains(&now.since(*since))) {
            let called = self.initiated.is_some_and(|at| now.since(at) <= WAY + STEP);
            prop_assert!(called, "{}: silent since {:?} and nobody calls", self.name, now.since(since));
        }
        Ok(())
    }
}

/// Percent lost in each direction, longest delay in steps, how often each end speaks (percent of the steps).
#[derive(Clone, Debug)]
struct Weather {
    loss: [u64; 2],
    delay: u64,
    talk: [u64; 2],
    seed: u64,
}

fn weather() -> impl Strategy<Value = Weather> {
    let loss = || prop_oneof![Just(0_u64), 0_u64..60, Just(100)];
    let talk = || prop_oneof![Just(0_u64), 1_u64..5, 10_u64..60];
    ([loss(), loss()], 0_u64..30, [talk(), talk()], any::<u64>()).prop_map(|(loss, delay, talk, seed)| Weather {
        loss,
        delay,
        talk,
        seed,
    })
}

/// Two ends, their models, and what is on its way.
struct Run {
    world: World,
    models: [Model; 2],
    dice: Dice,
    flying: Vec<(u64, OnWire)>,
    weather: Weather,
}

impl Run {
    fn take_sent(&mut self, tick: u64) -> Result<(), TestCaseError> {
        for packet in self.world.sent() {
            self.send(packet, tick)?;
        }
        Ok(())
    }

    fn send(&mut self, packet: OnWire, tick: u64) -> Result<(), TestCaseError> {
        let end = usize::from(packet.from == address(2));
        self.models[end].sent(&packet.datagram, self.world.now)?;
        if self.dice.roll() % 100 >= self.weather.loss[end] {
            let delay = self.dice.roll() % (self.weather.delay + 1);
            self.flying.push((tick + delay, packet));
        }
        Ok(())
    }

    fn step(&mut self, tick: u64) -> Result<(), TestCaseError> {
        self.world.pass(STEP);
        self.take_sent(tick)?;
        let (due, later) = std::mem::take(&mut self.flying).into_iter().partition(|(at, _)| *at <= tick);
        self.flying = later;
        let due: Vec<(u64, OnWire)> = due;
        for (_, packet) in due {
            let end = usize::from(packet.to == address(2));
            if self.world.deliver(&packet).is_ok() {
                self.models[end].received(&packet.datagram, self.world.now);
            }
            self.take_sent(tick)?;
        }
        for end in [0, 1] {
            if self.dice.roll() % 100 < self.weather.talk[end] {
                let now = self.world.now;
                let (speaker, from) =
                    if end == 0 { (&mut self.world.a, address(1)) } else { (&mut self.world.b, address(2)) };
                if let Ok(sealed) = speaker.seal(&[7; 20], now) {
                    self.send(OnWire { from, to: sealed.to, datagram: sealed.datagram }, tick)?;
                }
            }
        }
        self.take_sent(tick)?;
        self.models.iter().try_for_each(|model| model.check(self.world.now))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keepalives_and_calls_come_when_they_are_owed_and_at_no_other_time(weather in weather()) {
        let world = World::up();
        let mut models = [Model::new("a"), Model::new("b")];
        models[0].initiated = Some(world.now);
        // What went over the wire so far: a's first payload is owed a keepalive by b, and has been answered by nothing.
        models[0].unheard = Some(world.now);
        models[1].keepalive = Some((world.now + KEEPALIVE, false));
        let dice = Dice::new(weather.seed);
        let mut run = Run { world, models, dice, flying: Vec::new(), weather };
        // Until before the first keys are replaced for their age.
        for tick in 0..110 * 20 {
            run.step(tick)?;
        }
    }
}
