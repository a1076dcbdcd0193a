//! Pings that wait for their answers.
//!
//! iputils' `ping -W` holds only while nothing at all was answered. After a first answer it gives the last requests one interval,
//! or twice the longest round trip, and calls what comes later lost (`__schedule_exit`, `ping_common.c`): at 10 ms apart, a loss
//! that never happened whenever the machine is busy. Here each request has its full time, and only what is lost counts as lost.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::LabError;
use crate::clock;
use crate::linux::sys;
use crate::types::Mono;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a run of pings saw.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Pings {
    /// Requests sent, those that the system refused to send included.
    pub sent: u32,
    /// Requests that were answered, each within two seconds.
    pub received: u32,
    /// Mean round-trip time in milliseconds; none without answers.
    pub mean: Option<f64>,
}

impl Pings {
    /// True where nothing was lost.
    pub const fn complete(self) -> bool {
        self.received == self.sent
    }
}

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Plan {
    /// Whom to ask.
    #[arg(long)]
    pub to: IpAddr,
    /// How many requests.
    #[arg(long)]
    pub count: u16,
    /// Milliseconds from one to the next.
    #[arg(long)]
    pub gap: u16,
    /// Bytes of payload of each. None of them is ever fragmented.
    #[arg(long)]
    pub size: u16,
}

/// One request.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Mono,
    took: Option<Duration>,
}

/// `meshctl lab ping`: sends the requests and waits for every answer, up to two seconds each.
///
/// # Errors
/// No right to open a raw socket, or no route.
pub fn ping(plan: &Plan) -> Result<Pings, LabError> {
    let mut socket = open(plan.to).map_err(LabError::io(format!("cannot ping {}", plan.to)))?;
    // Others may be pinging in the same namespace.
    let id = u16::try_from(std::process::id() & 0xffff).unwrap_or_default();
    let gap = Duration::from_millis(plan.gap.into());
    let mut asked: Vec<Asked> = Vec::new();
    let mut next = clock::mono();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let now = clock::mono();
        if asked.len() < plan.count.into() && now >= next {
            let number = u16::try_from(asked.len()).unwrap_or_default();
            // What the system refuses, as too large or unreachable, is a request without an answer.
            let _ = socket.send(&request(plan, id, number));
            asked.push(Asked { at: now, took: None });
            next = now + gap;
        }
        let all_sent = asked.len() >= plan.count.into();
        let until = if all_sent { asked.last().map_or(now, |last| last.at + PATIENCE) } else { next };
        if all_sent && (now >= until || asked.iter().all(|one| one.took.is_some())) {
            return Ok(sum(&asked));
        }
        let wait = until.since(now).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(wait)).map_err(LabError::io("cannot set the time limit of a socket"))?;
        // An error is news of an earlier request, and the end of the time is looked at above.
        let Ok(length) = socket.read(&mut buffer) else { continue };
        let number = answer(plan, id, &buffer[..length]).and_then(|number| asked.get_mut(usize::from(number)));
        if let Some(one) = number {
            let took = clock::mono().since(one.at);
            if one.took.is_none() && took <= PATIENCE {
                one.took = Some(took);
            }
        }
    }
}

/// A raw socket that sends to `to`, hears from it alone, and never fragments.
fn open(to: IpAddr) -> std::io::Result<Socket> {
    let (domain, protocol) =
        if to.is_ipv4() { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    let (level, option, value) = if to.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)
    };
    sys::set_socket_option(socket.as_fd(), level, option, value)?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    Ok(socket)
}

/// Types of request and answer.
const fn types(to: IpAddr) -> (u8, u8) {
    if to.is_ipv4() { (8, 0) } else { (128, 129) }
}

fn request(plan: &Plan, id: u16, number: u16) -> Vec<u8> {
    let mut message = vec![types(plan.to).0, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(number.to_be_bytes());
    message.extend((0..=u8::MAX).cycle().take(plan.size.into()));
    // The kernel makes that of ICMPv6, which covers addresses (RFC 3542 section 3.1).
    if plan.to.is_ipv4() {
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default()
}

/// The number of the request that this answers, payload and all. An IPv4 socket hands over the IP header too (raw(7)).
fn answer(plan: &Plan, id: u16, packet: &[u8]) -> Option<u16> {
    let header = if plan.to.is_ipv4() { usize::from(packet.first()? & 0x0f) * 4 } else { 0 };
    let message = packet.get(header..)?;
    // Type, code, checksum, identifier, number (RFC 792; RFC 4443 section 4.1).
    let number = u16::from_be_bytes(*message.get(6..)?.first_chunk()?);
    let wanted = request(plan, id, number);
    let answers = message[0] == types(plan.to).1 && message[1] == 0 && message[4..] == wanted[4..];
    answers.then_some(number)
}

fn sum(asked: &[Asked]) -> Pings {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let took: Vec<f64> = asked.iter().filter_map(|one| one.took).map(|took| took.as_secs_f64() * 1e3).collect();
    let (sent, received) = (count(asked.len()), count(took.len()));
    let mean = (received > 0).then(|| took.iter().sum::<f64>() / f64::from(received));
    Pings { sent, received, mean }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(to: &str) -> Plan {
        Plan { to: to.parse().unwrap(), count: 3, gap: 10, size: 56 }
    }

    /// What the other end makes of a request.
    fn echoed(plan: &Plan, id: u16, number: u16) -> Vec<u8> {
        let mut packet = if plan.to.is_ipv4() { [&[0x45][..], &[0; 19]].concat() } else { Vec::new() };
        let header = packet.len();
        packet.extend(request(plan, id, number));
        packet[header] = types(plan.to).1;
        packet
    }

    #[test]
    fn a_request_has_the_checksum_of_rfc_1071() {
        let message = request(&Plan { size: 3, ..plan("192.0.2.1") }, 0x1234, 7);
        assert_eq!(message[..2], [8, 0]);
        assert_eq!(message[4..], [0x12, 0x34, 0, 7, 0, 1, 2]);
        assert_eq!(checksum(&message), 0, "a message with its checksum sums up to nothing");
        assert_eq!(request(&plan("2001:db8::1"), 1, 1)[..4], [128, 0, 0, 0]);
    }

    #[test]
    fn only_the_whole_answer_to_an_own_request_counts() {
        for to in ["192.0.2.1", "2001:db8::1"] {
            let plan = plan(to);
            let good = echoed(&plan, 5, 2);
            assert_eq!(answer(&plan, 5, &good), Some(2));
            assert_eq!(answer(&plan, 6, &good), None, "somebody else's");
            for cut in 0..good.len() {
                assert_eq!(answer(&plan, 5, &good[..cut]), None, "cut to {cut}");
            }
            let mut damaged = good.clone();
            *damaged.last_mut().unwrap() ^= 1;
            assert_eq!(answer(&plan, 5, &damaged), None);
            let mut own = good;
            own[if plan.to.is_ipv4() { 20 } else { 0 }] = types(plan.to).0;
            assert_eq!(answer(&plan, 5, &own), None, "the request itself, as loopback hands it over");
        }
    }

    #[test]
    fn the_mean_is_of_what_was_answered() {
        let asked = |millis: Option<u64>| Asked { at: Mono::from_nanos(1), took: millis.map(Duration::from_millis) };
        assert_eq!(
            sum(&[asked(Some(1)), asked(None), asked(Some(3))]),
            Pings { sent: 3, received: 2, mean: Some(2.0) }
        );
        assert_eq!(sum(&[asked(None)]), Pings { sent: 1, received: 0, mean: None });
    }
}
