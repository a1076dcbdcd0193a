//! Members whose own `[mtu]` differ: where neither a network nor its overlay says how its number is found, each node goes by its own, and
//! then guests of one network have several numbers.

use std::collections::BTreeMap;

use super::index::Index;
use crate::api::list::named;
use crate::api::local::Finding;
use crate::api::objects::Network;
use crate::policy::mtu::{MtuPolicy, Oversize};
use crate::types::NodeId;

/// Nodes of one kind that are named.
const NAMED: usize = 3;

/// One finding a network whose members go by different policies of their own. `said` is what the nodes that are there say.
pub fn findings(index: &Index, said: &BTreeMap<NodeId, MtuPolicy>) -> Vec<Finding> {
    let left = index.state.networks.values().filter(|network| index.mtu_policy(network).is_none());
    left.filter_map(|network| differ(index, network, said)).collect()
}

fn differ(index: &Index, network: &Network, said: &BTreeMap<NodeId, MtuPolicy>) -> Option<Finding> {
    let name = &network.metadata.name;
    let mut kinds: BTreeMap<String, Vec<&NodeId>> = BTreeMap::new();
    for node in index.hosts.get(name)? {
        if let Some(policy) = said.get(node) {
            kinds.entry(words(*policy)).or_default().push(node);
        }
    }
    if kinds.len() < 2 {
        return None;
    }
    let kind = |(words, nodes): (String, Vec<&NodeId>)| format!("{words} on {}", named(nodes, NAMED));
    let kinds: Vec<String> = kinds.into_iter().map(kind).collect();
    let what = format!(
        "network {name}: its MTU is left to the nodes, and their [mtu] differ: {}; its guests have several numbers",
        kinds.join("; ")
    );
    let help = format!("say it once: meshctl network set {name} --mtu auto (or a number); or make meshd.toml alike");
    Some(Finding::new("M0514", what, help))
}

fn words(policy: MtuPolicy) -> String {
    let number = policy.fixed.map_or_else(|| "auto".to_owned(), |mtu| mtu.to_string());
    let tag = if policy.vlan { " with room for a tag" } else { "" };
    let large = match policy.oversize {
        Oversize::Fragment => "",
        Oversize::TooBig => ", larger frames answered",
        Oversize::Drop => ", larger frames dropped",
    };
    format!("{number}{tag}{large}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::objects::Any;
    use crate::mgmt::fixture;
    use crate::types::Mtu;

    fn policy(fixed: u64, vlan: bool, oversize: Oversize) -> MtuPolicy {
        MtuPolicy { fixed: Mtu::try_from(fixed).ok(), vlan, oversize }
    }

    #[test]
    fn members_whose_own_policies_differ_are_named_where_nothing_else_decides() {
        let auto = policy(0, false, Oversize::Fragment);
        let alike: BTreeMap<NodeId, MtuPolicy> =
            ["a-1", "a-2", "b-1", "b-2"].map(|node| (node.parse().unwrap(), auto)).into();
        let state = fixture::mesh();
        let found = |said: &BTreeMap<NodeId, MtuPolicy>| findings(&Index::new(Arc::new(state.clone())), said);
        assert_eq!(found(&alike), []);
        for (other, words) in [
            (policy(1290, false, Oversize::Fragment), "1290 on a-1; auto on "),
            (policy(0, true, Oversize::Fragment), "auto with room for a tag on a-1"),
            (policy(0, false, Oversize::TooBig), "auto, larger frames answered on a-1"),
            (policy(0, false, Oversize::Drop), "auto, larger frames dropped on a-1"),
        ] {
            let mut said = alike.clone();
            said.insert("a-1".parse().unwrap(), other);
            let found = found(&said);
            assert!(found.len() == 1 && found[0].code == "M0514" && found[0].what.contains(words), "{found:?}");
            // Who is not there says nothing, and whoever speaks for the network ends it.
            said.retain(|node, _| node.as_str() == "a-1");
            assert_eq!(findings(&Index::new(Arc::new(state.clone())), &said), []);
        }
        let mut state = state.clone();
        let mut blue = fixture::network("blue", "default", 10, "192.168.10.0/24");
        blue.spec.mtu = Some(auto);
        state.put(Any::Network(blue));
        let mut said = alike;
        said.insert("a-1".parse().unwrap(), policy(1290, false, Oversize::Fragment));
        assert_eq!(findings(&Index::new(Arc::new(state)), &said), []);
    }
}
