//! The guard's table of family `netdev`: what stands behind two priority tags (VLAN 0) at the interfaces by which nobody of ours sends.
//!
//! The kernel takes the first tag off before the hook at ingress, and a second one of VLAN 0 behind it (`__netif_receive_skb_core`,
//! net/core/dev.c): fragments in such a frame walk past the chain `doors`, which sees IP only. Nobody sends two of them. A frame of a real
//! VLAN comes by the hook once more, at its own interface.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::guard::TABLE;
use super::guard_path::{FIRST, PIECES};
use crate::types::IfName;

const CHAIN: &str = "tags";

/// The rule: the frame has a tag still, of VLAN 0, behind one of VLAN 0 (the first stands at 14 bytes, the second where IP would begin). Behind one
/// protocol that is compared, `nft` 1.0.6 takes the first for a field of the tag, and ends in an assertion whenever it lists rules.
const RULE: &str = "meta protocol { 8021q, 8021ad } @ll,112,16 & 0x0fff == 0 @nh,0,16 & 0x0fff == 0";

fn place(doors: &BTreeSet<IfName>) -> String {
    let names: Vec<String> = doors.iter().map(|name| format!("\"{name}\"")).collect();
    format!("type filter hook ingress devices = {{ {} }} priority {FIRST}; policy accept;", names.join(", "))
}

/// The whole table anew.
pub(super) fn text(doors: &BTreeSet<IfName>) -> String {
    let mut out = removal();
    change(None, Some(doors), &mut out);
    out
}

/// Removes the table, if it is there.
pub(super) fn removal() -> String {
    format!("add table netdev {TABLE}\ndelete table netdev {TABLE}\n")
}

/// What turns the chain at these interfaces into one at those, without touching its counter.
pub(super) fn change(before: Option<&BTreeSet<IfName>>, after: Option<&BTreeSet<IfName>>, out: &mut String) {
    if before == after {
        return;
    }
    if before.is_some() {
        let _ = writeln!(out, "flush chain netdev {TABLE} {CHAIN}\ndelete chain netdev {TABLE} {CHAIN}");
    }
    let Some(doors) = after else { return };
    // Neither is an error where it is there already.
    let _ = writeln!(out, "add table netdev {TABLE}\nadd counter netdev {TABLE} {PIECES}");
    let _ = writeln!(out, "add chain netdev {TABLE} {CHAIN} {{ {} }}", place(doors));
    let _ = writeln!(out, "add rule netdev {TABLE} {CHAIN} {RULE} counter name {PIECES} drop");
}
