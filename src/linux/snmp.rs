//! What the kernel counts of UDP in the calling thread's network namespace (`/proc/net/snmp`, `/proc/net/snmp6`; net/ipv4/proc.c).

use std::fs;

/// What is counted where a socket, or the memory of all, has no room for a datagram. What is damaged is counted elsewhere.
const NO_ROOM: [&str; 2] = ["RcvbufErrors", "MemErrors"];

/// How many datagrams UDP sockets had no room for, both families together. None: the kernel does not say.
pub fn udp_without_room() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).ok();
    let six = read("snmp6").map(|text| of_six(&text)).unwrap_or_default();
    Some(of_four(&read("snmp")?)?.saturating_add(six))
}

/// Two lines: names and numbers.
fn of_four(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let named = names.split_ascii_whitespace().zip(numbers.split_ascii_whitespace());
    let counted = named.filter(|(name, _)| NO_ROOM.contains(name));
    Some(counted.filter_map(|(_, number)| number.parse::<u64>().ok()).sum())
}

/// A line for each.
fn of_six(text: &str) -> u64 {
    let named = text.lines().filter_map(|line| line.strip_prefix("Udp6")?.split_once(char::is_whitespace));
    let counted = named.filter(|(name, _)| NO_ROOM.contains(name));
    counted.filter_map(|(_, number)| number.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_without_room_are_counted_and_damaged_ones_are_not() {
        let four = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors \
                    IgnoredMulti MemErrors\nUdp: 8444 1 2161 10454 2100 3 61 0 7\nUdpLite: InDatagrams RcvbufErrors\nUdpLite: 0 9\n";
        assert_eq!(of_four(four), Some(2107));
        let six = "Ip6InReceives 5\nUdp6InErrors                    \t12\nUdp6RcvbufErrors                \t4\nUdp6MemErrors  \t1\n\
                   UdpLite6RcvbufErrors \t9\n";
        assert_eq!(of_six(six), 5);
        assert_eq!((of_four("Udp: InDatagrams\n"), of_six("")), (None, 0));
        assert!(udp_without_room().is_some());
    }
}
