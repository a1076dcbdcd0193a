//! `meshctl lab demo`: a whole mesh comes up, is used, is listened to on every wire, and goes away again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::layout::{Guest, Layout, Node, Shape};
use super::progress::Progress;
use super::report::{Pair, WireSeen, render};
use super::state::Home;
use super::traffic::{self, Transfer};
use super::transfer::Amount;
use super::up::Lab;
use super::watch::{Seen, Watch};
use super::{LabError, daemons};

/// Size of the file that goes across, bytes.
pub const FILE: u64 = 200_000_000;
/// How long the throughput of a pair is measured.
const SAMPLE: Duration = Duration::from_millis(400);
/// IPv4 and ICMP header of a ping.
const PING_HEADERS: u16 = 28;

/// What the demo found.
#[derive(Debug)]
pub struct Outcome {
    /// Tables for people.
    pub text: String,
    /// What does not hold; empty: all is well.
    pub failures: Vec<String>,
}

/// Runs the demo. The lab is removed afterwards, whatever happened, unless `keep` is set.
///
/// # Errors
/// A step could not be done at all.
pub fn demo(shape: &Shape, keep: bool, progress: &Progress) -> Result<Outcome, LabError> {
    let mut lab = Lab::build(shape, false, progress)?;
    let outcome = match perform(&mut lab, progress) {
        Ok(outcome) => outcome,
        Err(error) if keep => return Err(error),
        Err(error) => return Err(lab.give_up(error, progress)),
    };
    if keep {
        let home = Home::of(&shape.name);
        progress.say(format!("the lab stays up; look: {}  remove: {}", home.hint("status"), home.hint("down")));
    } else {
        lab.remove(progress)?;
        progress.say("run it with --keep to leave the lab up and look around");
    }
    Ok(outcome)
}

fn perform(lab: &mut Lab, progress: &Progress) -> Result<Outcome, LabError> {
    let layout = lab.layout().clone();
    let watches = layout.wires.iter().map(|wire| Watch::start(&layout, wire)).collect::<Result<Vec<_>, _>>()?;
    progress.say(format!("listening on {} wires", watches.len()));
    lab.start(progress)?;
    let mtu = lab.state.guest_mtu.unwrap_or_default();
    let mut failures = Vec::new();
    pings(&lab.home, &layout, mtu, progress, &mut failures)?;
    file(&layout, progress, &mut failures)?;
    let pairs = pairs(lab, &layout, mtu, progress, &mut failures)?;
    let wires = watches.into_iter().map(seen).collect::<Result<Vec<_>, _>>()?;
    for wire in &wires {
        failures.extend(wire.failures(&layout));
    }
    progress.say(format!("done in {:.1} s", progress.elapsed().as_secs_f64()));
    Ok(Outcome { text: render(&pairs, &wires), failures })
}

fn seen(watch: Watch) -> Result<WireSeen, LabError> {
    let wire = watch.wire.clone();
    let seen: Seen = watch.end()?;
    Ok(WireSeen { wire, seen })
}

type End<'a> = (&'a Node, &'a Guest);

/// Every ordered pair of guests.
fn ordered(layout: &Layout) -> Vec<(End<'_>, End<'_>)> {
    let all: Vec<End<'_>> = layout.guests().collect();
    let mut pairs = Vec::new();
    for from in &all {
        let others = all.iter().filter(|to| to.1.namespace != from.1.namespace);
        pairs.extend(others.map(|to| (*from, *to)));
    }
    pairs
}

/// Every guest pings every guest, with small packets and with the largest that its MTU allows.
fn pings(
    home: &Home,
    layout: &Layout,
    mtu: u16,
    progress: &Progress,
    failures: &mut Vec<String>,
) -> Result<(), LabError> {
    let all = ordered(layout);
    let before = drops(home, layout)?;
    let mut good = 0;
    for (from, to) in &all {
        progress.go_on()?;
        let Some(ip) = to.1.ips.first() else { continue };
        let small = traffic::ping(&from.1.namespace, *ip, 3, 10, 56)?;
        let large = traffic::ping(&from.1.namespace, *ip, 1, 10, mtu.saturating_sub(PING_HEADERS))?;
        if small.complete() && large.complete() {
            good += 1;
        } else {
            let counted = new_drops(&before, &drops(home, layout)?);
            failures.push(format!(
                "{} to {}: {} of {} small pings and {} of {} of {mtu} bytes were answered; dropped since the first: {counted}",
                from.1.namespace, to.1.namespace, small.received, small.sent, large.received, large.sent
            ));
        }
    }
    progress.say(format!("every guest pings every guest: {good} of {} pairs, up to {mtu} bytes", all.len()));
    Ok(())
}

/// What each node has dropped, by reason.
type Drops = BTreeMap<String, BTreeMap<String, u64>>;

fn drops(home: &Home, layout: &Layout) -> Result<Drops, LabError> {
    layout.nodes.iter().map(|node| Ok((node.name.clone(), daemons::status(home, node)?.drops))).collect()
}

/// What was dropped between two looks, as text.
fn new_drops(before: &Drops, after: &Drops) -> String {
    let count = |node: &str, reason: &str| before.get(node).and_then(|of| of.get(reason)).copied().unwrap_or(0);
    let all = after.iter().flat_map(|(node, of)| of.iter().map(move |(reason, total)| (node, reason, total)));
    let new = all.filter_map(|(node, reason, total)| {
        let new = total.saturating_sub(count(node, reason));
        (new > 0).then(|| format!("{node} {reason} {new}"))
    });
    let new: Vec<String> = new.collect();
    if new.is_empty() { "nothing by any daemon".to_owned() } else { new.join(", ") }
}

/// A file goes from the first guest to one in another PDC, or else to the last one.
fn file(layout: &Layout, progress: &Progress, failures: &mut Vec<String>) -> Result<(), LabError> {
    let Some(from) = layout.guests().next() else { return Ok(()) };
    let others = || layout.guests().filter(|to| to.1.namespace != from.1.namespace);
    let across = others().find(|to| to.0.pdc != from.0.pdc);
    let Some(to) = across.or_else(|| others().last()) else { return Ok(()) };
    progress.go_on()?;
    let Transfer { sent, received } = traffic::transfer(from.1, to.1, Amount::Bytes(FILE))?;
    let what = format!("{} MB from {} to {}", FILE / 1_000_000, from.1.namespace, to.1.namespace);
    let intact = Transfer { sent: sent.clone(), received: received.clone() }.intact();
    if intact && received.bytes == FILE {
        let speed = received.bits_per_second() / 1e6;
        progress.say(format!("{what}: SHA-256 {} on both sides, {speed:.0} Mbit/s", &received.sha256[..16]));
    } else {
        failures.push(format!(
            "{what}: sent {} bytes {}, received {} bytes {}",
            sent.bytes, sent.sha256, received.bytes, received.sha256
        ));
    }
    Ok(())
}

/// Path, round-trip time and throughput of every unordered pair.
fn pairs(
    lab: &Lab,
    layout: &Layout,
    mtu: u16,
    progress: &Progress,
    failures: &mut Vec<String>,
) -> Result<Vec<Pair>, LabError> {
    let mut rows = Vec::new();
    for (from, to) in ordered(layout).into_iter().filter(|(from, to)| from.1.namespace < to.1.namespace) {
        progress.go_on()?;
        let Some(ip) = to.1.ips.first() else { continue };
        let pings = traffic::ping(&from.1.namespace, *ip, 10, 10, 56)?;
        let transfer = traffic::transfer(from.1, to.1, Amount::Time(SAMPLE))?;
        if !transfer.intact() {
            failures.push(format!("{} to {}: a transfer arrived damaged", from.1.namespace, to.1.namespace));
        }
        let mut pair = Pair {
            from: from.1.namespace.clone(),
            to: to.1.namespace.clone(),
            path: "-".into(),
            why: "same bridge".into(),
            outer: "-".into(),
            rtt: pings.mean,
            bits_per_second: transfer.received.bits_per_second(),
            mtu,
        };
        if from.0.name != to.0.name {
            path_of(&lab.home, from.0, to.0, &mut pair)?;
        }
        rows.push(pair);
    }
    progress.say(format!("measured {} pairs", rows.len()));
    Ok(rows)
}

/// What the sending node says of its way to the other.
fn path_of(home: &Home, from: &Node, to: &Node, pair: &mut Pair) -> Result<(), LabError> {
    let status = daemons::status(home, from)?;
    let Some(peer) = status.peers.iter().find(|peer| peer.node.as_str() == to.name) else {
        pair.why = format!("{} does not know {}", from.name, to.name);
        return Ok(());
    };
    let paths: Vec<String> = peer.paths.iter().map(ToString::to_string).collect();
    pair.path = paths.join(", ");
    pair.why.clone_from(&peer.why);
    let endpoint = peer.tunnel.as_ref().and_then(|tunnel| tunnel.endpoint);
    pair.outer = match (endpoint, peer.vtep) {
        (Some(endpoint), _) => format!("{} > {endpoint}", from.external),
        (None, Some(vtep)) => format!("{} > {vtep}", from.admin),
        (None, None) => "unknown".into(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_pair_names_what_was_dropped_meanwhile() {
        let drops = |of: &[(&str, u64)]| of.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        let before = Drops::from([("a-1".into(), drops(&[("oversize", 2)])), ("a-2".into(), drops(&[]))]);
        let after = Drops::from([
            ("a-1".into(), drops(&[("oversize", 2), ("tap-busy", 1)])),
            ("a-2".into(), drops(&[("oversize", 3)])),
        ]);
        assert_eq!(new_drops(&before, &after), "a-1 tap-busy 1, a-2 oversize 3");
        assert_eq!(new_drops(&after, &after), "nothing by any daemon");
    }
}
