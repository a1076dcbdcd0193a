//! Random kills, cuts, changes, clock jumps and attacks on a whole mesh under traffic, out of a seed; and what must be true when
//! they are over. `tests/chaos.sh` runs it.
#![expect(clippy::wildcard_enum_match_arm, reason = "of all that may happen, each place looks at what is its own")]

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::lab::classify::Class;

use self::guests::{TALK, Talk, Voice, Wrong};
pub(crate) use self::plan::Dice;
use self::plan::{Net, Step, plan};
use self::world::{World, network};
use crate::harness::{can_run, wait_until};

mod acts;
mod attack;
mod guests;
mod incidents;
mod lies;
mod plan;
mod settle;
mod wires;
mod world;

/// What happened, with times.
#[derive(Default)]
struct Diary(String);

impl Diary {
    fn line(&mut self, text: &str) {
        eprintln!("{text}");
        let _ = writeln!(self.0, "{text}");
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
#[ignore = "minutes of chaos: tests/chaos.sh [SECONDS] [SEED]"]
fn after_chaos_everything_is_as_before_and_nothing_went_astray() {
    if !can_run() {
        return;
    }
    let seconds = number("VXMESH_CHAOS_SECONDS").unwrap_or(60);
    let seed = number("VXMESH_CHAOS_SEED").unwrap_or_else(|| u32::from_ne_bytes(clock::random()).into());
    let steps = plan(seed, seconds);
    let mut diary = Diary::default();
    diary.line(&format!("seed {seed}: {} steps in {seconds} s; again: tests/chaos.sh {seconds} {seed}", steps.len()));
    let mut world = World::new();
    let outcome = run(&mut world, &steps, &mut diary);
    diary.line(&table(&world));
    let mut wrong = verdict(&world);
    wrong.extend(outcome.err());
    if wrong.is_empty() {
        wrong.extend(control(&world).err());
    }
    if !wrong.is_empty() {
        let folder = world.keep_logs(seed);
        std::fs::write(folder.join("events.log"), &diary.0).unwrap();
        panic!("seed {seed}; logs in {}:\n{}", folder.display(), wrong.join("\n"));
    }
}

fn run(world: &mut World, steps: &[Step], diary: &mut Diary) -> Result<(), String> {
    let (took, _) = world.settle().map_err(|why| format!("before the first incident: {why}"))?;
    clocks_can_be_shifted(world);
    diary.line(&format!("lab is up and whole after {took:.1?}"));
    let start = clock::mono();
    for step in steps {
        while clock::mono().since(start) < Duration::from_millis(step.at) {
            world.plug();
            thread::sleep(Duration::from_millis(10));
        }
        let outcome = again(world, step);
        let at = clock::mono().since(start).as_secs_f64();
        let (due, act) = (Duration::from_millis(step.at).as_secs_f64(), step.act);
        let said = match &outcome {
            Ok(said) => said.clone(),
            Err(why) => format!("not done: {}", why.trim()),
        };
        diary.line(&format!("{at:8.3} s (due {due:.3}) {}{act}: {said}", if step.undo { "end: " } else { "" }));
        if let (true, Err(why)) = (step.undo, outcome) {
            return Err(format!("{act} could not be done: {why}"));
        }
    }
    let (took, last) = world.settle()?;
    diary.line(&format!("whole again {took:.1?} after the last incident; {}", last.unwrap_or_default()));
    Ok(())
}

/// The end of an incident is tried for a while: what it needs may itself be suffering.
fn again(world: &mut World, step: &Step) -> Result<String, String> {
    let start = clock::mono();
    loop {
        let outcome = world.act(step.act);
        if outcome.is_ok() || !step.undo || clock::mono().since(start) > Duration::from_secs(20) {
            return outcome;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Counts by guest and by wire.
fn table(world: &World) -> String {
    let mut text = String::from("\nguest                sent  received  flooded  wrong\n");
    for guest in &world.guests {
        let [sent, received, flooded] = guest.counts();
        let wrong: u64 = guest.wrong().values().map(|(count, _)| count).sum();
        let name = format!("{} {}", world.name(guest.node), network(guest.net).0);
        let _ = writeln!(text, "{name:<16} {sent:>8}  {received:>8}  {flooded:>7}  {wrong:>5}");
    }
    text.push_str("\nwire              VXLAN  WireGuard  management  ARP, ICMP   other  in clear  attacks  not seen\n");
    for watcher in &world.watchers {
        let seen = watcher.seen();
        let of = |class| seen.of(class);
        let _ = writeln!(
            text,
            "{:<14} {:>8}  {:>9}  {:>10}  {:>9}  {:>6}  {:>8}  {:>7}  {:>8}",
            watcher.wire.device,
            of(Class::Vxlan),
            of(Class::Wireguard),
            of(Class::Management),
            of(Class::Housekeeping),
            of(Class::Other),
            of(Class::Clear),
            seen.attacks,
            seen.missed
        );
    }
    text
}

/// What was seen that must never be.
fn verdict(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for guest in &world.guests {
        for (what, (count, example)) in guest.wrong() {
            wrong.push(format!("{}: {count} frames {what:?}, the first {example}", guest.namespace));
        }
    }
    wrong.extend(world.services.iter().filter_map(lies::Service::wrong));
    for watcher in &world.watchers {
        let seen = watcher.seen();
        let clear = seen.of(Class::Clear);
        if clear > 0 {
            wrong.push(format!("{}: {clear} frames in clear: {:?}", watcher.wire.device, seen.examples));
        }
        if seen.missed > 0 {
            wrong.push(format!("{}: {} frames too many to look at", watcher.wire.device, seen.missed));
        }
    }
    wrong
}

/// The clock of one daemon can be set without setting that of the machine: its newest event is of ten years from now.
fn clocks_can_be_shifted(world: &World) {
    const YEARS: i64 = 10 * 365 * 24 * 3600;
    let name = world.name(0);
    let process = world.lab.home.running(name).unwrap();
    world.shift(name, Some(YEARS), 0);
    let later = clock::wall() + Duration::from_secs(u64::try_from(YEARS).unwrap() - 60);
    wait_until("an event of ten years from now", Duration::from_secs(10), || {
        process.signal(libc::SIGHUP).unwrap();
        world.events(0).iter().any(|event| event.at > later)
    });
    world.shift(name, Some(0), 0);
}

/// Had there been a frame in clear or in the wrong network, it would have been seen: one of each, on purpose.
fn control(world: &World) -> Result<(), String> {
    let talk = Talk { voice: Voice::Guest(Net::Red), from: 1, to: 0, sent: World::now() };
    let (macs, ips) = ([guests::mac(0), guests::mac(1)], [guests::ip(1), guests::ip(0)]);
    let astray = attack::udp_frame(macs, ips, [TALK, TALK], 64, &talk.bytes());
    let before = world.internet().seen().of(Class::Clear);
    attack::send_by(world.space(0), "ext0", std::slice::from_ref(&astray));
    attack::send_by(world.space(0), network(Net::Blue).2, &[astray]);
    let limit = Duration::from_secs(5);
    let start = clock::mono();
    loop {
        let clear = world.internet().seen().of(Class::Clear) > before;
        let wrong = world.guests[0].wrong().contains_key(&Wrong::OtherNetwork);
        if clear && wrong {
            return Ok(());
        }
        if clock::mono().since(start) > limit {
            return Err(format!(
                "the eyes are blind: planted frame in clear seen: {clear}, in the wrong network: {wrong}"
            ));
        }
        thread::sleep(Duration::from_millis(10));
    }
}
