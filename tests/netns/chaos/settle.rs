//! What must be true afterwards. The difference of desired and observed is computed here, from the slice on the node's disk and the
//! node's kernel, without asking the daemon what it thinks of itself.

use std::fs;
use std::time::Duration;

use vxmesh::api::admin::MeshStatus;
use vxmesh::api::local::Status;
use vxmesh::clock;
use vxmesh::config::meshd::Config;
use vxmesh::lab::{daemons, shell};
use vxmesh::linux::Kernel;
use vxmesh::meshd::disk;
use vxmesh::meshd::held::Held;
use vxmesh::meshd::look::{Before, look};
use vxmesh::node::{paths, reconcile, whole};

use super::attack::inside;
use super::plan::NODES;
use super::world::World;

/// How long the mesh may take to be whole again after the last incident.
const SETTLE: Duration = Duration::from_secs(90);

impl World {
    /// Waits until nothing is left to do anywhere; how long that took and what was done last, or what is still missing.
    pub(super) fn settle(&mut self) -> Result<(Duration, Option<String>), String> {
        let mut last = None;
        let start = clock::mono();
        let since = Self::now();
        loop {
            self.plug_all();
            let missing = self.missing(since);
            let took = clock::mono().since(start);
            match missing {
                None => return Ok((took, last)),
                Some(what) if took > SETTLE => return Err(format!("not within {SETTLE:?}: {what}")),
                Some(what) => {
                    last = Some(format!("{took:.1?}: {what}"));
                    std::thread::sleep(Duration::from_millis(300));
                }
            }
        }
    }

    fn missing(&self, since: u64) -> Option<String> {
        let mesh = match self.meshctl(&["get", "node", "-o", "json"], "").and_then(|_| self.mesh()) {
            Ok(mesh) => mesh,
            Err(why) => return Some(why),
        };
        if mesh.nodes.len() != NODES {
            return Some(format!("management knows {} nodes", mesh.nodes.len()));
        }
        if let Some(line) = mesh.nodes.iter().find(|line| !line.in_sync || !line.connected) {
            return Some(format!("{}: in sync {}, connected {}", line.node, line.in_sync, line.connected));
        }
        (0..NODES).find_map(|node| self.lacks(node)).or_else(|| self.unheard(since))
    }

    /// A whole mesh is degraded for `meshctl` where any finding is left, so its exit code is not looked at.
    fn mesh(&self) -> Result<MeshStatus, String> {
        let mut command = shell::command(Some(&self.layout.management), crate::mesh::MESHCTL);
        command.args(["--management", &daemons::management_address(), "--credential"]);
        command.arg(self.lab.home.credential()).args(["status", "-o", "json"]);
        let output = command.output().map_err(|error| error.to_string())?;
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }

    fn lacks(&self, node: usize) -> Option<String> {
        let name = self.name(node);
        let status = match daemons::status(&self.lab.home, &self.layout.nodes[node]) {
            Ok(status) => status,
            Err(problem) => return Some(format!("{name}: {}", problem.what)),
        };
        let said = |what: String| Some(format!("{name}: {what}"));
        if let Some(found) = status.problems.first() {
            return said(format!("{} {}", found.code, found.what));
        }
        if let Some(peer) = status.peers.iter().find(|peer| peer.tunnel.as_ref().is_some_and(|tunnel| !tunnel.up)) {
            return said(format!("no tunnel to {}", peer.node));
        }
        match self.ops(node, &status) {
            Ok(ops) if ops.is_empty() => None,
            Ok(ops) => said(format!("desired is not observed: {}", ops.join("; "))),
            Err(why) => said(why),
        }
    }

    /// Desired minus observed on a node, as text; nothing where they agree.
    pub(super) fn ops(&self, node: usize, status: &Status) -> Result<Vec<String>, String> {
        let home = self.lab.home.machine(self.name(node));
        let file = home.join("meshd.toml");
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let config = Config::parse(&file.display().to_string(), &text).map_err(|problem| problem.what)?;
        let slice = disk::load_slice(&home.join("state"), &status.node, &status.pdc).map_err(|e| e.to_string())?;
        let slice = slice.ok_or("no slice on disk")?;
        if slice.version != status.version {
            return Err(format!("slice {} on disk, {} in force", slice.version, status.version));
        }
        inside(self.space(node), || {
            let own = slice.pdcs.get(&slice.pdc).map(|pdc| pdc.underlay.clone()).unwrap_or_default();
            let host = look(&config, &Before { held: Held::read(&config.paths.state), inside: own });
            if let Some(found) = host.findings.first() {
                return Err(found.what.clone());
            }
            let slice = host.local.resolved(&std::sync::Arc::new(slice));
            let verdicts = paths::decide_all(&slice, host.local.own());
            let plan = whole::planned(&slice, &verdicts, &verdicts, &host.local).plan;
            let observed = Kernel::new().and_then(|mut kernel| kernel.observe()).map_err(|e| e.to_string())?;
            let ops = reconcile::diff(&plan.desired, &observed);
            let text = ops.iter().map(ToString::to_string);
            Ok(text.filter_map(|op| self.really_missing(self.space(node), op)).collect())
        })
    }

    /// Who has not loaded a packet filter itself does not know what is in it, and would load it again: such a step counts if `nft`
    /// lists something else on the node than where the same text was loaded for comparison.
    fn really_missing(&self, namespace: &str, op: String) -> Option<String> {
        let Some(filter) = op.strip_prefix("nft -f - <<'EOF'\n").and_then(|rest| rest.strip_suffix("EOF")) else {
            return Some(op);
        };
        let mut command = shell::command(Some(&self.mirror), "nft");
        command.args(["-f", "-"]);
        shell::run_with_input(command, filter).unwrap();
        let tables = filter.lines().filter_map(|line| line.strip_prefix("table ")?.strip_suffix(" {"));
        let other = tables.map(|table| (table, listed(namespace, table), listed(&self.mirror, table)));
        let other = other.into_iter().find(|(_, is, should)| is != should);
        other.map(|(table, is, should)| format!("packet filter {table} is\n{is}\nand should be\n{should}"))
    }

    /// A pair of guests of which one has heard nothing of the other that was sent since then.
    fn unheard(&self, since: u64) -> Option<String> {
        self.guests.iter().find_map(|guest| {
            let from = (0..NODES).find(|from| *from != guest.node && !guest.has_heard(*from, since))?;
            Some(format!(
                "{:?}: guest of {} has not heard that of {}",
                guest.net,
                self.name(guest.node),
                self.name(from)
            ))
        })
    }
}

/// A packet filter without its counts and what it has seen; its parts, and the elements of sets, in order.
fn listed(namespace: &str, table: &str) -> String {
    let mut command = shell::command(Some(namespace), "nft");
    command.args(["-s", "list", "table"]).args(table.split(' '));
    let text = shell::run(command).unwrap_or_else(|error| error.to_string());
    let (mut sorted, mut rest) = (String::new(), text.as_str());
    while let Some((before, after)) = rest.split_once("elements = {") {
        let (inside, next) = after.split_once('}').unwrap();
        sorted.push_str(before);
        // What packets have put there is none of the plan's.
        if before.rsplit('{').next().is_some_and(|set| !set.contains("dynamic")) {
            let mut elements: Vec<&str> = inside.split(',').map(str::trim).collect();
            elements.sort_unstable();
            sorted.push_str(&elements.join(", "));
        }
        rest = next;
    }
    sorted.push_str(rest);
    // Sets and chains that came later are listed later, which is no difference.
    let mut blocks: Vec<String> = vec![String::new()];
    // Without what closes the table, which would go with whichever part is the last.
    let whole = sorted.trim_end().strip_suffix('}').unwrap_or(&sorted);
    for line in whole.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.ends_with('{') {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks.sort_unstable();
    blocks.concat()
}
