//! A member that was taken: it has the keys of node b-2 and a program of its own, so no lane, table or filter of ours is on its side.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};

use vxmesh::clock;
use vxmesh::config::meshd::Config;
use vxmesh::lab::layout::{TUNNEL_UDP_PORT, VXLAN_UDP_PORT};
use vxmesh::linux::netns;
use vxmesh::meshd::disk;
use vxmesh::tunnel::{HEADROOM, PeerConfig, Random, Seal, TAILROOM, Tunnels};
use vxmesh::types::{Mono, PeerSlot, Wall};
use vxmesh::wire::Header;
use vxmesh::wire::compact::{Compact, Content};

use super::ground::{PATIENCE, sh};
use crate::chaos::Dice;
use crate::harness::wait_until;
use crate::labs::Lab;

/// The node that is taken.
const TAKEN: &str = "b-2";
/// Nodes that it has tunnels to, and the neighbour in its own PDC.
const FAR: [&str; 2] = ["a-1", "a-2"];
const NEAR: &str = "b-1";

/// Its tunnels and its socket for plain VXLAN.
pub struct Member {
    socket: UdpSocket,
    plain: UdpSocket,
    near: SocketAddr,
    tunnels: RefCell<Tunnels>,
}

/// What nobody has to guess here.
struct Numbers(Dice);

impl Random for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.roll().to_be_bytes()[0]);
    }
}

fn now() -> (Mono, Wall) {
    (clock::mono(), clock::wall())
}

impl Member {
    /// Takes the node: its daemon is gone, its packet filter too, its keys are ours.
    pub fn take(lab: &Lab) -> Self {
        lab.kill(TAKEN);
        let layout = lab.layout();
        let node = layout.node(TAKEN).unwrap();
        sh(&node.namespace, "nft flush ruleset");
        let home = lab.home.machine(TAKEN);
        let text = std::fs::read_to_string(home.join("meshd.toml")).unwrap();
        let config = Config::parse("meshd.toml", &text).unwrap();
        let secret = disk::secret(&config).unwrap();
        let slice = disk::load_slice(&home.join("state"), &TAKEN.parse().unwrap(), &node.pdc).unwrap().unwrap();
        let path = netns::path(&node.namespace);
        let open = || {
            netns::enter(&path).unwrap();
            let socket = UdpSocket::bind(("0.0.0.0", TUNNEL_UDP_PORT)).unwrap();
            (socket, UdpSocket::bind((node.admin, 0)).unwrap())
        };
        let (socket, plain) = std::thread::scope(|scope| scope.spawn(open).join().unwrap());
        socket.set_nonblocking(true).unwrap();
        plain.set_ttl(255).unwrap();
        let mut tunnels = Tunnels::new(secret, Box::new(Numbers(Dice::new(now().1.as_secs()))), now().0);
        let peer = |(slot, name): (usize, &&str)| {
            let peer = &slice.peers[&name.parse().unwrap()];
            let address = layout.node(name).unwrap().external;
            PeerConfig {
                slot: PeerSlot(slot.try_into().unwrap()),
                public_key: peer.public_key.unwrap(),
                psk: peer.psk.clone(),
                suite: peer.suite,
                endpoint: Some((address, TUNNEL_UDP_PORT).into()),
                keepalive: None,
                changing: Vec::new(),
            }
        };
        tunnels.set_peers(FAR.iter().enumerate().map(peer).collect(), now().0);
        let near = (layout.node(NEAR).unwrap().admin, VXLAN_UDP_PORT).into();
        let member = Self { socket, plain, near, tunnels: RefCell::new(tunnels) };
        member.call();
        member
    }

    /// Waits until every tunnel is up.
    fn call(&self) {
        wait_until("the tunnels are up", PATIENCE, || {
            self.tunnel(40, &[0; 60]);
            self.listen();
            let tunnels = self.tunnels.borrow();
            let up = |slot: usize| tunnels.status(PeerSlot(slot.try_into().unwrap()), now().0).is_some_and(|s| s.up);
            (0..FAR.len()).all(up)
        });
    }

    /// Takes what has come, and answers where the tunnels want it.
    pub fn listen(&self) {
        let mut datagram = [0; 2048];
        let mut tunnels = self.tunnels.borrow_mut();
        while let Ok((len, from)) = self.socket.recv_from(&mut datagram) {
            let (mono, wall) = now();
            tunnels.open(from, &mut datagram[..len], mono, wall);
        }
        let (mono, wall) = now();
        tunnels.handle_timeout(mono, wall);
        while let Some(transmit) = tunnels.poll_transmit() {
            // A full socket loses it, as any wire does.
            let _ = self.socket.send_to(&transmit.datagram, transmit.to);
        }
    }

    /// Sends a frame into a network through its tunnels to the other PDC.
    pub fn tunnel(&self, vni: u32, frame: &[u8]) {
        let udp_port = u64::from(VXLAN_UDP_PORT).try_into().unwrap();
        let content = Content::Frame { udp_port, vni: u64::from(vni).try_into().unwrap() };
        let mut payload = vec![0; 8];
        Compact::new(content, frame.len()).emit(&mut payload).unwrap();
        payload.extend(frame);
        payload.resize(payload.len().next_multiple_of(16), 0);
        for slot in 0..FAR.len() {
            let mut buf = vec![0; HEADROOM + payload.len() + TAILROOM];
            buf[HEADROOM..HEADROOM + payload.len()].copy_from_slice(&payload);
            let slot = PeerSlot(slot.try_into().unwrap());
            let sealed = self.tunnels.borrow_mut().seal(slot, &mut buf, payload.len(), now().0);
            if let Seal::Ready { len, to } = sealed {
                let _ = self.socket.send_to(&buf[..len], to);
            }
        }
    }

    /// Sends a frame to its neighbour as any VTEP does.
    pub fn vxlan(&self, vni: u32, frame: &[u8]) {
        let payload = [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), frame].concat();
        let _ = self.plain.send_to(&payload, self.near);
    }
}
