//! How each act is done: with the commands that a person, another program or a machine's fate would use.

use std::fs;
use std::time::Duration;

use vxmesh::lab::{daemons, shell};

use super::attack;
use super::lies;
use super::plan::{Act, INTERNET, Made, NODES, NODES_OF_PDC, Net, Side};
use super::world::{World, device, document, network};
use crate::harness::wait_until;

/// Tries of what a lossy wire may spoil.
const TRIES: usize = 5;

/// What came of an act: a word for the log, or why it was not done.
type Done = Result<String, String>;

impl World {
    pub(super) fn act(&mut self, act: Act) -> Done {
        match act {
            Act::Kill { node } => self.end(self.name(node), libc::SIGKILL),
            Act::Stop { node } => self.end(self.name(node), libc::SIGTERM),
            Act::KillManagement => self.end("mgmt", libc::SIGKILL),
            Act::Start { node } => {
                self.start(node);
                done()
            }
            Act::StartManagement => {
                self.start_management();
                done()
            }
            Act::Cable { .. } | Act::Interface { .. } | Act::Wire { .. } | Act::Loss { .. } => self.link(act),
            Act::Mtu { node, bytes } => self.ip(self.space(node), format!("link set ext0 mtu {bytes}")),
            Act::Narrow { node, bytes } => {
                self.ip(&self.layout.net, format!("link set {}.ext mtu {bytes}", self.name(node)))
            }
            Act::Flush { node } => self.run(self.space(node), &["nft", "flush", "ruleset"]),
            Act::Delete { node, made, net } => self.delete(node, made, net),
            Act::Unplug { node, made, net } => {
                self.ip(self.space(node), format!("link set {} nomaster", device(made, net)))
            }
            Act::Forget { node, made, net } => {
                self.run(self.space(node), &["bridge", "fdb", "flush", "dev", &device(made, net), "master"])
            }
            Act::Detour { node, to, on } => {
                let verb = if on { "replace" } else { "del" };
                self.ip(self.space(node), format!("route {verb} {}/32 dev ext0", self.layout.nodes[to].admin))
            }
            Act::Sleep { node, seconds } => {
                self.shift(self.name(node), Some(0), seconds);
                done()
            }
            Act::Clock { node, seconds } => {
                self.shift(node.map_or("mgmt", |node| self.name(node)), Some(seconds), 0);
                done()
            }
            Act::Attack { kind, wire, target, seed } => {
                let heard = self.watchers[wire].captured();
                let count = self.attackers[wire].strike(kind, target, seed, &self.layout, &heard);
                Ok(format!("{count} sent"))
            }
            Act::Spoof { node, net, seed } => {
                let guest = self.guests.iter().find(|guest| guest.node == node && guest.net == net).unwrap();
                Ok(format!("{} sent", attack::spoof(&guest.namespace, node, seed)))
            }
            Act::Lie { node, net, seed } => self.lie(node, net, seed),
            Act::Network { .. }
            | Act::Port { .. }
            | Act::Move { .. }
            | Act::Member { .. }
            | Act::Intra { .. }
            | Act::Policy { .. }
            | Act::Flood { .. }
            | Act::GuestMtu { .. }
            | Act::Token { .. } => self.change(act),
        }
    }

    /// A guest says what none may say, where every node has its filter: one that has just lost it is known to be open.
    fn lie(&self, node: usize, net: Net, seed: u64) -> Done {
        if let Some(open) = (0..NODES).map(|node| self.space(node)).find(|space| !lies::filtered(space)) {
            return Err(format!("{open} has no filter now"));
        }
        let guest = self.guests.iter().find(|guest| guest.node == node && guest.net == net).unwrap();
        let sent = attack::send(&guest.namespace, &lies::frames(node, seed, &self.layout));
        let heard: Vec<&str> = self.services.iter().filter(|service| service.heard()).map(|s| s.namespace()).collect();
        let told = if heard.is_empty() { String::new() } else { format!(", HEARD by {}", heard.join(", ")) };
        Ok(format!("{sent} sent{told}"))
    }

    /// What is asked of the management server.
    fn change(&mut self, act: Act) -> Done {
        match act {
            Act::Network { number, on, present } => self.network(number, on, present),
            Act::Port { node, net, present: true } => {
                self.unplugged(node, net);
                self.apply(&self.port(node, net, node))
            }
            Act::Port { node, net, present: false } => self.admin(&["port", "delete", &self.port_name(node, net)]),
            Act::Move { node, net, to } => {
                let said = self.apply(&self.port(node, net, to))?;
                self.carry(node, net, to).map(|()| said)
            }
            Act::Member { node, present: true } => self.join(node),
            Act::Member { node, present: false } => {
                for net in [Net::Blue, Net::Red] {
                    self.admin(&["port", "delete", &self.port_name(node, net)])?;
                }
                self.admin(&["node", "delete", self.name(node)])
            }
            Act::Intra { pdc, encrypted } => {
                let intra = if encrypted { "encrypted" } else { "plain" };
                self.admin(&["pdc", "set", self.layout.pdcs[pdc].name.as_str(), "--intra", intra])
            }
            Act::Policy { number, between, forbid, present } => {
                let name = format!("chaos-{number}");
                if !present {
                    return self.admin(&["policy", "delete", &name]);
                }
                let between = between.map(|node| format!("node:{}", self.name(node))).join(",");
                let action = if forbid { "forbid" } else { "encrypt" };
                self.admin(&["policy", "create", &name, "--between", &between, "--action", action])
            }
            Act::Flood { net, replicate } => {
                let flood = if replicate { "replicate" } else { "suppress" };
                self.admin(&["network", "set", network(net).0, "--flood", flood])
            }
            Act::GuestMtu { net, bytes } => {
                let mtu = bytes.map_or_else(|| "inherit".to_owned(), |bytes| bytes.to_string());
                self.admin(&["network", "set", network(net).0, "--mtu", &mtu])
            }
            Act::Token { pdc } => self
                .admin(&["token", "create", "--pdc", self.layout.pdcs[pdc].name.as_str()])
                .map(drop)
                .and_then(|()| done()),
            _ => unreachable!("{act} is nothing that management is asked"),
        }
    }

    fn link(&self, act: Act) -> Done {
        let state = |up| if up { "up" } else { "down" };
        match act {
            Act::Cable { node, side, up } => {
                let end = if side == Side::Admin { "adm" } else { "ext" };
                self.ip(&self.layout.net, format!("link set {}.{end} {}", self.name(node), state(up)))
            }
            Act::Interface { node, side, up } => {
                let name = if side == Side::Admin { "admin0" } else { "ext0" };
                self.ip(self.space(node), format!("link set {name} {}", state(up)))
            }
            Act::Wire { wire, up } => {
                self.ip(&self.layout.net, format!("link set {} {}", self.layout.wires[wire].device, state(up)))
            }
            Act::Loss { wire, percent } => {
                let end = if wire == INTERNET { "ext" } else { "adm" };
                let plugs = self.layout.nodes.iter().map(|node| format!("{}.{end}", node.name)).collect::<Vec<_>>();
                let plugs = if wire == INTERNET { &plugs[..] } else { &plugs[wire * NODES_OF_PDC..][..NODES_OF_PDC] };
                let text = if percent == 0 {
                    format!("delete table bridge loss{wire}")
                } else {
                    format!(
                        "add table bridge loss{wire}; \
                         add chain bridge loss{wire} c {{ type filter hook forward priority 0; }}; \
                         add rule bridge loss{wire} c iifname {{ {} }} numgen random mod 100 < {percent} drop",
                        plugs.join(", ")
                    )
                };
                self.run(&self.layout.net, &["nft", &text])
            }
            _ => unreachable!("{act} is no link"),
        }
    }

    fn delete(&mut self, node: usize, made: Made, net: Net) -> Done {
        let gone = self.ip(self.space(node), format!("link delete {}", device(made, net)))?;
        if made == Made::Bridge {
            self.unplugged(node, net);
        }
        Ok(gone)
    }

    fn end(&self, machine: &str, signal: i32) -> Done {
        let process = self.lab.home.running(machine).ok_or("it does not run")?;
        process.signal(signal).map_err(|error| error.to_string())?;
        // Its successor must not find it still there.
        wait_until("the daemon is gone", Duration::from_secs(10), || !process.alive());
        done()
    }

    fn network(&self, number: u16, on: [usize; 2], present: bool) -> Done {
        let name = format!("extra-{number}");
        let port = |end: usize| format!("extra-{number}-{end}");
        if !present {
            for end in 0..2 {
                self.admin(&["port", "delete", &port(end)])?;
            }
            return self.admin(&["network", "delete", &name]);
        }
        let spec = format!("{{overlay: default, vni: {}, cidr: [192.0.2.0/24]}}", 1000 + u32::from(number));
        let mut text = document("Network", &name, &spec);
        for (end, node) in on.into_iter().enumerate() {
            let [high, low] = number.to_be_bytes();
            let spec = format!(
                "{{network: {name}, node: {}, mac: \"02:77:00:{high:02x}:{low:02x}:{end:02x}\", ips: [192.0.2.{}]}}",
                self.name(node),
                end + 1
            );
            text.push_str(&document("Port", &port(end), &spec));
        }
        self.apply(&text)
    }

    /// As a machine that was installed anew: nothing on its disk, new keys, a new token. What its kernel has, it still has.
    fn join(&mut self, node: usize) -> Done {
        for net in [Net::Blue, Net::Red] {
            self.unplugged(node, net);
        }
        let shape = &self.layout.nodes[node];
        if self.lab.home.running(&shape.name).is_some() {
            self.end(&shape.name, libc::SIGTERM)?;
        }
        let mut text = document("Node", &shape.name, &format!("{{pdc: {}}}", shape.pdc));
        for net in [Net::Blue, Net::Red] {
            text.push_str(&self.port(node, net, node));
        }
        self.apply(&text)?;
        let _ = fs::remove_dir_all(self.lab.home.machine(&shape.name));
        let token = daemons::token(&self.lab.home, &self.layout, shape.pdc.as_str(), 1).map_err(|e| e.to_string())?;
        let mut said = Ok(());
        for _ in 0..TRIES {
            said = daemons::join(&self.lab.home, shape, &token).map_err(|error| error.to_string());
            if said.is_ok() {
                break;
            }
        }
        said?;
        self.start(node);
        done()
    }

    fn port_name(&self, node: usize, net: Net) -> String {
        format!("{}-{}", self.name(node), network(net).2)
    }

    fn admin(&self, words: &[&str]) -> Done {
        self.meshctl(words, "").map(|_| "done".to_owned())
    }

    fn apply(&self, text: &str) -> Done {
        self.meshctl(&["apply", "-f", "-"], text).map(|_| "done".to_owned())
    }

    fn ip(&self, namespace: &str, line: String) -> Done {
        shell::ip_batch(namespace, &[line]).map_err(|error| error.to_string()).and_then(|()| done())
    }

    fn run(&self, namespace: &str, words: &[&str]) -> Done {
        let mut command = shell::command(Some(namespace), words[0]);
        command.args(&words[1..]);
        shell::run(command).map_err(|error| error.to_string()).and_then(|_| done())
    }

    /// The interfaces of the last wire: where nobody may read anything.
    pub(super) fn internet(&self) -> &super::wires::Watcher {
        &self.watchers[INTERNET]
    }
}

fn done() -> Done {
    Ok("done".to_owned())
}
