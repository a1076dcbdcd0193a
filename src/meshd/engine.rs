//! The engine: one thread that owns the kernel. A slice goes in; disk, kernel and lanes follow it, in this order, and the
//! rest of the daemon is told. What goes wrong is a finding and is tried again; the engine itself never ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::contests::Contests;
use super::differing::Differing;
use super::disk;
use super::drift::{self, brief};
use super::files::Tables;
use super::guests::Guests;
use super::held::Held;
use super::kernel::{Kernel, stands, told, told_of};
use super::keys::Keyring;
use super::look::{Before, Host, look};
use super::mtu::Watch;
use super::others::Others;
use super::plain::Plain;
use super::plugs::Memory;
use super::shared::{Shared, Topic};
use crate::api::local::Finding;
use crate::api::stream::{Contested, FoundPort};
use crate::clock::{mono, wall};
use crate::config::meshd::Config;
use crate::forward::{Slots, Table};
use crate::linux::spare::Spare;
use crate::meshd::lane::Setup;
use crate::node::announce::Announcer;
use crate::node::desired::{Desired, Observed};
use crate::node::discover::{self, discover};
use crate::node::op::Op;
use crate::node::presence::Presence;
use crate::node::unwatched::Eye;
use crate::node::whole::{self, Whole};
use crate::node::{paths, reconcile, revoke, short, watch};
use crate::table::{Row, RowKey, Slice};
use crate::types::{IfName, Mono, Mtu, Prefix};

/// How often it is seen whether management has to be told of something else that is wrong.
const TELL: Duration = Duration::from_secs(5);
/// How soon the slice in force is written again where the disk did not take it.
const SAVE_AGAIN: Duration = Duration::from_secs(15);
/// How often the kernel is compared with the plan although nothing was heard; less often where that takes long.
const CHECK: Duration = Duration::from_secs(30);
/// However long it takes.
const CHECK_LONGEST: Duration = Duration::from_secs(600);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Part of the time that comparing may take when nothing was heard: a quarter of a percent of a core.
const CHECK_SHARE: u32 = 400;
/// The same when the kernel asks for it without end, as neighbours that come and go make it: a twentieth of a core.
const LOOK_SHARE: u32 = 20;
/// How often lanes are looked after.
const TICK: Duration = Duration::from_millis(500);
/// The same while guests are asked whether they are there.
const ASKING: Duration = Duration::from_millis(100);
/// Least time between two looks at the kernel that the kernel itself asked for.
const CALM: Duration = Duration::from_millis(500);
/// Rounds of observe and apply in which the kernel must reach the plan.
const ROUNDS: u8 = 4;

/// What the engine is told.
#[derive(Debug)]
pub enum Command {
    /// Follow this slice, and keep it on disk.
    Slice(Box<Slice>),
    /// This node is no member any more.
    Removed,
    /// Something in the kernel changed.
    Look,
    /// A table file changed.
    Files,
    /// Guests of this node that others hear as well.
    Contested(Vec<Contested>),
    /// `meshd.toml` was read again.
    Config(Box<Config>),
    /// End.
    Stop,
}

/// The engine.
#[derive(Debug)]
pub struct Engine<K> {
    kernel: K,
    look: fn(&Config, &Before) -> Host,
    held: Held,
    shared: Arc<Shared>,
    config: Config,
    slice: Option<Arc<Slice>>,
    desired: Desired,
    slots: Slots,
    tables: Option<Tables>,
    /// With a management node: the keys of the tunnels.
    keys: Option<Keyring>,
    /// With table files: the slice that they stand for, before this node's own guests are added.
    base: Option<Slice>,
    /// With table files: guests found on our bridges since the start, and the interface that each is behind.
    guests: BTreeMap<FoundPort, IfName>,
    contests: Contests,
    paths: Watch,
    dropped: Guests,
    others: Others,
    plain: Plain,
    plugs: Memory,
    presence: Arc<Presence>,
    /// Where this node and management decide differently, and since when.
    differing: Differing,
    announcer: Announcer,
    /// Descriptors for when there are no others.
    pub(super) spare: Spare,
    removed: bool,
    /// When the slice in force is written to disk again, which failed.
    save_at: Option<Mono>,
    /// When management is told next what is wrong here.
    tell_at: Mono,
    /// The next comparison of kernel and plan.
    check_at: Mono,
    checked: Mono,
    /// How long the last comparison took.
    cost: Duration,
}

impl<K: Kernel> Engine<K> {
    /// An engine that follows nothing yet. `tables` is set where the table comes from files.
    pub fn new(kernel: K, shared: Arc<Shared>, config: Config, tables: Option<Tables>) -> Self {
        let now = mono();
        let held = Held::read(&config.paths.state);
        let (plugs, contests) = (Memory::read(&config.paths.run), Contests::read(&config.paths.run));
        Self {
            kernel,
            look,
            held,
            shared,
            config,
            slice: None,
            desired: Desired::default(),
            slots: Slots::default(),
            tables,
            keys: None,
            base: None,
            guests: BTreeMap::new(),
            contests,
            paths: Watch::default(),
            dropped: Guests::default(),
            others: Others::default(),
            plain: Plain::default(),
            plugs,
            presence: Arc::default(),
            differing: Differing::default(),
            announcer: Announcer::default(),
            spare: Spare::default(),
            removed: false,
            save_at: None,
            tell_at: now,
            check_at: now + CHECK,
            checked: now,
            cost: Duration::ZERO,
        }
    }

    /// Lets the keys of the tunnels be changed.
    #[must_use]
    pub fn with_keys(self, keys: Option<Keyring>) -> Self {
        if let Some(keys) = &keys {
            keys.lend(&self.shared);
        }
        Self { keys, ..self }
    }

    /// Follows the slice that was found on disk.
    pub fn boot(&mut self, slice: Slice) {
        self.follow(slice, false);
    }

    /// Works until [`Command::Stop`], or until nobody can tell it anything any more. Lanes stop then; devices and guard stay.
    pub fn run(mut self, commands: &Receiver<Command>) {
        loop {
            match commands.recv_timeout(if self.contests.is_asking() { ASKING } else { TICK }) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => {
                    if !self.gather(command, commands) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tend();
        }
        self.shared.lanes.stop();
    }

    /// Handles a command and all that wait behind it; of several slices only the last counts. False: stop.
    fn gather(&mut self, first: Command, commands: &Receiver<Command>) -> bool {
        let (mut newest, mut files) = (None, false);
        for command in std::iter::once(first).chain(commands.try_iter()) {
            match command {
                Command::Slice(slice) => newest = Some(slice),
                Command::Removed => {
                    newest = None;
                    self.remove();
                }
                Command::Look => self.check_at = self.check_at.min((self.checked + self.calm()).max(mono())),
                Command::Files => files = true,
                Command::Contested(guests) => self.contests.set(&guests),
                Command::Config(config) => {
                    self.config = *config;
                    self.check_at = mono();
                    files = self.tables.is_some();
                }
                Command::Stop => return false,
            }
        }
        if let Some(slice) = newest {
            self.follow(*slice, true);
        }
        if files {
            self.read_tables();
        }
        true
    }

    /// What is due without being told.
    fn tend(&mut self) {
        self.shared.engine.strike(mono());
        let short = self.spare.look().map(|shortage| short::finding(shortage, std::process::id()));
        self.shared.find(Topic::Short, short.into_iter().collect());
        self.shared.lanes.tend(&self.shared);
        self.tend_keys();
        self.save_again();
        if self.paths.look(&self.shared, mono(), wall()) && self.tables.is_some() {
            self.read_tables();
        }
        self.count_drops();
        let (died, slice) = (self.plain.look(&self.shared, mono()), self.slice.clone());
        if let Some(slice) = slice.filter(|_| died && !self.removed) {
            // Paths that have died or answer again; no file changes with them.
            drop(self.settle(&slice, false));
        }
        self.differing.tell(&self.shared, mono());
        self.tell();
        if mono() >= self.check_at {
            let known: Vec<FoundPort> = self.guests.keys().cloned().collect();
            self.check();
            if !self.guests.keys().eq(&known) {
                self.follow_base();
            }
        }
        self.others.look(&mut self.kernel, &self.desired, &self.shared);
        self.shared.tell_unwatched(mono());
        self.announce();
        self.shared.events.tend(mono());
    }

    /// Tells this node's guests what has moved.
    fn announce(&mut self) {
        let Some(slice) = self.slice.as_ref().filter(|_| !self.removed) else { return };
        let due = self.announcer.due(slice);
        let frames: Vec<_> = due.into_iter().filter_map(|(net, frame)| Some((self.slots.net(&net)?, frame))).collect();
        if !frames.is_empty() {
            self.shared.lanes.announce(frames);
        }
    }

    /// Tells management what is wrong here.
    fn tell(&mut self) {
        let now = mono();
        if now < self.tell_at {
            return;
        }
        self.tell_at = now + TELL;
        let (findings, away) = (super::status::told(&self.shared), super::status::away(&self.shared));
        self.shared.say(|outgoing| (outgoing.findings, outgoing.away) = (findings, away));
    }

    /// Tells what the packet filters have dropped.
    fn count_drops(&mut self) {
        let filtered = match self.slice.as_ref().filter(|_| !self.desired.fence.is_empty()) {
            Some(slice) => {
                let told = self.dropped.look(&mut self.kernel, slice, &self.shared.events, mono());
                self.shared.looked(Eye::Counters, told);
                self.dropped.counts()
            }
            None => BTreeMap::new(),
        };
        self.shared.view().filtered = filtered;
        if let Some(slice) = self.slice.as_ref().filter(|_| !self.removed && self.tables.is_none())
            && self.contests.tend(&mut self.kernel, (slice, &self.dropped), &self.shared, mono())
        {
            self.check_at = mono();
        }
        let wrong = self.slice.as_ref().filter(|_| !self.removed).map(|slice| {
            let now = mono();
            let mut says = self.dropped.wrongs(slice, &self.desired, &self.presence, now);
            self.presence.doubt(&mut says);
            [self.presence.findings(slice, now), says].concat()
        });
        self.shared.find(Topic::Plugs, wrong.unwrap_or_default());
    }

    /// Watches the clock, and a change of keys that is under way.
    fn tend_keys(&mut self) {
        let (Some(keys), now) = (&mut self.keys, mono()) else { return };
        if keys.watch(&self.shared, now, wall()) {
            keys.follow(self.slice.as_ref().and_then(|slice| slice.keys.as_ref()), &self.shared, now);
        }
        keys.tend(&self.shared, now);
    }

    /// Reads the table files and follows what they stand for.
    pub fn read_tables(&mut self) {
        if self.tables.is_none() {
            return;
        }
        let host = self.host(inside(self.base.as_ref()));
        let Some(tables) = &mut self.tables else { return };
        match tables.read(&self.config, &host.local, self.paths.counted(), self.base.as_ref()) {
            Ok(Some(slice)) => {
                self.base = Some(slice);
                self.follow_base();
            }
            Ok(None) => self.shared.find(Topic::Slice, Vec::new()),
            Err(problem) => {
                let mut finding = Finding::from(&problem);
                finding.what.push_str("; the table of before stays in force");
                self.shared.find(Topic::Slice, vec![finding]);
            }
        }
    }

    /// Follows the table files and this node's own guests, which they do not name. A guest that they say is elsewhere stays there.
    fn follow_base(&mut self) {
        let Some(mut slice) = self.base.clone() else { return };
        for guest in self.guests.keys() {
            let (overlay, vni) = (guest.network.overlay.clone(), guest.network.vni);
            let row = Row::of(slice.node.clone());
            slice.rows.entry(RowKey { overlay, vni, vlan: None, mac: guest.mac }).or_insert(row);
        }
        self.follow(slice, false);
    }

    fn follow(&mut self, slice: Slice, new: bool) {
        if let Err(error) = self.slots.assign(&slice) {
            self.shared.find(Topic::Slice, vec![Finding::new("M0634", error.to_string(), "systemctl restart meshd")]);
        } else {
            self.shared.find(Topic::Slice, Vec::new());
        }
        self.removed = false;
        self.shared.find(Topic::Removed, Vec::new());
        let slice = Arc::new(slice);
        self.revoke(&slice);
        if let Some(old) = self.slice.replace(Arc::clone(&slice)) {
            self.announcer.follow(&old, &slice);
        }
        let kept = if new { disk::save_slice(&self.config.paths.state, &slice) } else { Ok(()) };
        let kept = match (kept, &self.tables) {
            (Ok(()), None) => self.settle(&slice, true),
            (Ok(()), Some(_)) => self.settle(&slice, false),
            (Err(error), _) => {
                // A full disk must not stop what the management node says, least of all a revocation.
                let _ = self.settle(&slice, false);
                Err(error)
            }
        };
        self.kept(&kept);
    }

    fn kept(&mut self, kept: &std::io::Result<()>) {
        self.save_at = kept.is_err().then(|| mono() + SAVE_AGAIN);
        let findings = kept.as_ref().err().map(disk::not_kept).into_iter().collect();
        self.shared.find(Topic::Disk, findings);
    }

    /// Writes the slice in force, which the disk did not take when it came.
    fn save_again(&mut self) {
        if self.save_at.is_none_or(|at| mono() < at) {
            return;
        }
        let Some(slice) = self.slice.clone().filter(|_| !self.removed) else { return };
        let (state, paths) = (&self.config.paths.state, Arc::clone(&self.shared.view().paths));
        let kept = disk::save_slice(state, &slice).and_then(|()| disk::save_tables(state, &slice, &paths).map(drop));
        self.kept(&kept);
    }

    /// Takes from the lanes what a slice takes away, before disk and kernel, which may need their time, are asked for anything. What
    /// it adds comes to the lanes last of all.
    fn revoke(&self, slice: &Arc<Slice>) {
        let (old, local) = {
            let view = self.shared.view();
            (view.slice.clone(), view.local.clone())
        };
        let Some(left) = old.and_then(|old| revoke::remaining(&old, &local.resolved(slice))) else { return };
        let paths = self.plain.apply(&left, paths::decide_all(&left, local.own()));
        let table = Arc::new(Table::build(&left, &paths, &self.slots, (&local).into()));
        self.shared
            .lanes
            .set(|lane| Arc::new(Setup::with(Arc::clone(&table), &left, &paths, &self.slots, &local, lane)));
    }

    /// Brings everything to the slice. The result is of the disk.
    fn settle(&mut self, slice: &Arc<Slice>, tables: bool) -> std::io::Result<()> {
        let host = self.host(inside(Some(slice)));
        let slice = &host.local.resolved(slice);
        let declared = paths::decide_all(slice, host.local.own());
        let paths = Arc::new(self.plain.apply(slice, declared.clone()));
        let Whole { plan, echoes, way } = whole::planned(slice, &paths, &declared, &host.local);
        self.shared.cross(way, !plan.desired.networks.is_empty());
        self.shared.find(Topic::Plan, plan.findings);
        self.differing.set(paths::disagreements(slice, &declared), &self.shared, mono());
        self.desired = plan.desired;
        let settled = self.reconcile(false);
        if let Some(keys) = &mut self.keys {
            keys.follow(slice.keys.as_ref(), &self.shared, mono());
        }
        let keys = self.keys.as_ref().map(Keyring::for_lanes).unwrap_or_default();
        {
            let lanes = &self.shared.lanes;
            let table = Arc::new(Table::build(slice, &paths, &self.slots, (&host.local).into()));
            lanes.set(|lane| {
                let setup = Setup::with(Arc::clone(&table), slice, &paths, &self.slots, &host.local, lane);
                Arc::new(Setup { keys: Arc::clone(&keys), ..setup })
            });
            let pairs = |echoes: &watch::Echoes| watch::pairs(echoes, slice, |node| self.slots.peer(node));
            self.shared.watch.set(echoes.iter().map(|echoes| (echoes.clone(), pairs(echoes))).collect());
            let mut view = self.shared.view();
            view.echoes = Arc::new(echoes);
            view.pdc = slice.pdc.clone();
            view.slice = Some(Arc::clone(slice));
            view.paths = Arc::clone(&paths);
            view.local = host.local.clone();
            view.slots = self.slots.clone();
            view.mtus = self
                .desired
                .networks
                .iter()
                .map(|(bridge, net)| (net.key.clone(), (bridge.clone(), mtu(net, bridge))))
                .collect();
            if settled {
                view.applied = slice.version;
            }
        }
        let facts = super::facts(&self.config, &host.local, self.shared.lanes.count());
        self.shared.find(Topic::Underlay, host.findings);
        self.paths.look_again();
        self.shared.say(|outgoing| {
            outgoing.facts = Some(facts);
            outgoing.own_mtu = Some(host.local.mtu);
            if settled {
                outgoing.applied = Some(slice.version);
            }
        });
        if tables { disk::save_tables(&self.config.paths.state, slice, &paths).map(drop) } else { Ok(()) }
    }

    /// The host as it is now, at the addresses that it had where they are still there.
    fn host(&mut self, inside: Vec<Prefix>) -> Host {
        let mut host = (self.look)(&self.config, &Before { held: self.held.clone(), inside });
        if host.unread && self.shared.view().slice.is_some() {
            // What cannot be looked at stays as it was: nothing says that an address has gone.
            host.local = self.shared.view().local.clone();
            host.held = self.held.clone();
        }
        self.held.keep(host.held.clone(), &self.config.paths.state);
        host
    }

    /// Compares host and kernel with what they were and should be, and repairs.
    fn check(&mut self) {
        let Some(slice) = self.slice.clone().filter(|_| !self.removed) else {
            self.check_at = mono() + CHECK;
            return;
        };
        let moved = self.host(inside(Some(&slice))).local != self.shared.view().local;
        let behind = self.shared.view().applied != slice.version;
        if moved || behind {
            // What fails here is already a finding; the disk has its own.
            let _ = self.settle(&slice, false);
        } else {
            self.reconcile(true);
        }
    }

    /// Repeats observe and apply until nothing is left to do. `quiet` means that nothing is expected: what is found is drift.
    fn reconcile(&mut self, quiet: bool) -> bool {
        let outcome = self.rounds(quiet);
        self.checked = mono();
        self.check_at = self.checked + if outcome.is_ok() { self.check_after() } else { RETRY };
        if let Some(again) = self.presence.again() {
            self.check_at = self.check_at.min(again.max(self.checked + self.calm()));
        }
        let settled = outcome.is_ok();
        self.others.soon();
        self.shared.find(Topic::Kernel, outcome.err().into_iter().collect());
        settled
    }

    /// How long the kernel is left alone when nothing is heard.
    fn check_after(&self) -> Duration {
        CHECK.max(self.cost.saturating_mul(CHECK_SHARE)).min(CHECK_LONGEST)
    }

    /// How long it is left alone at least, whatever is heard.
    fn calm(&self) -> Duration {
        CALM.max(self.cost.saturating_mul(LOOK_SHARE)).min(CHECK)
    }

    fn rounds(&mut self, quiet: bool) -> Result<(), Finding> {
        let Some(slice) = self.slice.clone() else { return Ok(()) };
        self.plugs.begin();
        for round in 0..=ROUNDS {
            let start = mono();
            self.shared.engine.strike(start);
            let mut observed = self.kernel.observe().map_err(|e| told(&e))?;
            let read = mono().since(start);
            let plugs = self.plugs.look(&mut self.kernel, &slice, &self.desired, &mut observed, &self.shared.events);
            let plugs = plugs.map_err(|e| told(&e))?;
            let start = mono();
            self.shared.find(Topic::Conflict, reconcile::conflicts(&self.desired, &observed));
            let ops = reconcile::diff(&self.desired, &observed);
            self.cost = read + mono().since(start);
            if ops.is_empty() && plugs.is_empty() {
                self.found(&observed);
                return Ok(());
            }
            if round == ROUNDS {
                let left: Vec<&Op> = ops.iter().chain(&plugs).collect();
                let what = format!("the kernel does not keep what it was told: {}", brief(left.into_iter()));
                return Err(Finding::new(
                    "M0635",
                    what,
                    "look for another program that manages these devices: meshctl events",
                ));
            }
            tracing::debug!("{} steps: {}", ops.len(), brief(ops.iter()));
            let outcome = self.kernel.apply(&ops);
            // Guests of other networks do not wait for what one lacks.
            self.plugs.plug(&mut self.kernel, &plugs, (&observed, &outcome), &self.shared.events);
            if let Err(error) = outcome {
                self.found(&observed);
                return Err(told_of(&error, &slice, stands(&self.desired, &observed)));
            }
            drift::repaired(&ops, quiet && round == 0, &self.shared.events);
        }
        Ok(())
    }

    /// Reports guests on our bridges, where the network wants that. With table files there is nobody to report to: they are
    /// kept, so that a guest may be silent for longer than a bridge remembers.
    fn found(&mut self, observed: &Observed) {
        self.dropped.seen(&self.desired, observed);
        self.others.seen(&self.desired, observed);
        {
            let mut view = self.shared.view();
            let sides = [&view.local.admin, &view.local.external].into_iter().flatten();
            let down = sides.filter_map(|side| Some((side.interface.clone(), observed.down(&side.interface)?)));
            view.down = down.collect();
        }
        let mut presence = Presence::clone(&self.presence);
        presence.learn(&self.desired, observed, self.plugs.plugs(), (mono(), wall()));
        self.presence = Arc::new(presence);
        self.shared.view().presence = Arc::clone(&self.presence);
        let Some(slice) = &self.slice else { return };
        let found = discover(slice, &self.desired, observed, &self.contests.known());
        if self.tables.is_some() {
            discover::remember(&mut self.guests, &found, |interface| observed.links.contains_key(interface));
        }
        self.shared.find(Topic::Guests, found.findings);
        self.contests.found(found.ports, (slice, &self.dropped), &self.shared, mono());
    }

    fn remove(&mut self) {
        self.removed = true;
        self.shared.lanes.set(|_| Arc::default());
        self.shared.watch.set(Vec::new());
        self.shared.watch.cross(None);
        self.shared.view().echoes = Arc::default();
        let what = "the management node has removed this node; its tunnels are closed".to_owned();
        self.shared.find(
            Topic::Removed,
            vec![Finding::new("M0220", what, "meshctl leave, then meshctl join with a new token")],
        );
    }
}

/// Prefixes of the underlay of the node's PDC.
fn inside(slice: Option<&Slice>) -> Vec<Prefix> {
    let own = slice.and_then(|slice| slice.pdcs.get(&slice.pdc));
    own.map(|pdc| pdc.underlay.clone()).unwrap_or_default()
}

fn mtu(net: &crate::node::desired::Net, bridge: &IfName) -> Option<Mtu> {
    net.links.get(bridge).and_then(|link| Mtu::try_from(u64::from(link.mtu)).ok())
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
