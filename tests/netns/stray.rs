//! Plain frames and the host's other routes: whoever makes one, of whatever kind, before the start or later, no frame of a PDC
//! without routers leaves by a router. An ear on the router's wire hears what is sent to it; it is shown to hear, for each kind,
//! on the same host without what keeps frames from it.

use std::time::Duration;

use serde_json::{Value, json};
use vxmesh::lab::shell;
use vxmesh::linux::{Kernel, Notice};
use vxmesh::node::onlink::TABLE;
use vxmesh::node::plan::Plan;
use vxmesh::node::strays;
use vxmesh::table::Slice;
use vxmesh::transport::client::Client;
use vxmesh::types::Mac;

use crate::frames::{Plug, holds, mac_of};
use crate::harness::{Space, can_run, guest, wait_until};
use crate::labs::Lab;
use crate::node::{BRIDGE, behind, local, planned, settle, slice, text};

const LIMIT: Duration = Duration::from_secs(10);

/// One kind of route: what it is, how it comes and goes, whether frames still arrive, and what is told of it.
struct Kind {
    what: &'static str,
    comes: &'static str,
    goes: &'static str,
    healed: bool,
    told: &'static str,
}

const fn kind(what: &'static str, comes: &'static str, goes: &'static str) -> Kind {
    Kind { what, comes, goes, healed: true, told: "M0647" }
}

/// The own address without a prefix, as clouds and VPNs have it.
const NARROW: &str =
    "IP addr del OWN/LEN dev eth0; IP addr add OWN/HOST dev eth0 NODAD; IP route add ROUTER/HOST dev eth0";
const WIDE: &str = "IP addr del OWN/HOST dev eth0; IP addr add OWN/LEN dev eth0 NODAD; IP route del ROUTER/HOST dev eth0 2>/dev/null || true";

/// Kinds of both families. Capitals stand for what the families write differently.
const KINDS: &[Kind] = &[
    kind("a host route", "IP route add VTEP/HOST via ROUTER dev eth0", "IP route del VTEP/HOST via ROUTER"),
    kind("a narrower prefix", "IP route add NARROWER via ROUTER dev eth0", "IP route del NARROWER via ROUTER"),
    kind(
        "a route by a router that is said to be there",
        "IP route add VTEP/HOST via ROUTER dev eth0 onlink",
        "IP route del VTEP/HOST",
    ),
    kind(
        "several next hops",
        "IP route add VTEP/HOST nexthop via ROUTER dev eth0 nexthop via SECOND dev eth0",
        "IP route del VTEP/HOST",
    ),
    kind(
        "a nexthop object",
        "ip nexthop add id 7 via ROUTER dev eth0; IP route add VTEP/HOST nhid 7",
        "IP route del VTEP/HOST; ip nexthop del id 7",
    ),
    kind(
        "the default route, where the address has no prefix",
        "NARROW; IP route add default via ROUTER dev eth0",
        "IP route del default; WIDE",
    ),
    kind(
        "the two halves of a VPN, where the address has no prefix",
        "NARROW; IP route add HALF/1 via ROUTER dev eth0; IP route add OTHER/1 via ROUTER dev eth0",
        "IP route del HALF/1; IP route del OTHER/1; WIDE",
    ),
    kind(
        "segment routing, which wraps packets",
        "IP route add VTEP/HOST encap seg6 mode encap segs fd00::254 dev eth0",
        "IP route del VTEP/HOST",
    ),
    kind(
        "a policy rule",
        "IP route add default via ROUTER dev eth0 table 100; IP rule add pref 1000 to VTEP/HOST lookup 100",
        "IP rule del pref 1000; IP route flush table 100",
    ),
    Kind {
        what: "a policy rule before ours",
        comes: "IP route add default via ROUTER dev eth0 table 100; IP rule add pref 10 to VTEP/HOST lookup 100",
        goes: "IP rule del pref 10; IP route flush table 100",
        healed: false,
        told: "M0648",
    },
    Kind {
        what: "a policy rule before ours, for a mark",
        comes: "IP route add default via ROUTER dev eth0 table 100; IP rule add pref 10 fwmark 7 lookup 100; MARK",
        goes: "IP rule del pref 10; IP route flush table 100; nft delete table inet marks",
        healed: false,
        told: "M0648",
    },
    Kind {
        what: "a mark on the way out that has the packet routed anew",
        comes: "IP route add default via ROUTER dev eth0 table 100; IP rule add pref 1000 fwmark 7 lookup 100; MARK",
        goes: "IP rule del pref 1000; IP route flush table 100; nft delete table inet marks",
        healed: false,
        told: "",
    },
];

/// An IPv4 destination by an IPv6 router (RFC 5549), of which the packet filter sees nothing.
const BY_IPV6: &[Kind] = &[
    kind("an IPv6 router", "ip route add VTEP/32 via inet6 fe80::fe dev eth0", "ip route del VTEP/32"),
    kind(
        "a nexthop object of IPv6",
        "ip -6 nexthop add id 8 via fe80::fe dev eth0; ip route add VTEP/32 nhid 8",
        "ip route del VTEP/32; ip nexthop del id 8",
    ),
    kind(
        "the default route by an IPv6 router, where the address has no prefix",
        "NARROW; ip -4 route add default via inet6 fe80::fe dev eth0",
        "ip route del default; WIDE",
    ),
];

/// Marks VXLAN where a packet that is marked is routed anew. A vxlan device takes the marks of guests' frames, too.
const MARK: &str =
    "nft 'table inet marks { chain out { type route hook output priority -150; udp dport 4789 meta mark set 7; }; }'";

/// Two hosts and a router on one segment, a guest on each host.
struct Segment {
    a: Space,
    #[expect(dead_code, reason = "its namespace must live as long")]
    others: Vec<Space>,
    here: Space,
    there: &'static str,
    ear: Plug,
    router: Mac,
    six: bool,
}

fn rows() -> Value {
    json!({
        "default/10/-/02:00:00:00:00:01": behind("g1", "a", &["192.168.10.11"], &[]),
        "default/10/-/02:00:00:00:00:02": behind("g2", "b", &["192.168.10.12"], &[]),
    })
}

fn family(slice: &Slice, six: bool) -> Slice {
    let text = serde_json::to_string(slice).unwrap();
    let six_text = || text.replace("10.9.0.0/16", "fd00::/64").replace("10.9.0.", "fd00::").replace("1400", "1398");
    serde_json::from_str(&if six { six_text() } else { text.clone() }).unwrap()
}

impl Segment {
    fn new(six: bool) -> Self {
        let wire = Space::new("wire");
        wire.sh("ip link add name br0 type bridge; ip link set dev br0 up");
        let hosts = ["a", "b", "router"].map(|name| {
            let host = Space::new(name);
            wire.sh(&format!("ip link add name {name} type veth peer name eth0 netns {}", host.name()));
            wire.sh(&format!("ip link set dev {name} master br0 up"));
            host.sh("sysctl -q -w net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0; ip link set dev eth0 up");
            host
        });
        let addresses = [
            &["10.9.0.1/16", "fd00::1/64"][..],
            &["10.9.0.2/16", "fd00::2/64"],
            &["10.9.0.254/16", "10.9.0.253/16", "fd00::254/64", "fd00::253/64", "fe80::fe/64"],
        ];
        for (host, addresses) in hosts.iter().zip(addresses) {
            for address in addresses {
                host.sh(&format!(
                    "ip address add {address} dev eth0 {}",
                    if address.contains(':') { "nodad" } else { "" }
                ));
            }
        }
        let [a, b, router] = hosts;
        let own = |last: u8| if six { format!("fd00::{last}") } else { format!("10.9.0.{last}") };
        for (host, name, last) in [(&a, "a", 1), (&b, "b", 2)] {
            let plan = planned(&family(&slice(name, rows()), six), &local(&own(last)));
            assert_eq!(plan.findings, []);
            host.enter(|| assert_eq!(text(&settle(&mut Kernel::new().unwrap(), &plan).1), ""));
        }
        let here = guest(&a, BRIDGE, "g1", "02:00:00:00:00:01", &["192.168.10.11/24"]);
        let there = guest(&b, BRIDGE, "g2", "02:00:00:00:00:02", &["192.168.10.12/24"]);
        let (ear, mac) = (Plug::new(&router, "eth0"), mac_of(&router, "eth0"));
        Self { a, others: vec![wire, b, router, there], here, there: "192.168.10.12", ear, router: mac, six }
    }

    /// The plan of host a, in a PDC with these routers.
    fn plan(&self, hops: u8, routers: &[&str]) -> Plan {
        let mut slice = family(&slice("a", rows()), self.six);
        for facts in slice.pdcs.values_mut() {
            facts.max_hops = hops;
            facts.routers = routers.iter().map(|router| router.parse().unwrap()).collect();
        }
        planned(&slice, &local(if self.six { "fd00::1" } else { "10.9.0.1" }))
    }

    fn settle(&self, plan: &Plan) {
        self.a.enter(|| assert_eq!(text(&settle(&mut Kernel::new().unwrap(), plan).1), ""));
    }

    /// Takes away what keeps frames from routers, and nothing else.
    fn bare(&self) {
        self.a.sh("nft delete table inet vxmesh; ip rule del pref 40 || true; ip -6 rule del pref 40 || true");
    }

    /// Shell lines of a kind in the words of the family.
    fn say(&self, lines: &str) {
        let words: [(&str, &str); 14] = if self.six {
            [
                ("NARROWER", "fd00::/112"),
                ("NARROW", NARROW),
                ("WIDE", WIDE),
                ("MARK", MARK),
                ("IP", "ip -6"),
                ("VTEP", "fd00::2"),
                ("HOST", "128"),
                ("ROUTER", "fd00::254"),
                ("SECOND", "fd00::253"),
                ("OWN", "fd00::1"),
                ("LEN", "64"),
                ("NODAD", "nodad"),
                ("HALF", "::"),
                ("OTHER", "8000::"),
            ]
        } else {
            [
                ("NARROWER", "10.9.0.0/24"),
                ("NARROW", NARROW),
                ("WIDE", WIDE),
                ("MARK", MARK),
                ("IP", "ip"),
                ("VTEP", "10.9.0.2"),
                ("HOST", "32"),
                ("ROUTER", "10.9.0.254"),
                ("SECOND", "10.9.0.253"),
                ("OWN", "10.9.0.1"),
                ("LEN", "16"),
                ("NODAD", ""),
                ("HALF", "0.0.0.0"),
                ("OTHER", "128.0.0.0"),
            ]
        };
        let lines = words.iter().fold(lines.to_owned(), |lines, (word, means)| lines.replace(word, means));
        self.a.sh(&lines);
    }

    /// Pings from guest to guest; whether any came back, and how many VXLAN frames were sent to the router meanwhile.
    fn ping(&self) -> (bool, usize) {
        self.ear.take();
        let answered = self.here.holds(&format!("ping -q -c 3 -i 0.05 -W 1 {}", self.there));
        // The header of VXLAN for VNI 10, wherever in the frame it stands.
        let vxlan = [8, 0, 0, 0, 0, 0, 10, 0];
        let to_router = |frame: &&Vec<u8>| frame[..6] == self.router.0 && holds(frame, &vxlan);
        (answered, self.ear.take().iter().filter(to_router).count())
    }

    fn counter(&self, name: &str) -> u64 {
        self.a.enter(|| Kernel::new().unwrap().guard_counters().unwrap())[name]
    }

    /// Codes of what is told of the host's routes.
    fn told(&self, plan: &Plan) -> Vec<String> {
        let ways = self.a.enter(|| Kernel::new().unwrap().ways(&strays::asks(&plan.desired)).unwrap());
        let mut codes: Vec<String> =
            strays::findings(&"x".parse().unwrap(), &plan.desired, &ways).into_iter().map(|f| f.code).collect();
        codes.dedup();
        codes
    }
}

fn stray(six: bool, kinds: &[&Kind]) {
    let segment = Segment::new(six);
    let plan = segment.plan(0, &[]);
    wait_until("the guests reach each other", LIMIT, || segment.ping() == (true, 0));
    assert_eq!(segment.told(&plan), [""; 0], "a host without such routes is silent");
    let mut wrong = Vec::new();
    for kind in kinds {
        let mut check = |when: &str, holds: bool, what: String| {
            if !holds {
                wrong.push(format!("{} ({when}, IPv6: {six}): {what}", kind.what));
            }
        };
        segment.bare();
        segment.say(kind.comes);
        let (_, heard) = segment.ping();
        check("bare host", heard > 0, "the ear hears nothing".into());
        segment.settle(&plan);
        let (answered, heard) = segment.ping();
        check(
            "before the start",
            heard == 0 && answered == kind.healed,
            format!("{heard} heard, answered: {answered}"),
        );
        segment.say(kind.goes);
        wait_until("the way is right again", LIMIT, || segment.ping().0);
        let before = segment.counter("out_routed");
        segment.say(kind.comes);
        let (answered, heard) = segment.ping();
        check("later", heard == 0 && answered == kind.healed, format!("{heard} heard, answered: {answered}"));
        let dropped = segment.counter("out_routed") - before;
        check("later", (dropped > 0) != kind.healed, format!("{dropped} counted as out_routed"));
        let told = segment.told(&plan);
        check("later", told.join(" ") == kind.told, format!("told {told:?}"));
        segment.say(kind.goes);
        wait_until("the way is right again", LIMIT, || segment.ping().0);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_plain_frame_of_ipv4_leaves_by_a_router() {
    if can_run() {
        stray(false, &KINDS.iter().chain(BY_IPV6).collect::<Vec<_>>());
    }
}

#[test]
fn no_plain_frame_of_ipv6_leaves_by_a_router() {
    if can_run() {
        stray(true, &KINDS.iter().collect::<Vec<_>>());
    }
}

#[test]
fn where_a_pdc_names_its_routers_frames_leave_by_no_other() {
    if !can_run() {
        return;
    }
    for six in [false, true] {
        let segment = Segment::new(six);
        let (first, second) = if six { ("fd00::254", "fd00::253") } else { ("10.9.0.254", "10.9.0.253") };
        // Routers, the route, whether frames go to the router, what is told.
        let rows: [(&[&str], &str, bool, &str); 5] = [
            (&[first], "ROUTER", true, ""),
            (&[first], "SECOND", false, "M0648"),
            (&[first, second], "SECOND", true, ""),
            (&["192.0.2.1"], "ROUTER", false, "M0648"),
            (&[], "SECOND", true, ""),
        ];
        for (routers, by, passes, told) in rows {
            let plan = segment.plan(1, routers);
            segment.settle(&plan);
            wait_until("on the segment they need none", LIMIT, || segment.ping() == (true, 0));
            segment.say(&format!("IP route add VTEP/HOST via {by} dev eth0"));
            let (_, heard) = segment.ping();
            assert_eq!(heard > 0, passes, "IPv6: {six}, {routers:?}, by {by}: {heard} heard");
            assert_eq!(segment.told(&plan).join(" "), told, "IPv6: {six}, {routers:?}, by {by}");
            segment.say("IP route del VTEP/HOST");
        }
        let rules = segment.a.sh("ip rule; ip -6 rule");
        assert!(!rules.contains(&TABLE.to_string()), "there are routers, so there is no table: {rules}");
    }
}

#[test]
fn changes_of_the_table_are_heard_and_thousands_of_other_routes_are_neither_heard_nor_read() {
    if !can_run() {
        return;
    }
    for six in [false, true] {
        let segment = Segment::new(six);
        let plan = segment.plan(0, &[]);
        segment.a.enter(|| {
            let kernel = Kernel::new().unwrap();
            let mut watch = kernel.watch().unwrap();
            let quiet = Duration::from_millis(300);
            while watch.wait(quiet).unwrap() == Notice::Change {}
            let (ip, prefix) = if six { ("ip -6", "2001:db8:XX:YY::/64") } else { ("ip", "172.XX.YY.0/24") };
            let numbers = (16..26).flat_map(|x| (0..250).map(move |y| (x, y)));
            let batch: String = numbers
                .map(|(x, y)| prefix.replace("XX", &x.to_string()).replace("YY", &y.to_string()))
                .flat_map(|to| ["main", "100000"].map(|table| format!("route add {to} dev eth0 table {table}\n")))
                .collect();
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &batch).unwrap();
            let all = |verb: &str| {
                segment.a.sh(&format!("sed 's/^route add/route {verb}/' {} | {ip} -batch -", file.path().display()))
            };
            // Links and neighbours have notices of their own now and then; routes that were heard would be heard each time.
            let silent = (0..10).any(|_| {
                all("add");
                if watch.wait(quiet).unwrap() != Notice::Change {
                    return true;
                }
                all("del");
                while watch.wait(quiet).unwrap() == Notice::Change {}
                false
            });
            assert!(silent, "IPv6: {six}: 5000 routes of others are not heard");
            let start = vxmesh::clock::mono();
            let held = Kernel::new().unwrap().observe().unwrap().onlink;
            assert_eq!((held.table, held.unsupported), (plan.desired.onlink.clone(), None), "and not read");
            let took = vxmesh::clock::mono().since(start);
            assert!(took < Duration::from_secs(1), "{took:?}");
            for change in [
                format!("{ip} route flush table {TABLE}"),
                format!("{ip} rule del pref 40"),
                format!("{ip} rule add pref 7 lookup 100"),
            ] {
                segment.a.sh(&change);
                assert_eq!(watch.wait(Duration::from_secs(2)).unwrap(), Notice::Change, "{change}");
                while watch.wait(quiet).unwrap() == Notice::Change {}
                segment.settle(&plan);
                while watch.wait(quiet).unwrap() == Notice::Change {}
            }
        });
    }
}

#[test]
fn all_of_it_goes_with_the_rest() {
    if !can_run() {
        return;
    }
    let segment = Segment::new(false);
    let shown = || segment.a.sh(&format!("ip rule; ip -6 rule; ip route show table {TABLE} 2>&1 || true"));
    assert!(shown().contains(&format!("lookup {TABLE}")) && shown().contains("unreachable default"), "{}", shown());
    // Others' in our table and by our table go, what only has its preference stays.
    segment.a.sh(&format!("ip route add 192.0.2.0/24 via 10.9.0.254 table {TABLE}; ip -6 rule add pref 50 lookup {TABLE}; ip rule add pref 40 lookup 100"));
    segment.a.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        let observed = kernel.observe().unwrap();
        kernel.apply(&vxmesh::node::reconcile::cleanup(&observed)).unwrap();
    });
    let left = shown();
    assert!(
        !left.contains(&TABLE.to_string()) && !left.contains("unreachable") && left.contains("lookup 100"),
        "{left}"
    );
}

fn status(lab: &Lab) -> Value {
    let client = Client::unix(lab.home.socket("a-1"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.call::<(), Value>(hyper::Method::GET, "/v1/status", None)).unwrap()
}

#[test]
fn a_daemon_tells_of_a_stray_route_and_brings_its_table_back_whatever_takes_it_away() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let node = lab.layout().nodes[0].namespace.clone();
    let sh = |line: &str| {
        let mut command = shell::command(Some(&node), "sh");
        command.args(["-ec", line]);
        shell::run(command)
    };
    let codes = || {
        status(&lab)["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["code"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    wait_until("nothing is wrong", LIMIT, || codes().is_empty());
    sh("ip route add 10.1.0.2/32 via 10.1.0.254 dev admin0").unwrap();
    wait_until("the route is told", LIMIT, || codes() == ["M0647"]);
    let what = status(&lab)["problems"][0]["what"].as_str().unwrap().to_owned();
    assert!(what.contains("10.1.0.2/32 via 10.1.0.254 dev admin0 (table main)"), "{what}");
    assert!(lab.answers("a-1", "a-2"), "and followed by nobody");
    sh("ip route del 10.1.0.2/32").unwrap();
    wait_until("and is not told any more", LIMIT, || codes().is_empty());
    let whole = format!(
        "ip rule show pref 40 | grep -q {TABLE} && ip route show table {TABLE} | grep -q '10.1.0.0/24 dev admin0' && ip route show table {TABLE} | grep -q unreachable"
    );
    sh(&whole).unwrap();
    for damage in [
        format!("ip route flush table {TABLE}"),
        "ip rule del pref 40".to_owned(),
        format!("ip route replace 10.1.0.0/24 via 10.1.0.254 dev admin0 table {TABLE}"),
        "ip link set dev admin0 down; sleep 0.2; ip link set dev admin0 up".to_owned(),
        "ip addr del 10.1.0.1/24 dev admin0; sleep 0.2; ip addr add 10.1.0.1/24 dev admin0".to_owned(),
        "ip addr del 10.1.0.1/24 dev admin0; sleep 1.5; ip addr add 10.1.0.1/32 dev admin0".to_owned(),
    ] {
        sh(&damage).unwrap();
        wait_until(&format!("the table is back after: {damage}"), LIMIT, || sh(&whole).is_ok());
        wait_until("and guests reach each other", LIMIT, || lab.answers("a-1", "a-2"));
    }
}
