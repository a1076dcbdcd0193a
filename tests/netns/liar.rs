//! A member that has the key of a node and a program of its own: no lane, no table and no bridge of ours is on its side.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use vxmesh::clock;
use vxmesh::table::Suite;
use vxmesh::tunnel::{HEADROOM, PeerConfig, Random, Seal, TAILROOM, Tunnels};
use vxmesh::types::{Mono, PeerSlot, Psk, PublicKey, SecretKey, Wall};
use vxmesh::wire::Header;
use vxmesh::wire::compact::{Compact, Content};

use crate::harness::{Space, wait_until};

const PEER: PeerSlot = PeerSlot(0);

/// Its tunnel to one node.
pub struct Liar {
    socket: UdpSocket,
    node: SocketAddr,
    tunnels: RefCell<Tunnels>,
}

/// What nobody has to guess here.
struct Dice(u64);

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}

fn now() -> (Mono, Wall) {
    (clock::mono(), clock::wall())
}

impl Liar {
    /// Shakes hands with the node at `node`, from inside `host`, with the key of the member that it is.
    pub fn call(host: &Space, secret: SecretKey, psk: Psk, node: (PublicKey, SocketAddr)) -> Self {
        let socket = host.enter(|| UdpSocket::bind("0.0.0.0:51820").unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let (public_key, node) = node;
        let mut tunnels = Tunnels::new(secret, Box::new(Dice(now().1.as_secs())), now().0);
        let (suite, endpoint) = (Suite::Chacha, Some(node));
        let peer = PeerConfig {
            slot: PEER,
            public_key,
            psk: Some(psk),
            suite,
            endpoint,
            keepalive: None,
            changing: Vec::new(),
        };
        tunnels.set_peers(vec![peer], now().0);
        let liar = Self { socket, node, tunnels: RefCell::new(tunnels) };
        liar.tell(b"first");
        wait_until("the tunnel is up", Duration::from_secs(20), || {
            liar.listen();
            liar.tunnels.borrow().status(PEER, now().0).is_some_and(|status| status.up)
        });
        liar
    }

    /// Takes what has come, and answers where the tunnel wants it.
    fn listen(&self) {
        let mut datagram = [0; 2048];
        let mut tunnels = self.tunnels.borrow_mut();
        if let Ok((len, from)) = self.socket.recv_from(&mut datagram) {
            let (mono, wall) = now();
            tunnels.open(from, &mut datagram[..len], mono, wall);
        }
        let (mono, wall) = now();
        tunnels.handle_timeout(mono, wall);
        while let Some(transmit) = tunnels.poll_transmit() {
            self.socket.send_to(&transmit.datagram, self.node).unwrap();
        }
    }

    /// Sends any payload.
    pub fn tell(&self, payload: &[u8]) {
        let mut buf = vec![0; HEADROOM + payload.len() + TAILROOM];
        buf[HEADROOM..HEADROOM + payload.len()].copy_from_slice(payload);
        let sealed = self.tunnels.borrow_mut().seal(PEER, &mut buf, payload.len(), now().0);
        if let Seal::Ready { len, .. } = sealed {
            self.socket.send_to(&buf[..len], self.node).unwrap();
        }
    }

    /// Sends a frame into a network of the overlay on UDP port 4789.
    pub fn say(&self, vni: u64, frame: &[u8]) {
        let content = Content::Frame { udp_port: 4789.try_into().unwrap(), vni: vni.try_into().unwrap() };
        let mut payload = vec![0; 8];
        Compact::new(content, frame.len()).emit(&mut payload).unwrap();
        payload.extend(frame);
        payload.resize(payload.len().next_multiple_of(16), 0);
        self.tell(&payload);
    }
}
