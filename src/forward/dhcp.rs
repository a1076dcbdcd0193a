//! What a DHCP client or relay would take for the word of a server. Clients read their interface below IP, before checksums, lifetimes
//! and addresses are looked at, and none looks at the UDP port that an answer comes from: the ports and the kind of message decide.

use super::drops::DropReason;
use crate::wire::Header;
use crate::wire::udp::Udp;

/// Ports and answers of a version of DHCP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dhcp {
    /// UDP port of servers and relays.
    pub(super) server: u16,
    /// UDP port of clients.
    pub(super) client: u16,
    /// First byte of messages that a relay hands on to clients. It hears them on the port of servers.
    answers: &'static [u8],
}

/// RFC 2131 section 4.1: "DHCP messages from a client to a server are sent to the 'DHCP server' port (67), and ... from a server to a client
/// ... to the 'DHCP client' port (68)"; section 2: `BOOTREPLY` is 2.
pub(super) const V4: Dhcp = Dhcp { server: 67, client: 68, answers: &[2] };
/// RFC 9915 sections 7.2 and 7.3: ports 547 and 546; advertise, reply, reconfigure and relay-reply.
pub(super) const V6: Dhcp = Dhcp { server: 547, client: 546, answers: &[2, 7, 10, 13] };

impl Dhcp {
    /// May one that is no server send this? `datagram` is what there is of a UDP datagram from its header on; `more`: the rest of it is in
    /// other fragments.
    pub(super) fn check(&self, datagram: &[u8], more: bool) -> Result<(), DropReason> {
        let udp = Udp::parse(datagram).map_err(|_| DropReason::FrameMalformed)?;
        let to_server = udp.destination == self.server;
        // What it is may come later, and a client's own messages fit one packet.
        let answer = more || datagram.get(Udp::LEN).is_some_and(|kind| self.answers.contains(kind));
        if udp.source == self.server || udp.destination == self.client || (to_server && answer) {
            return Err(DropReason::DhcpUnexpected);
        }
        Ok(())
    }

    /// True for what a client says before it has an address.
    pub(super) fn is_request(&self, datagram: &[u8]) -> bool {
        Udp::parse(datagram).is_ok_and(|udp| (udp.source, udp.destination) == (self.client, self.server))
    }
}
