//! What is wrong with a node as a whole, as management sees it: away, behind, never back since the server started. One list for tables and
//! JSON, and what it means for frames of the node's guests.

use std::time::Duration;

use crate::api::admin::NodeLine;
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::types::{NodeId, Wall};

/// How long a server that has just started waits for a node before it calls it away: nodes try again every 30 s at the latest, and take their
/// time in between where they have waited long.
pub const COMES_BACK: Duration = Duration::from_secs(45);

/// Code of a node that is there and whose reports do not arrive, there and here.
pub const UNREPORTED: &str = "M0125";

/// What is wrong with a node, and what to do; `started`: when the server did. One that never joined is only not there yet, one in quarantine has
/// a problem of its own, and one that is expected has some time left.
pub fn wrong(node: &NodeLine, started: Wall) -> Option<Finding> {
    if node.foreign || node.joined.is_none() || node.quarantined || node.expected {
        return None;
    }
    let name = &node.node;
    if node.left {
        let help = format!(
            "for good: meshctl node delete {name}; another machine in its place: meshctl token create --replace {name}"
        );
        return Some(Finding::new("M0107", format!("the machine of node {name} has left"), help).cuts(Cut::node(true)));
    }
    if !node.connected {
        return Some(away(node, started));
    }
    if node.unreported {
        return Some(unreported(name));
    }
    let help = format!("on that node: meshctl status; here: meshctl events | grep {name}");
    let behind = || Finding::new("M0108", format!("node {name} does not follow the newest table"), help);
    (!node.in_sync && !node.changing).then(behind).map(|finding| finding.cuts(Cut::node(false)))
}

fn unreported(name: &NodeId) -> Finding {
    let what = format!(
        "node {name} is connected, and its reports do not arrive: what it has found since is not known here. Its new connections to this server \
         fail, the standing one lives"
    );
    let help = format!(
        "on that node: meshctl status, which says what is wrong there; here, let new connections from {name} in: nft list ruleset; ss -lnt"
    );
    Finding::new(UNREPORTED, what, help).cuts(Cut::node(false))
}

fn away(node: &NodeLine, started: Wall) -> Finding {
    let name = &node.node;
    let since = match node.seen {
        Some(seen) => format!("it was heard last at {seen}"),
        None => format!("it has not been heard since the management server started at {started}"),
    };
    let what = format!(
        "node {name} is away: {since}. Its machine, its meshd or its way to this server is down; if it is that way alone, its guests go on as before"
    );
    let help = "on that node: meshctl status; systemctl status meshd (without meshd guests there reach those of their own PDC only)";
    // Its guests may go on as before, and nobody here can know.
    Finding::new("M0107", what, help).cuts(Cut::node(false))
}

/// What is known here of a node that a frame passes: what is wrong, and what only nobody knows.
pub fn stands(node: &NodeLine, started: Wall) -> Option<Finding> {
    if node.quarantined {
        let what = format!("node {} is in quarantine: its guests are cut off from those of other nodes", node.node);
        return Some(Finding::new("M0286", what, "meshctl status").cuts(Cut::node(true)));
    }
    if node.expected {
        let what =
            format!("node {} has not been heard yet since the management server started at {started}", node.node);
        return Some(Finding::new("M0107", what, "wait a moment").cuts(Cut::node(false)));
    }
    // Who is away follows no table; that it is away is why.
    if node.changing && !node.in_sync && node.joined.is_some() && node.connected {
        let what = format!("node {} does not follow the newest table yet", node.node);
        return Some(Finding::new("M0108", what, "wait a moment").cuts(Cut::node(false)));
    }
    wrong(node, started)
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
