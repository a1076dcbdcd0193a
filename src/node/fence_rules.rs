//! The rules of the packet filter behind the guests' ports, as `nft` text. They are decided by what a receiver would take a frame
//! for, never by what its sender says that it is: a DHCP client does not look at a source port, a host reassembles fragments, a bridge
//! hands group addresses of its own to the host.
//!
//! Nothing behind the type check may look at the type field of the frame, as `nft` makes `ip saddr`, `arp` and `icmpv6` do where nobody
//! tells it that the protocol is known: in a tagged frame that field is the tag's. So addresses are read raw (`@nh,96,32` is the source
//! of IPv4, `@nh,64,128` that of IPv6, `@th,64,128` the target of an advertisement).

use std::fmt::Write as _;

use super::fence_text::{GROUP, OWN, REASONS, SPOKEN};
use super::{fence_rates, fence_sizes};
use crate::types::{GroupRate, IfName};

/// A set that the kernel fills and empties itself, of bounded size.
pub(super) const FORGETFUL: &str = "size 4096; flags dynamic,timeout; timeout 1m;";
/// New Ethernet addresses a second, and at once, that an interface may bring where no port is declared.
const SOURCE_RATE: u32 = 10;
const SOURCE_BURST: u32 = 64;
/// New IP addresses that are noted of one interface of such a network: so many at once and an hour. All interfaces share a set of 16384, which keeps
/// each for a day: one that invents addresses fills a twentieth of it.
const OWN_RATE: u32 = 30;
const OWN_BURST: u32 = 64;
/// Addresses that a bridge does not forward but keeps (IEEE 802.1Q table 8-1), and hands to its host before any prerouting rule
/// has a say (`br_handle_frame`, net/bridge/br_input.c) unless its `group_fwd_mask` says otherwise.
const RESERVED: &str = "ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00";

/// Sets of each kind of guests, and what follows the sender in an element.
const SETS: [(&str, &str); 7] = [
    ("mac", ""),
    ("ip4", " . @nh,96,32"),
    ("ip6", " . @nh,64,128"),
    ("lla", " . @th,208,48"),
    ("any", ""),
    ("router", ""),
    ("dhcp", ""),
];

/// Guests that have their own sets and chains. Each kind has a second half for tagged frames, so that what a guest may say in one
/// VLAN it may not say in another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Those whose interface is known: the interface is a part of every element.
    Bound,
    /// Those of one bridge whose ports name no interface and that have not spoken yet.
    Loose(IfName),
}

impl Kind {
    /// Prefix of the names of sets and chains.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Bound => "bound".to_owned(),
            Self::Loose(bridge) => {
                let word = bridge.as_str().trim_start_matches(|c: char| !c.is_ascii_digit());
                format!("loose_{}", word.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
            }
        }
    }

    /// The same for tagged frames.
    pub(super) fn tagged(&self) -> String {
        match self {
            Self::Bound => "tagged".to_owned(),
            Self::Loose(_) => format!("{}_tagged", self.name()),
        }
    }

    /// True where the set is one of this kind.
    pub(super) fn owns(&self, set: &str) -> bool {
        SETS.iter().any(|(of, _)| *set == format!("{}_{of}", self.name()) || *set == format!("{}_{of}", self.tagged()))
    }

    /// How its sender is looked up, and how ARP tells it: without and with a tag. With one both are raw, because `nft` takes
    /// `vlan id` beside `arp` for a contradiction.
    fn halves(&self) -> [(String, String, String); 2] {
        let before = match self {
            Self::Bound => "iifname . ",
            Self::Loose(_) => "",
        };
        // Without the first words `nft` asks the type field of the frame, where a priority tag may be.
        let told = format!("meta protocol arp {before}arp saddr ether");
        let plain = (self.name(), format!("{before}ether saddr"), told);
        let raw = |place: &str| format!("{before}{place} . vlan id");
        [plain, (self.tagged(), raw("@ll,48,48"), raw("@nh,64,48"))]
    }

    /// Its sets and chains, inside of the table of family `bridge`.
    pub(super) fn write(&self, out: &mut String) {
        for (name, who, told) in self.halves() {
            for (set, rest) in SETS {
                let _ = writeln!(out, "    set {name}_{set} {{ typeof {who}{rest}; }}");
            }
            out.push_str(&RULES.replace("KIND", &name).replace("TOLD", &told).replace("WHO", &who));
        }
        let entry = match self {
            Self::Bound => BOUND,
            Self::Loose(_) => LOOSE,
        };
        let fill = |text: &str| text.replace("TAGGED", &self.tagged()).replace("KIND", &self.name());
        out.push_str(&fill(entry).replace("GROUP", GROUP));
    }

    /// Removes them, once nothing leads there any more.
    pub(super) fn write_removal(&self, out: &mut String, table: &str) {
        let halves = self.halves();
        let chains: Vec<String> = std::iter::once(self.name())
            .chain(halves.iter().flat_map(|(name, ..)| CHAINS.iter().map(move |chain| format!("{name}_{chain}"))))
            .collect();
        // All are emptied before the first goes: they lead to each other.
        for verb in ["flush", "delete"] {
            for chain in &chains {
                let _ = writeln!(out, "{verb} chain {table} {chain}");
            }
        }
        for (name, ..) in halves {
            for (set, _) in SETS {
                let _ = writeln!(out, "delete set {table} {name}_{set}");
            }
        }
    }
}

/// Reason; sets with their values; when which set is filled, with what.
type Sample =
    (&'static str, &'static [(&'static str, &'static str)], &'static [(&'static str, &'static str, &'static str)]);

/// Samples of what is said and may not be, by reason: sets of the values, what is in them behind interface and Ethernet address, and
/// when which value is one. Of a neighbour advertisement it is the target, of a question its source, of a probe what it asks for.
pub(super) const SAMPLES: [Sample; 4] = [
    ("mac", &[("mac", "")], &[("", "mac", "")]),
    (
        "ip",
        &[("ip4", " . @nh,96,32"), ("ip6", " . @nh,64,128")],
        &[("meta protocol ip ", "ip4", " . @nh,96,32"), ("meta protocol ip6 ", "ip6", " . @nh,64,128")],
    ),
    ("arp", &[("arp", " . @nh,112,32")], &[("@nh,112,32 != 0 ", "arp", " . @nh,112,32"), ("", "arp", " . @nh,192,32")]),
    (
        "nd",
        &[("nd", " . @nh,64,128")],
        &[
            ("@th,0,8 136 ", "nd", " . @th,64,128"),
            ("@th,0,8 135 @nh,64,128 0 ", "nd", " . @th,64,128"),
            ("", "nd", " . @nh,64,128"),
        ],
    ),
];
/// Of each interface so many samples are taken for each reason, whatever it sends.
const SAMPLE_RATE: &str = "limit rate 6/minute burst 4 packets";

/// The sets of samples and what fills them.
fn write_samples(out: &mut String) {
    for (reason, sets, rules) in SAMPLES {
        let _ = writeln!(out, "    set sample_{reason} {{ type ifname; {FORGETFUL} }}");
        for (set, rest) in sets {
            let _ = writeln!(out, "    set said_{set} {{ typeof iifname . ether saddr{rest}; {FORGETFUL} }}");
        }
        let _ = writeln!(out, "    chain say_{reason} {{");
        for (when, set, rest) in rules {
            let _ = writeln!(out, "        {when}update @said_{set} {{ iifname . ether saddr{rest} counter }} drop");
        }
        out.push_str("        drop\n    }\n");
    }
}

/// What is told apart among dropped frames: interfaces, and of strange Ethernet addresses these too, because the address of another
/// guest tells of a loop.
fn who(reason: &str) -> &'static str {
    if reason == "mac" { "iifname . ether saddr" } else { "iifname" }
}

/// What a hypervisor says some times for a guest that it has moved: a RARP frame (RFC 903), for switches that learn (QEMU's `announce-rounds`).
/// The table knows where guests are, and the guest sends nothing that it should not, so it is no news of that interface.
const MOVED: &str = "        meta protocol 0x8035 counter name guest_type drop\n";

/// Counters, sets that the kernel fills, and the chains that all kinds share.
pub(super) fn write_common(out: &mut String) {
    for (reason, _) in REASONS {
        let _ = writeln!(out, "    counter guest_{reason} {{ }}");
        let _ = writeln!(out, "    set by_{reason} {{ typeof {}; {FORGETFUL} }}", who(reason));
    }
    let _ = writeln!(out, "    set rate {{ type ifname; {FORGETFUL} }}");
    let _ = writeln!(out, "    set fresh {{ type ifname; {FORGETFUL} }}");
    out.push_str("    set heard { typeof iifname . ether saddr; size 65536; flags dynamic,timeout; timeout 5m; }\n");
    let _ = writeln!(out, "    counter {SPOKEN} {{ }}");
    let _ = writeln!(
        out,
        "    set {SPOKEN} {{ typeof iifname . ether saddr; size 4096; flags dynamic,timeout; timeout 10s; }}"
    );
    for (set, address) in OWN {
        let _ = writeln!(
            out,
            "    set {set} {{ typeof iifname . ether saddr . {address}; size 16384; flags dynamic,timeout; timeout 1d; }}"
        );
    }
    out.push_str("    set noted { type ifname; size 4096; flags dynamic,timeout; timeout 1d; }\n");
    fence_sizes::write_common(out, FORGETFUL);
    write_samples(out);
    for (reason, _) in REASONS {
        // Two rules: one whose set is full ends there, and the frame must not go on.
        let count = format!("counter name guest_{reason} update @by_{reason} {{ {} counter }}", who(reason));
        let sampled = SAMPLES.iter().any(|(of, ..)| *of == reason);
        let sample = format!("\n        update @sample_{reason} {{ iifname {SAMPLE_RATE} }} goto say_{reason}");
        let sample = if sampled { sample } else { String::new() };
        let usual = if reason == "type" { MOVED } else { "" };
        let _ = writeln!(out, "    chain drop_{reason} {{\n{usual}        {count}{sample}\n        drop\n    }}");
    }
    let flood = fence_rates::over("rate", GroupRate::USUAL);
    let fresh =
        format!("update @fresh {{ iifname limit rate over {SOURCE_RATE}/second burst {SOURCE_BURST} packets }}");
    let often = format!("update @noted {{ iifname limit rate over {OWN_RATE}/hour burst {OWN_BURST} packets }}");
    let text = COMMON.replace("FLOOD", &flood).replace("FRESH", &fresh).replace("OFTEN", &often);
    out.push_str(&text.replace("GROUP", GROUP).replace("RESERVED", RESERVED).replace("SPOKEN", SPOKEN));
}

/// The chains at the hooks, and the sets that lead there.
pub(super) fn write_hooks(out: &mut String) {
    out.push_str(
        &HOOKS
            .replace("RESERVED", RESERVED)
            .replace("GROUP", GROUP)
            .replace("SYN", fence_sizes::SYN)
            .replace("SIZES", &fence_sizes::long()),
    );
}

/// What all share. Frames are kept out of the host's connection tracking, in which equal addresses of two networks would be one flow, and so
/// out of its NAT (`notrack`, which holds when the bridge shows them to the host's firewall later). `open` is of networks that find their
/// guests by themselves: only how many and how much is bounded there. `told` is where questions come by once it is known that their senders
/// may ask them, with the interfaces that are in networks with owners ([`super::owners`]); no other frame does, because one more chain at
/// the hook would cost them all.
///
/// Of networks that find their guests by themselves it is kept which IP addresses a guest has spoken for to all, so that it can be asked
/// whether it is still there ([`super::questions`]), and which guests were heard for the first time in a while ([`super::contest`]).
const COMMON: &str = "    map asks { type ifname : verdict; }
    map limits { type ifname : verdict; }
    chain told {
        @ll,0,8 & 1 == 0 accept
        iifname vmap @asks
        accept
    }
    chain group {
        RESERVED goto drop_group
        iifname vmap @limits
        FLOOD goto drop_flood
    }
    chain peers {
        notrack
        @ll,0,32 0x0180c200 RESERVED goto drop_group
        accept
    }
    chain note4 {
        iifname . ether saddr . @nh,112,32 @own4 update @own4 { iifname . ether saddr . @nh,112,32 } return
        OFTEN return
        update @own4 { iifname . ether saddr . @nh,112,32 }
    }
    chain note6 {
        iifname . ether saddr . @nh,64,128 @own6 update @own6 { iifname . ether saddr . @nh,64,128 } return
        OFTEN return
        update @own6 { iifname . ether saddr . @nh,64,128 }
    }
    chain open_answer {
        meta protocol arp @nh,112,32 != 0 jump note4
        meta l4proto icmpv6 @th,0,8 136 jump note6
        accept
    }
    chain open_told {
        @ll,0,8 & 1 == 0 goto open_answer
        ether type arp @nh,112,32 != 0 jump note4
        ether type ip6 @nh,64,128 != 0 jump note6
        goto told
    }
    chain open {
        notrack
        GROUP jump group
        iifname . ether saddr @heard goto open_told
        FRESH goto drop_source
        counter name SPOKEN update @SPOKEN { iifname . ether saddr }
        add @heard { iifname . ether saddr } goto open_told
        goto drop_source
    }
";

/// Names of the chains in [`RULES`], but for the prefix.
const CHAINS: [&str; 11] = ["nd", "from6", "error6", "icmp6", "udp6", "ip6", "from4", "udp4", "error4", "ip4", "arp"];

/// The rules of one half of a kind, from what is known to be IPv4, IPv6 or ARP of the right sender. `WHO` looks the sender up.
///
/// UDP: 68 and 546 are what clients listen on, whatever the source port is. A message to a server or relay (67, 547) is a question, unless
/// its first byte says that it is an answer for a relay: BOOTREPLY, 2, or RELAY-REPL, 13. A later fragment has no ports, and its first
/// one must not be without.
///
/// ICMP: a redirect (5) and a router's advertisement (9, RFC 1256) are a router's. So is an error about a packet that was not for the sender
/// itself, such as "fragmentation needed", by which a guest would make packets between others smaller.
///
/// Who asks whether an address is taken (ARP from 0.0.0.0, RFC 5227; a solicitation from `::`, RFC 4862 section 5.4) asks for its own: its
/// owner gives it up where another seems to want it at the same time.
///
/// ICMPv6: neighbour discovery in fragments is none (RFC 6980 section 5); a first fragment holds all headers (RFC 7112 section 5). Where
/// the kernel finds no upper layer there is no `meta l4proto`, and `!=` is false as well.
///
/// Later fragments: some kernels read the bytes where a first one has its ports and type as if they were these, so what goes by them asks
/// for the offset before.
///
/// What stands behind ports and type is looked at in whole packets only (`@nh,50,14` is "more fragments" and the offset): behind a first fragment
/// it may be padding, and what a receiver puts there comes later.
///
/// Without an address a host asks, and reports groups (131, 132, 143; RFC 3590 section 4; IGMP, protocol 2, by whose name `nft` would read the chain `group` otherwise: RFC 3376 section 4.2.13), but nothing else: an echo would be answered.
///
/// Options of discovery: receivers differ in which of several Ethernet addresses they believe, and no rule can walk options. So hosts may
/// send what hosts do send: their own address first, or a nonce (RFC 7527), and behind the address nothing but a nonce. What reads behind
/// the end of a frame is false, `>= 0` therefore asks whether there is more. Advertisements and redirects are a router's, who is believed.
const RULES: &str = "    chain KIND_from6 {
        WHO . @nh,64,128 @KIND_ip6 accept
        meta l4proto icmpv6 @th,0,8 { 131, 132, 143 } @nh,64,128 0 accept
        WHO @KIND_any accept
        WHO @KIND_router accept
        goto drop_ip
    }
    chain KIND_nd {
        meta protocol ip6 exthdr frag exists goto drop_nd
        @th,0,8 133 @th,64,16 != 0x0101 goto drop_nd
        @th,0,8 133 WHO . @th,80,48 != @KIND_lla goto drop_nd
        @th,0,8 133 @th,128,8 >= 0 goto drop_nd
        @th,0,8 135 @th,192,16 != { 0x0101, 0x0e01 } goto drop_nd
        @th,0,8 135 @th,192,8 1 WHO . @th,208,48 != @KIND_lla goto drop_nd
        @th,0,8 135 @th,256,16 != 0x0e01 goto drop_nd
        @th,0,8 135 @th,320,8 >= 0 goto drop_nd
        @th,0,8 136 @th,192,16 != 0x0201 goto drop_nd
        @th,0,8 136 WHO . @th,208,48 != @KIND_lla goto drop_nd
        @th,0,8 136 @th,256,8 >= 0 goto drop_nd
        @th,0,8 136 WHO . @th,64,128 @KIND_ip6 WHO . @nh,64,128 @KIND_ip6 accept
        @th,0,8 { 133, 134, 135, 137 } WHO . @nh,64,128 @KIND_ip6 goto told
        @th,0,8 133 @nh,64,128 0 accept
        @th,0,8 135 @nh,64,128 0 WHO . @th,64,128 @KIND_ip6 accept
        WHO @KIND_any goto told
        goto drop_nd
    }
    chain KIND_error6 {
        WHO @KIND_any goto KIND_from6
        WHO @KIND_router goto KIND_from6
        meta protocol ip6 exthdr frag exists goto drop_router
        WHO . @th,256,128 @KIND_ip6 goto KIND_from6
        goto drop_router
    }
    chain KIND_icmp6 {
        meta protocol ip6 frag frag-off != 0 goto KIND_from6
        @th,0,8 { 134, 137 } WHO != @KIND_router goto drop_router
        @th,0,8 133-137 goto KIND_nd
        @th,0,8 < 128 goto KIND_error6
        @th,0,8 != 133 goto KIND_from6
        goto drop_hidden
    }
    chain KIND_udp6 {
        udp sport != 547 udp dport != 546-547 goto KIND_from6
        meta protocol ip6 frag frag-off != 0 goto KIND_from6
        WHO @KIND_dhcp goto KIND_from6
        udp sport != 547 udp dport 547 meta protocol ip6 exthdr frag missing @th,64,8 != 13 goto KIND_from6
        udp sport 547 goto drop_dhcp
        udp dport 546-547 goto drop_dhcp
        goto drop_hidden
    }
    chain KIND_ip6 {
        meta l4proto icmpv6 goto KIND_icmp6
        meta l4proto udp goto KIND_udp6
        meta l4proto != udp goto KIND_from6
        goto drop_hidden
    }
    chain KIND_from4 {
        WHO . @nh,96,32 @KIND_ip4 accept
        @nh,96,32 0 udp sport 68 udp dport 67 accept
        meta l4proto 2 @nh,50,14 0 @nh,96,32 0 @nh,128,4 0xe accept
        WHO @KIND_any accept
        WHO @KIND_router accept
        goto drop_ip
    }
    chain KIND_udp4 {
        udp sport != 67 udp dport != 67-68 goto KIND_from4
        @nh,51,13 != 0 goto KIND_from4
        WHO @KIND_dhcp goto KIND_from4
        udp sport != 67 udp dport 67 @nh,50,14 0 @th,64,8 != 2 goto KIND_from4
        udp sport 67 goto drop_dhcp
        udp dport 67-68 goto drop_dhcp
        goto drop_hidden
    }
    chain KIND_error4 {
        @nh,50,14 0 WHO . @th,192,32 @KIND_ip4 goto KIND_from4
        WHO @KIND_any goto KIND_from4
        WHO @KIND_router goto KIND_from4
        goto drop_router
    }
    chain KIND_ip4 {
        meta l4proto udp goto KIND_udp4
        meta l4proto icmp @nh,51,13 0 @th,0,8 { 5, 9 } WHO != @KIND_router goto drop_router
        meta l4proto icmp @nh,51,13 0 @th,0,8 { 3, 4, 11, 12 } goto KIND_error4
        meta l4proto != udp goto KIND_from4
        goto drop_hidden
    }
    chain KIND_arp {
        @nh,0,48 != 0x000108000604 goto drop_arp
        TOLD . @nh,112,32 @KIND_ip4 goto told
        @nh,112,32 0 TOLD . @nh,192,32 @KIND_ip4 accept
        TOLD @KIND_any goto told
        goto drop_arp
    }
";

/// The way in for interfaces that are known. `nft` makes one comparison of two `!=` of fields that stand side by side, which lets pass
/// what differs in one of them; hence the mask. Most frames are TCP or UDP over IPv4 without a tag and from their own address: they have
/// passed after one look. They are for one machine, which is not the interface: the kernel has told them from groups already
/// (`eth_type_trans`, net/ethernet/eth.c), and its word costs less than a look at the frame. So does a masked word of a header than a range
/// (`nft_payload_fast_eval`, `nft_bitwise_fast_eval`): a few ports beside those of DHCP go the longer way.
const BOUND: &str = "    chain bound_type {
        meta protocol vmap { ip : goto bound_ip4, ip6 : goto bound_ip6, arp : goto bound_arp }
        goto drop_type
    }
    chain tagged_type {
        meta protocol vmap { ip : goto tagged_ip4, ip6 : goto tagged_ip6, arp : goto tagged_arp }
        goto drop_type
    }
    chain bound_in {
        ether type != ip goto bound_other
        meta l4proto tcp iifname . ether saddr . @nh,96,32 @bound_ip4 accept
        meta l4proto udp @th,16,16 & 0xfff8 != 0x40 @th,0,16 != 67 iifname . ether saddr . @nh,96,32 @bound_ip4 accept
        goto bound_other
    }
    chain bound {
        notrack
        meta pkttype other goto bound_in
        GROUP jump group
        goto bound_in
    }
    chain bound_other {
        ether type 8021ad goto drop_vlan
        vlan id 0 iifname . ether saddr @bound_mac goto bound_type
        iifname . @ll,48,48 . vlan id @tagged_mac goto tagged_type
        ether type 8021q goto drop_vlan
        iifname . ether saddr @bound_mac goto bound_type
        goto drop_mac
    }
";

/// The way in for interfaces that no port names: who has spoken there before is held to it, and the others of the bridge whose
/// ports name none may still do so.
const LOOSE: &str = "    chain KIND {
        notrack
        GROUP jump group
        iifname . ether saddr @bound_mac goto bound_in
        ether type 8021ad goto drop_vlan
        iifname . @ll,48,48 . vlan id @tagged_mac goto bound_in
        vlan id 0 ether saddr @KIND_mac meta protocol vmap { ip : goto KIND_ip4, ip6 : goto KIND_ip6, arp : goto KIND_arp }
        @ll,48,48 . vlan id @TAGGED_mac meta protocol vmap { ip : goto TAGGED_ip4, ip6 : goto TAGGED_ip6, arp : goto TAGGED_arp }
        vlan id 0 ether saddr @KIND_mac goto drop_type
        @ll,48,48 . vlan id @TAGGED_mac goto drop_type
        ether type 8021q goto drop_vlan
        ether saddr != @KIND_mac goto drop_mac
        meta protocol vmap { ip : goto KIND_ip4, ip6 : goto KIND_ip6, arp : goto KIND_arp }
        goto drop_type
    }
";

/// Where frames come by. Between ports: an interface that is not known has no part in our bridges, neither as sender nor as receiver; a
/// bridge of others has none of ours. To the host: nothing, but from what stands in `opened`; the first rule needs no name and
/// holds for an interface that nobody has seen yet. Names cost a frame more than numbers: who has met whom is remembered by number for a second,
/// which is how long an interface keeps its rights that somebody renames; a change of what is known ends it at once.
const HOOKS: &str = "    map who { type ifname : verdict; }
    set known { type ifname; }
    set opened { type ifname; }
    chain arriving {
        type filter hook prerouting priority -300; policy accept;
        iifname vmap @who
    }
    set met { typeof iif . oif; size 65536; flags dynamic,timeout; timeout 1s; }
    chain between_known {
        oifname @known add @met { iif . oif } accept
        oifname @known accept
        counter name guest_unknown drop
    }
    chain between_new {
        iifname @known goto between_known
        oifname @known goto drop_unknown
    }
    chain between_tcp {
        SYN
        iif . oif @met accept
        goto between_new
    }
    chain between {
        type filter hook forward priority -300; policy accept;
        meta l4proto tcp goto between_tcp
        SIZES
        iif . oif @met accept
        goto between_new
    }
    chain to_host {
        type filter hook input priority -300; policy accept;
        RESERVED meta protocol { ip, ip6, arp, 8021q, 8021ad } counter name guest_group drop
        iifname @opened accept
        iifname @known @ll,0,8 & 1 == 0 goto drop_host
        iifname @known drop
    }
";
