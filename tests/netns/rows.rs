//! How long it takes from a change on the management node to ten thousand rows in the kernel of another node.

use std::fmt::Write as _;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::lab::shell;

use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

const ROWS: u32 = 10_000;

/// Ten thousand ports of network `big` on a-2, and one on a-1, so that a-1 hosts it.
fn manifest() -> String {
    let mut text = String::from(
        "apiVersion: vxmesh/v1\nkind: Network\nmetadata: {name: big}\n\
         spec: {overlay: default, vni: 20, cidr: [10.20.0.0/16]}\n",
    );
    for i in 0..=ROWS {
        let (node, high, low) = (if i == 0 { "a-1" } else { "a-2" }, i / 250, i % 250 + 1);
        write!(
            text,
            "---\napiVersion: vxmesh/v1\nkind: Port\nmetadata: {{name: big-{i}}}\nspec: {{network: big, node: {node}, \
             mac: \"02:20:00:00:{high:02x}:{low:02x}\", ips: [10.20.{high}.{low}]}}\n"
        )
        .unwrap();
    }
    text
}

/// Lines that `bridge` prints of a device in a namespace, that hold `word`.
fn count(namespace: &str, words: &str, word: &str) -> usize {
    let mut command = shell::command(Some(namespace), "sh");
    command.args(["-c", &format!("{words} 2>/dev/null | grep -c '{word}' || true")]);
    shell::run(command).unwrap().trim().parse().unwrap()
}

#[test]
fn ten_thousand_rows_are_in_the_kernel_two_seconds_after_the_change() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    let layout = lab.layout();
    let (namespace, vtep) = (&layout.nodes[0].namespace, layout.nodes[1].admin);
    let rows = usize::try_from(ROWS).unwrap();
    let text = manifest();
    let asked = clock::mono();
    lab.admin_with(&["apply", "-f", "-"], &text);
    let changed = clock::mono();
    wait_until("all rows are in the kernel", Duration::from_secs(60), || {
        count(namespace, "bridge fdb show dev vv20.12b5", &format!("02:20:.*dst {vtep} .*self")) >= rows
            && count(namespace, "bridge fdb show dev vv20.12b5", "02:20:.* master vb20.12b5") >= rows
            && count(namespace, "ip neighbour show dev vb20.12b5", "lladdr 02:20:") >= rows
    });
    let took = clock::mono().since(changed);
    println!("apply answered after {:?}; {ROWS} rows in the kernel {took:?} later", changed.since(asked));
    // The promise is two seconds for what is shipped; a build for tests is many times slower.
    let limit = if cfg!(debug_assertions) { 20 } else { 2 };
    assert!(took < Duration::from_secs(limit), "{took:?}");
}
