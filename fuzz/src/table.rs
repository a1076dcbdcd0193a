//! What a node is told of the table: slices, deltas, table files; and what it makes of them.

use vxmesh::api::stream::Message;
use vxmesh::config::Source;
use vxmesh::forward::{Sizing, Slots, Table};
use vxmesh::linux::fake::Fake;
use vxmesh::meshd::lane::Setup;
use vxmesh::node::paths::{Own, decide_all};
use vxmesh::node::plan::{Local, Underlay, plan};
use vxmesh::node::reconcile;
use vxmesh::node::sync::Sync;
use vxmesh::policy::path::Path;
use vxmesh::table::files::{self, Mode};
use vxmesh::table::{Slice, Told, delta};
use vxmesh::types::Mono;

/// The slice that the node of these inputs has.
const SLICE: &str = include_str!("slice.json");

fn own_slice() -> Slice {
    serde_json::from_str(SLICE).expect("slice.json is a slice")
}

/// This host: an admin and an external side.
fn local() -> Local {
    let side = |interface: &str, address: &str| {
        let (interface, address) = (interface.parse().ok()?, address.parse().ok()?);
        Some(Underlay { interface, address, mtu: 1500 })
    };
    Local { admin: side("eth0", "10.0.0.1"), external: side("eth1", "198.51.100.1"), ..Local::default() }
}

/// Everything that a node does with a slice that it believes: paths, plan, tables, files. What is planned settles in one pass, and
/// nothing that the rule of paths does not allow is plain.
fn follow(slice: &Slice) {
    let local = local();
    let own =
        Own { admin: local.admin.as_ref().map(|s| s.address), external: local.external.as_ref().map(|s| s.address) };
    let paths = decide_all(slice, own);
    for (net, verdicts) in &paths {
        for (node, verdict) in verdicts {
            let told = slice.networks.get(net).and_then(|network| network.members.get(node));
            assert!(told.is_none_or(|told| verdict.path >= *told), "the stricter of the two answers counts");
            let same = slice.peers.get(node).is_some_and(|peer| peer.pdc == slice.pdc);
            assert!(verdict.path != Path::Plain || same || !slice.policies.is_empty(), "in clear to another PDC");
        }
    }
    let mut slots = Slots::default();
    if slots.assign(slice).is_err() {
        return;
    }
    let _ = Table::build(slice, &paths, &slots, Sizing::default());
    let _ = Setup::build(slice, &paths, &slots, &local, 0);
    let planned = plan(slice, &paths, &local);
    let mut kernel = Fake::default();
    let ops = reconcile::diff(&planned.desired, &kernel.observe().expect("nothing is refused here"));
    kernel.apply(&ops).expect("what is planned can be done");
    let left = reconcile::diff(&planned.desired, &kernel.observe().expect("nothing is refused here"));
    assert!(left.is_empty(), "a plan settles in one pass: {left:?}");
    let _ = files::export_all(slice, &paths);
}

/// A slice as JSON, as on disk: what is read is written and read the same, and a node can follow it.
pub fn slice(data: &[u8]) {
    let Ok(slice) = serde_json::from_slice::<Slice>(data) else { return };
    let text = serde_json::to_vec(&slice).expect("a slice is JSON");
    assert_eq!(serde_json::from_slice::<Slice>(&text).ok().as_ref(), Some(&slice));
    follow(&slice);
}

/// Lines of the management stream. Each is taken as it is and, where its hash does not fit, once more with the right one: whatever
/// comes, the version never goes back, and a slice that is refused leaves the old one.
pub fn stream(data: &[u8]) {
    let mine = own_slice();
    let now = Mono::from_nanos(1_000_000_000);
    let mut sync = Sync::new(mine.node.clone(), Some(mine.pdc.clone()), Some(mine), now);
    for line in data.split(|byte| *byte == b'\n').take(8) {
        told(&mut sync, line, now);
        let Ok(message) = serde_json::from_slice::<Message>(line) else { continue };
        if let Some(right) = righted(message, &sync) {
            told(&mut sync, &serde_json::to_vec(&right).expect("a message is JSON"), now);
        }
    }
}

fn told(sync: &mut Sync, line: &[u8], now: Mono) {
    let before = sync.slice().cloned();
    let outcome = sync.line(line, now);
    let after = sync.slice().cloned();
    assert!(before.as_ref().map(|s| s.version) <= after.as_ref().map(|s| s.version), "versions never go back");
    match outcome {
        Ok(_) => after.iter().for_each(follow),
        Err(_) => assert_eq!(before, after, "what is refused changes nothing"),
    }
    let _ = sync.ask();
}

/// The same message with the hash that its content has, for this node.
fn righted(message: Message, sync: &Sync) -> Option<Message> {
    let here = sync.slice()?;
    Some(match message {
        Message::Snapshot { mut slice, .. } => {
            slice.node = here.node.clone();
            slice.pdc = here.pdc.clone();
            let hash = delta::hash(&slice);
            Message::Snapshot { slice, hash }
        }
        Message::Delta { mut delta } => {
            delta.from = here.version;
            let mut told = Told::of(here);
            told.change(&serde_json::to_string(&delta).ok()?).ok()?;
            delta.hash = told.hash();
            Message::Delta { delta }
        }
        Message::Current { .. } | Message::Removed => return None,
    })
}

/// A table file: what the strict reading takes, the lenient one takes too; what is read is written and read the same; and a fault has
/// a place inside of the text.
pub fn table_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = Source::new("blue.json", text);
    let lenient = files::read(source, Mode::Lenient);
    match files::read(source, Mode::Strict) {
        Ok(reading) => {
            assert_eq!(lenient.map(|l| l.file).ok().as_ref(), Some(&reading.file));
            let written = reading.file.to_json();
            let again = files::read(Source::new("again", &written), Mode::Strict);
            assert_eq!(again.map(|a| a.file), Ok(reading.file), "{written}");
        }
        Err(problem) => super::text::shown(&problem, text),
    }
}
