//! One cause is told once: what follows from another finding of the same node is left off, because who reads both looks for two faults. What it
//! cuts off is not lost: the cause cuts it off too, or takes it over.

use super::attached::ATTACHED;
use super::barriers::DROPS_FRAMES;
use super::outways::NO_WAY;
use super::short::SHORT;
use super::unwatched::UNWATCHED;
use super::watch::ECHO_VNI;
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::policy::path::Path;

/// What a finding of the first kind explains of the second.
struct Rule {
    causes: &'static [&'static str],
    symptoms: &'static [&'static str],
    holds: fn(&Finding, &Finding) -> bool,
}

/// This node holds another WireGuard key than the one that management gives to its peers.
const KEY: &str = "M0281";

/// What says that something does not pass between this node and peers.
const PEERS: &[&str] = &["M0410", "M0412", "M0663", "M0664", "M0665", "M0666", "M0669", "M0721", "M0722", "M0723"];

const RULES: &[Rule] = &[
    // No member speaks with a node in quarantine, or that was removed.
    Rule { causes: &["M0220", "M0264", "M0286"], symptoms: PEERS, holds: |cause, _| whole(cause) },
    // By another key than its own a node has no session with anybody, and echoes are keyed by sessions' keys.
    Rule { causes: &[KEY], symptoms: PEERS, holds: |_, _| true },
    // Echoes of the plain path are bridged IPv4, as guests' frames are.
    Rule { causes: &["M0685"], symptoms: &["M0663", "M0664", "M0665", "M0666"], holds: |cause, _| stops_echoes(cause) },
    // Nobody's plain frames arrive where another program has the UDP port.
    Rule { causes: &["M0625"], symptoms: &["M0663", "M0664", "M0665", "M0666"], holds: |_, _| true },
    // One interface for plain paths and tunnels.
    Rule { causes: &["M0667"], symptoms: &["M0410"], holds: same_line },
    // Without the interface nothing that goes by it answers.
    Rule { causes: &["M0667"], symptoms: &["M0663", "M0664", "M0665", "M0666", "M0669"], holds: of_its_peers },
    // What takes all that goes by an interface takes what is asked and answered by it.
    Rule { causes: &[ATTACHED], symptoms: &["M0410", "M0663", "M0664", "M0665", "M0666"], holds: by_its_line },
    // Without its address an interface has no routes, and nobody is reached by it.
    Rule {
        causes: &["M0630", "M0631", "M0632"],
        symptoms: &["M0410", "M0669"],
        holds: |_, symptom| symptom.what.contains(NO_WAY),
    },
    // Who can open nothing cannot look.
    Rule { causes: &[SHORT], symptoms: &["M0627", UNWATCHED], holds: |_, _| true },
    // What cannot be made cannot be opened.
    Rule {
        causes: &["M0621", "M0622", "M0623", "M0624", "M0626", "M0627"],
        symptoms: &["M0668"],
        holds: |cause, _| whole(cause),
    },
    // Without its packet filter nothing of a plan is made, though what stands from before goes on.
    Rule {
        causes: &["M0621", "M0622"],
        symptoms: &["M0668"],
        holds: |cause, _| cause.cut.as_ref().is_some_and(|cut| cut.node),
    },
];

/// True for what says that a whole side of this node cannot be used.
pub fn of_a_side(code: &str) -> bool {
    ["M0630", "M0631", "M0632", "M0633", "M0667"].contains(&code)
}

/// True where something of others takes what goes by the device by which this node watches its plain paths, or IPv4 alone, which it watches with:
/// what is not answered may be due to that, and guests' frames do not go by that device, or go by IPv6.
pub fn watch_is_hit<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> bool {
    let own = ["vt", "vv"].map(|device| format!(" {device}{ECHO_VNI}."));
    let names = |what: &str| own.iter().any(|own| what.contains(own));
    let hit = |finding: &Finding| ["M0686", "M0695"].contains(&finding.code.as_str()) && names(&finding.what);
    let of_one_family = |finding: &Finding| {
        let cut = finding.cut.as_ref();
        finding.code == DROPS_FRAMES && cut.is_some_and(|cut| cut.node && cut.ipv6 == Some(false))
    };
    findings.into_iter().any(|finding| hit(finding) || of_one_family(finding))
}

fn doubt(finding: &mut Finding) {
    if finding.code == "M0663"
        && let Some(cut) = &mut finding.cut
    {
        cut.surely = false;
        finding.what.push_str("; this node's own host drops what it watches by, and other frames may pass");
    }
}

fn whole(cause: &Finding) -> bool {
    cause.cut.as_ref().is_some_and(|cut| cut.node && cut.surely)
}

fn stops_echoes(cause: &Finding) -> bool {
    whole(cause) && cause.cut.as_ref().is_some_and(|cut| cut.ipv6 != Some(true))
}

fn same_line(cause: &Finding, symptom: &Finding) -> bool {
    cause.line.is_some() && cause.line == symptom.line
}

/// A symptom of the path that goes by the interface that is the fault.
fn by_its_line(cause: &Finding, symptom: &Finding) -> bool {
    let path = |finding: &Finding| finding.cut.as_ref().and_then(|cut| cut.path);
    let same = path(cause).is_none_or(|one| path(symptom) == Some(one));
    cause.line.is_some() && same && of_its_peers(cause, symptom)
}

fn of_its_peers(cause: &Finding, symptom: &Finding) -> bool {
    let Some((cause, symptom)) = cause.cut.as_ref().zip(symptom.cut.as_ref()) else { return false };
    !symptom.peers.is_empty() && symptom.peers.iter().all(|peer| cause.peers.contains(peer))
}

/// Findings of one node without those that follow from others of them, in the same order.
pub fn once(findings: Vec<Finding>) -> Vec<Finding> {
    let cause = |symptom: &Finding| {
        findings.iter().position(|cause| {
            let is = |rule: &&Rule| {
                rule.causes.contains(&cause.code.as_str()) && rule.symptoms.contains(&symptom.code.as_str())
            };
            RULES.iter().filter(is).any(|rule| (rule.holds)(cause, symptom))
        })
    };
    let causes: Vec<Option<usize>> = findings.iter().map(cause).collect();
    let mut told = findings.clone();
    if watch_is_hit(&findings) {
        told.iter_mut().for_each(doubt);
    }
    for (symptom, cause) in findings.iter().zip(&causes) {
        let Some((cause, more)) = cause.and_then(|at| told.get_mut(at)).zip(symptom.cut.as_ref()) else { continue };
        if cause.code == KEY {
            // Guests' plain frames pass all the same.
            if more.path != Some(Path::Tunnel) {
                continue;
            }
            cause.cut.get_or_insert_default();
        }
        if let Some(cut) = &mut cause.cut {
            take_over(cut, more);
        }
    }
    told.into_iter().zip(causes).filter_map(|(finding, cause)| cause.is_none().then_some(finding)).collect()
}

/// What a symptom cuts off besides. A finding about the whole node cuts off everything.
fn take_over(cut: &mut Cut, more: &Cut) {
    if cut.node || *more == Cut::default() {
        return;
    }
    if *cut == Cut::default() {
        *cut = more.clone();
        return;
    }
    // What of it is sure of some is not of the others.
    cut.surely &= more.surely || cut.path == more.path;
    if cut.path != more.path {
        cut.path = None;
    }
    // The direction that a symptom knows less of stays what the cause knows.
    if cut.direction != more.direction && more.surely {
        cut.direction = None;
    }
    let new: Vec<_> = more.peers.iter().filter(|peer| !cut.peers.contains(peer)).cloned().collect();
    cut.peers.extend(new);
    cut.others |= more.others;
    *cut = std::mem::take(cut).bounded();
}

#[cfg(test)]
#[path = "causes_tests.rs"]
mod tests;
