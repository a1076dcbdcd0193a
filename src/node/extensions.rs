//! Matches and targets of iptables, ip6tables, ebtables and arptables by their names (iptables-extensions(8), ebtables(8)), for rules of which
//! nothing more is told. A match that is not listed here may be about one guest, and a target that is not may take a frame away.

use serde_json::Value;

/// Matches that are of no guest in particular: what a frame carries, how much of it, and whether the host knows the connection.
const CONTENT: [&str; 27] = [
    "addrtype",
    "ah",
    "conntrack",
    "dccp",
    "esp",
    "frag",
    "hashlimit",
    "helper",
    "icmp",
    "icmp6",
    "icmpv6",
    "limit",
    "multiport",
    "nfacct",
    "owner",
    "pkttype",
    "policy",
    "rpfilter",
    "rt",
    "sctp",
    "socket",
    "state",
    "stp",
    "tcp",
    "tcpmss",
    "udp",
    "udplite",
];

/// Targets after which a frame goes on as it was, or so that whoever gets it takes it.
const HARMLESS: [&str; 25] = [
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CONNMARK",
    "CONNSECMARK",
    "CT",
    "DSCP",
    "ECN",
    "HL",
    "IDLETIMER",
    "LED",
    "LOG",
    "MASQUERADE",
    "NFLOG",
    "NOTRACK",
    "RATEEST",
    "SECMARK",
    "SET",
    "SNAT",
    "TCPMSS",
    "TEE",
    "TOS",
    "TRACE",
    "TTL",
    "ULOG",
];

/// What a part comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It lets every frame on.
    Through,
    /// It may match, whomever the frame is of.
    Content,
    /// It may match, and may name somebody.
    Unknown,
    /// It drops.
    Drops,
    /// Somebody else decides.
    Queues,
    /// It writes other addresses into the frame.
    Rewrites,
    /// The frame may go elsewhere.
    Takes,
    /// It gives the frame a mark.
    Marks,
}

/// What a part comes to that only these tools have; what is known of it here has been put into words of `nft` before ([`crate::linux`]).
pub(super) fn part(value: &Value) -> Part {
    let of = |key| value.get(key).and_then(Value::as_str);
    let name = of("name").unwrap_or_default();
    match of("type") {
        Some("watcher") => Part::Through,
        Some("match") if name == "comment" => Part::Through,
        Some("match") if CONTENT.contains(&name) => Part::Content,
        Some("target") => target(name),
        _ => Part::Unknown,
    }
}

fn target(name: &str) -> Part {
    match name {
        "REJECT" => Part::Drops,
        // Whoever gets it decides, or it is answered here.
        "NFQUEUE" | "QUEUE" | "arpreply" => Part::Queues,
        "dnat" | "snat" => Part::Rewrites,
        "MARK" | "mark" => Part::Marks,
        name if HARMLESS.contains(&name) => Part::Through,
        _ => Part::Takes,
    }
}
