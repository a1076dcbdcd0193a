//! What any user of a node's host may do, without a right of his own: open devices, bind ports, send from whatever address he likes. Nothing of it
//! lets him hear guests, speak to them, or speak for them.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use vxmesh::lab::daemons;
use vxmesh::linux::netns;

use crate::frames::{Plug, marker};
use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

const SOON: Duration = Duration::from_secs(10);

fn on(lab: &Lab, node: &str, lines: &str) -> Output {
    let space = lab.layout().node(node).unwrap().namespace.clone();
    Command::new("ip").args(["netns", "exec", &space, "sh", "-ec", lines]).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Runs `work` inside of a node.
fn inside<T: Send>(lab: &Lab, node: &str, work: impl FnOnce() -> T + Send) -> T {
    let path = netns::path(&lab.layout().node(node).unwrap().namespace);
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            netns::enter(&path).unwrap();
            work()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn counter(lab: &Lab, node: &str, name: &str) -> u64 {
    let words = said(&on(lab, node, &format!("nft -j list counter inet vxmesh {name}")));
    let json: serde_json::Value = serde_json::from_str(&words).unwrap_or_default();
    json["nftables"][1]["counter"]["packets"].as_u64().unwrap_or_default()
}

/// Has a user that is nobody open a queue of a TAP, as its own program would.
fn opens(tap: &str) -> String {
    // `TUNSETIFF`, and `IFF_TAP`, `IFF_NO_PI`, `IFF_VNET_HDR` and `IFF_MULTI_QUEUE` (linux/if_tun.h).
    let program = format!(
        "import fcntl, struct; fcntl.ioctl(open('/dev/net/tun', 'r+b', buffering=0), 0x400454ca, struct.pack('16sH22x', b'{tap}', 0x5102)); print('opened')"
    );
    format!("setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c \"{program}\"")
}

#[test]
fn no_user_opens_a_tap_and_none_holds_the_lock() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let taps = said(&on(&lab, "a-1", "ip -o tuntap | cut -d: -f1"));
    assert!(taps.lines().count() >= 4, "{taps}");
    // The daemon itself may end: what it has made stays as closed.
    for alive in [true, false] {
        if !alive {
            lab.kill("a-1");
        }
        for tap in taps.lines() {
            let tried = on(&lab, "a-1", &opens(tap));
            assert!(said(&tried).contains("Operation not permitted"), "{tap}, daemon alive: {alive}: {tried:?}");
            let open = said(&on(&lab, "a-1", &format!("ip -d -j link show dev {tap}")));
            let owner: serde_json::Value = serde_json::from_str(&open).unwrap();
            assert_eq!(owner[0]["linkinfo"]["info_data"]["user"], "root", "{open}");
        }
    }
    let lock = lab.home.socket("a-1").with_file_name("meshd.lock");
    assert_eq!(std::fs::metadata(&lock).unwrap().permissions().mode() & 0o077, 0, "{}", lock.display());
    lab.start("a-1");
    wait_until("guests go on", SOON, || lab.answers("a-1", "b-1") && lab.answers("a-1", "a-2"));
}

#[test]
fn a_tap_that_was_everybodys_is_made_anew() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    // As a version before has left it.
    lab.kill("a-1");
    let alias = "ip -j -d link show dev vt10.12b5 | jq -r '.[0].ifalias'";
    let made = on(
        &lab,
        "a-1",
        &format!(
            "alias=$({alias}); ip link delete vt10.12b5; ip tuntap add dev vt10.12b5 mode tap multi_queue vnet_hdr; ip link set vt10.12b5 alias \"$alias\" master vb10.12b5 up"
        ),
    );
    assert!(made.status.success(), "{made:?}");
    lab.start("a-1");
    wait_until("guests go on", 3 * SOON, || lab.answers("a-1", "b-1"));
    assert!(said(&on(&lab, "a-1", "ip tuntap show")).contains("user 0"), "{made:?}");
}

#[test]
fn who_has_the_udp_port_first_reads_nothing_and_is_told() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let first = inside(&lab, "a-2", || UdpSocket::bind("0.0.0.0:4800").unwrap());
    first.set_nonblocking(true).unwrap();
    lab.admin(&["overlay", "set", "default", "--udp-port", "4800", "--yes"]);
    let layout = lab.layout();
    let problems = |node: &str| {
        let status = daemons::status(&lab.home, layout.node(node).unwrap());
        status.map(|status| status.problems).unwrap_or_default()
    };
    wait_until("it is told", 3 * SOON, || {
        problems("a-2").iter().any(|found| found.code == "M0625" && found.help.contains("ss -ulnp"))
    });
    let (refused, accepted) = (counter(&lab, "a-2", "in_early"), counter(&lab, "a-2", "in_accepted"));
    wait_until("a peer's frames come", 3 * SOON, || {
        lab.answers("a-1", "a-2");
        counter(&lab, "a-2", "in_early") > refused + 3
    });
    let mut bytes = [0; 2048];
    let read = first.recv(&mut bytes);
    assert!(read.is_err(), "{read:?}: what guests send is read by a program of the host");
    assert_eq!(counter(&lab, "a-2", "in_accepted"), accepted);
    assert!(!problems("a-2").iter().any(|found| found.code == "M0663"), "one cause: {:?}", problems("a-2"));
    drop(first);
    wait_until("it has gone", 3 * SOON, || lab.answers("a-1", "a-2"));
    wait_until("that is over", 3 * SOON, || problems("a-2").is_empty() && problems("a-1").is_empty());
}

#[test]
fn what_a_program_sends_by_a_guests_own_interface_reaches_no_guest() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let layout = lab.layout();
    let ear = Plug::at(&layout.node("a-1").unwrap().guests[0].namespace, "eth0");
    let own = marker(1);
    let before = counter(&lab, "a-1", "guest_routed");
    inside(&lab, "a-1", || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.bind_device(Some(b"g1")).unwrap();
        for to in [Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::new(192, 168, 10, 11)] {
            // The filter may tell the sender of it as an error.
            let _ = socket.send_to(&own, &SockAddr::from(SocketAddrV4::new(to, 68)));
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_freebind_v6(true).unwrap();
        socket.bind_device(Some(b"g1")).unwrap();
        socket.bind(&"[fd00::1]:5353".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        let all = "[ff02::1]:5353".parse::<std::net::SocketAddr>().unwrap();
        let _ = socket.send_to(&own, &all.into());
    });
    wait_until("it is counted", SOON, || counter(&lab, "a-1", "guest_routed") >= before + 3);
    assert_eq!(ear.count(&own), 0, "a guest hears a program of its host");
    assert!(lab.answers("a-1", "a-2") && lab.answers("a-2", "a-1"));
}

/// systemd-nspawn calls what it puts into a bridge `vb-NAME`, which begins as our bridges do.
#[test]
fn a_guests_interface_that_is_called_nearly_as_a_bridge_stops_nobody() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    on(&lab, "a-1", "sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1");
    let create = ["port", "create", "ct1", "--network", "blue", "--node", "a-1", "--mac", "52:54:00:00:00:02"];
    lab.admin(&[&create[..], &["--ip", "192.168.10.32", "--interface", "vb-ct1"]].concat());
    on(&lab, "a-1", "ip link add vb-ct1 type veth peer name ct1; ip link set vb-ct1 up; ip link set ct1 up");
    wait_until("it is plugged and in the filter", SOON, || {
        let bridge = said(&on(&lab, "a-1", "ip -o link show master vb10.12b5"));
        bridge.contains("vb-ct1") && said(&on(&lab, "a-1", "nft list set inet vxmesh ends")).contains("\"vb-ct1\"")
    });
    assert!(lab.answers("a-1", "a-2") && lab.answers("a-2", "a-1"));
    assert!(said(&on(&lab, "a-1", "nft list chain inet vxmesh leaving")).contains("oifname @ends goto routed"));
}

/// docker swarm makes its vxlan device here and moves it into a namespace of its own; the socket stays, and no list here shows the device.
#[test]
fn a_vxlan_device_of_others_in_another_namespace_is_told_by_what_it_sends() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let told = || {
        let status = lab.ctl("exec", &["a-1", "--", env!("CARGO_BIN_EXE_meshctl"), "status"]);
        said(&status).contains("M0619")
    };
    assert!(!told());
    let swarm = "unshare -n sleep 30 & P=$!; sleep 0.3
        ip link add vx-sw type vxlan id 4097 dstport 4789 local 10.1.0.1 remote 10.1.0.2; ip link set vx-sw netns $P
        nsenter -t $P -n sh -c 'ip link set vx-sw up; ip address add 10.0.9.1/24 dev vx-sw; ping -c 30 -i 0.2 10.0.9.2 >/dev/null || true'
        kill $P";
    on(&lab, "a-1", swarm);
    wait_until("it is told", 3 * SOON, told);
    assert!(lab.answers("a-1", "a-2"));
    wait_until("and no longer", 6 * SOON, || !told());
}

/// A host is a member by its own addresses alone, whoever of its users says otherwise.
#[test]
fn no_program_sends_as_another_node() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "3"]);
    for (node, last) in [("a-1", 1), ("a-2", 2), ("a-3", 3)] {
        on(&lab, node, &format!("ip address add fd01::{last}/64 dev admin0 nodad"));
    }
    lab.admin(&["pdc", "set", "a", "--underlay", "fd01::/64"]);
    for (node, last) in [("a-1", 1), ("a-2", 2), ("a-3", 3)] {
        on(&lab, node, &format!("ip address del 10.1.0.{last}/24 dev admin0"));
    }
    wait_until("they speak IPv6", 6 * SOON, || {
        let to = said(&on(&lab, "a-1", "bridge fdb show dev vv10.12b5"));
        to.contains("fd01::2") && to.contains("fd01::3")
    });
    lab.settled();
    let ear = Plug::at(&lab.layout().node("a-2").unwrap().guests[0].namespace, "eth0");
    let own = marker(1);
    let guest = |node: usize| format!("02:76:78:01:0{node}:01").parse().unwrap();
    let frame = crate::frames::inner(guest(3), guest(2), &own);
    for from in ["fd01::1", "fd01::3", "fd01::99"] {
        let before = counter(&lab, "a-1", "out_unknown");
        inside(&lab, "a-1", || {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
            socket.set_freebind_v6(true).unwrap();
            socket.set_unicast_hops_v6(255).unwrap();
            socket.bind(&format!("[{from}]:0").parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
            let to = "[fd01::2]:4789".parse::<std::net::SocketAddr>().unwrap();
            let _ = socket.send_to(&crate::frames::vxlan(8, 10, &frame), &to.into());
        });
        wait_until(&format!("{from} is counted"), SOON, || counter(&lab, "a-1", "out_unknown") > before);
    }
    lab.settled();
    assert_eq!(ear.count(&own), 0, "a guest hears what no guest has sent");
}
