//! DHCP judged by the clients that people run: {udhcpc, dhclient, dhcpcd, systemd-networkd} x {every dress of an answer} x {the same node,
//! the same PDC, across}. A guest without the role `dhcp` convinces none of them; one with it serves all; and without the packet filter
//! the first would have convinced them.

use std::collections::BTreeMap;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::lab::shell;
use vxmesh::types::Mac;

use self::clients::{Client, Program};
use self::rogue::{Dress, Family, Seat, Server};
use crate::frames::Plug;
use crate::harness::{Space, can_run, wait_until};
use crate::labs::Lab;

mod clients;
mod rogue;

const PATIENCE: Duration = Duration::from_secs(90);
const BRIDGE: &str = "vb60.12b5";
const ROGUE: Seat = Seat(1);
const SERVER: Seat = Seat(2);
/// Nodes of the clients: that of the rogue, its neighbour, and one in the other PDC.
const NODES: [&str; 3] = ["a-1", "a-2", "b-1"];
const ROGUE_SAYS: [u8; 8] = *b"vxrogue!";
const SERVER_SAYS: [u8; 8] = *b"vxserver";

struct Ground {
    clients: Vec<Client>,
    rogue: Plug,
    server: Plug,
    _spaces: [Space; 2],
    lab: Lab,
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: vxmesh/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

fn port(node: &str, seat: Seat, addresses: &str, role: &str) -> String {
    let (name, mac) = (interface(seat), seat.mac());
    let spec =
        format!("network: lease, node: {node}, mac: \"{mac}\", ips: [{addresses}], interface: {name}, role: {role}");
    document("Port", &name, &spec)
}

fn interface(seat: Seat) -> String {
    format!("d{}", seat.0)
}

/// A guest with its cable, down.
fn plug(lab: &Lab, node: &str, seat: Seat) -> Space {
    let (layout, mtu) = (lab.layout(), lab.home.need().unwrap().guest_mtu.unwrap());
    let node = &layout.node(node).unwrap().namespace;
    let there = || shell::ip(&["-n", node, "link", "show", "dev", BRIDGE]).is_ok();
    wait_until("the bridge is there", PATIENCE, there);
    let (space, name, mac) = (Space::new("dhcp"), interface(seat), seat.mac());
    let lines = [
        format!("link add name {name} type veth peer name eth0 address {mac} netns {}", space.name()),
        format!("link set dev {name} mtu {mtu} master {BRIDGE} up"),
    ];
    shell::ip_batch(node, &lines).unwrap();
    space.sh(&format!("ip link set dev eth0 mtu {mtu}"));
    space
}

impl Ground {
    fn new() -> Self {
        let programs: Vec<Program> = Program::ALL.into_iter().filter(|program| program.is_there()).collect();
        let seats: Vec<(Program, &str, Seat)> = NODES
            .iter()
            .flat_map(|node| programs.iter().map(move |program| (*program, *node)))
            .zip(10..)
            .map(|((program, node), last)| (program, node, Seat(last)))
            .collect();
        let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2", "--guests", "1"]);
        let network = "overlay: default, vni: 60, cidr: [192.168.60.0/24, \"fd60::/64\"], flood: replicate";
        let mut text = document("Network", "lease", network);
        let own = |seat: Seat| format!("{}, \"{}\"", seat.four(), seat.six());
        text += &port("a-1", ROGUE, &own(ROGUE), "guest");
        text += &port("a-2", SERVER, &own(SERVER), "dhcp");
        for (_, node, seat) in &seats {
            // What the server will give it.
            text += &port(node, *seat, &own(Seat(seat.0 + 100)), "guest");
        }
        lab.admin_with(&["apply", "-f", "-"], &text);
        let clients = seats.iter().map(|(program, node, seat)| {
            let space = plug(&lab, node, *seat);
            Client::new(*program, node, *seat, space)
        });
        let clients = clients.collect();
        let spaces = [("a-1", ROGUE), ("a-2", SERVER)].map(|(node, seat)| {
            let space = plug(&lab, node, seat);
            space.sh("sysctl -q -w net.ipv6.conf.eth0.disable_ipv6=1; ip link set dev eth0 up");
            space
        });
        let [rogue, server] = spaces.each_ref().map(|space| Plug::new(space, "eth0"));
        Self { clients, rogue, server, _spaces: spaces, lab }
    }

    fn rogue(&self) -> Server<'_> {
        Server { plug: &self.rogue, seat: ROGUE, offset: 150, mark: ROGUE_SAYS }
    }

    fn server(&self) -> Server<'_> {
        Server { plug: &self.server, seat: SERVER, offset: 100, mark: SERVER_SAYS }
    }

    /// Every client with what it has of this server: leases and frames.
    fn believers(&self, of: &Server<'_>) -> Vec<String> {
        let believes = |client: &Client| {
            let offers = of.offers(client.seat.mac());
            let taken = client.leased().into_iter().filter(|lease| offers.contains(lease)).collect::<Vec<_>>();
            let frames = client.count(&of.mark);
            let heard = client.socket_heard();
            (!taken.is_empty() || frames > 0 || heard).then(|| {
                format!("{:?} on {}: leases {taken:?}, {frames} frames, socket {heard}", client.program, client.node)
            })
        };
        self.clients.iter().filter_map(believes).collect()
    }
}

fn every(client: &Client) -> impl Iterator<Item = (Mac, Family)> {
    client.program.families().iter().map(|family| (client.seat.mac(), *family))
}

#[test]
fn a_guest_without_the_role_convinces_no_dhcp_client_and_one_with_it_serves_all() {
    if !can_run() {
        return;
    }
    let ground = Ground::new();
    let rogue = ground.rogue();
    ground.clients.iter().for_each(Client::restart);
    answer_twice(&ground, &rogue);
    let nobody: [String; 0] = [];
    assert_eq!(ground.believers(&rogue), nobody, "of the rogue");
    // Now there is one that may, and the rogue goes on.
    serve_all(&ground, &rogue, &ground.server());
    let of_rogue = |client: &&Client| client.count(&rogue.mark) > 0;
    assert_eq!(ground.clients.iter().filter(of_rogue).count(), 0);
    without_filter(&ground);
}

/// Until every client has asked twice and got every answer twice, had it come.
fn answer_twice(ground: &Ground, rogue: &Server<'_>) {
    let mut asked: BTreeMap<(Mac, Family), usize> = BTreeMap::new();
    let silent = |asked: &BTreeMap<(Mac, Family), usize>| {
        ground.clients.iter().flat_map(every).find(|who| asked.get(who).is_none_or(|count| *count < 2))
    };
    let start = clock::mono();
    while let Some(who) = silent(&asked) {
        assert!(clock::mono().since(start) < PATIENCE, "{who:?} does not ask; believers {:?}", ground.believers(rogue));
        rogue.serve(&Dress::ALL).into_iter().for_each(|who| *asked.entry(who).or_default() += 1);
        std::thread::sleep(Duration::from_millis(5));
    }
    // What has not come before this never does.
    for client in &ground.clients {
        let text = [&b"vxsentry"[..], &[client.seat.0]].concat();
        wait_until("what is said behind it comes", PATIENCE, || {
            rogue.tell(client.seat, &text);
            std::thread::sleep(Duration::from_millis(5));
            client.count(&text) > 0
        });
    }
}

/// Until every client has what the server offers.
fn serve_all(ground: &Ground, rogue: &Server<'_>, server: &Server<'_>) {
    let has = |client: &Client, family: Family| {
        client.leased().contains(&server.offers(client.seat.mac())[usize::from(family == Family::Six)])
    };
    let lacks = |client: &&Client| client.program.families().iter().any(|family| !has(client, *family));
    let without = || {
        let without = ground.clients.iter().filter(lacks);
        without.map(|client| format!("{:?} on {}", client.program, client.node)).collect::<Vec<_>>()
    };
    let start = clock::mono();
    while !without().is_empty() {
        assert!(clock::mono().since(start) < PATIENCE, "without a lease of the server: {:?}", without());
        for _ in 0..20 {
            rogue.serve(&Dress::ALL);
            server.serve(&[Dress::Plain]);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Each dress convinces those whom it can convince, once nothing of ours is in between.
fn without_filter(ground: &Ground) {
    ground.lab.kill("a-1");
    let space = ground.lab.layout().node("a-1").unwrap().namespace.clone();
    let mut flush = shell::command(Some(&space), "nft");
    flush.args(["flush", "ruleset"]);
    shell::run(flush).unwrap();
    let rogue = ground.rogue();
    let near: Vec<&Client> = ground.clients.iter().filter(|client| client.node == "a-1").collect();
    let far = ground.clients.iter().filter(|client| client.node != "a-1");
    far.for_each(Client::end);
    for dress in Dress::ALL {
        near.iter().for_each(|client| client.restart());
        rogue.plug.take();
        let (start, mut sockets) = (clock::mono(), vec![false; near.len()]);
        loop {
            rogue.serve(&[dress]);
            for (client, socket) in near.iter().zip(&mut sockets) {
                *socket |= client.socket_heard();
            }
            let missing = missing(&rogue, dress, &near, &sockets);
            if missing.is_empty() {
                break;
            }
            assert!(clock::mono().since(start) < PATIENCE, "{dress:?} does not reach {missing:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{dress:?}: all that it can convince after {:.1?}", clock::mono().since(start));
    }
}

/// Whom this dress should have convinced and has not.
fn missing(rogue: &Server<'_>, dress: Dress, near: &[&Client], sockets: &[bool]) -> Vec<String> {
    let mut missing = Vec::new();
    for (client, socket) in near.iter().zip(sockets) {
        let (offers, leased) = (rogue.offers(client.seat.mac()), client.leased());
        for family in client.program.families() {
            let offer = &offers[usize::from(*family == Family::Six)];
            if dress.convinces(*family) && !leased.contains(offer) {
                missing.push(format!("{:?} {family:?}", client.program));
            }
        }
        // A client that has its answer stops asking, and the kernel drops what it knows to be for another address.
        if client.program == Program::Udhcpc && dress.reaches_sockets() && !socket {
            missing.push("a socket".to_owned());
        }
        if client.count(&rogue.mark) == 0 {
            missing.push(format!("the interface of {:?}", client.program));
        }
    }
    missing
}
