//! Debian's `wireguard-go` with a kernel vxlan device on top, set up with nothing but what `meshctl node foreign` prints.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use vxmesh::lab::transfer::Amount;
use vxmesh::lab::{daemons, shell, traffic};

use crate::harness::{self, Background, Space, can_run, succeed, wait_until};
use crate::labs::{Lab, assert_nothing_in_clear};

const TUNNEL_ADDRESS: &str = "100.64.200.1";
const GUEST: &str = "192.168.10.200";
const GUEST_MAC: &str = "52:54:00:00:00:c8";
const OUTSIDE: &str = "198.18.200.1";

/// A machine on the internet wire that has never heard of vxmesh.
struct Box {
    host: Space,
    guest: Space,
    interface: String,
    _wireguard: Background,
}

/// True where the programs are there; loud where they are not.
fn has_wireguard_go() -> bool {
    let missing = ["wireguard-go", "wg"].iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(tool) = missing {
        eprintln!("SKIPPED: '{tool}' is not installed (apt install wireguard-go wireguard-tools)");
    }
    missing.is_none()
}

fn secret_key() -> (String, String) {
    let secret = succeed(Command::new("wg").arg("genkey"));
    let mut wg = shell::command(None, "wg");
    wg.arg("pubkey");
    let public = shell::run_with_input(wg, &secret).unwrap();
    (secret.trim().to_owned(), public.trim().to_owned())
}

/// Tells the management node about the box and its guest.
fn declare(lab: &Lab, public: &str) {
    let text = format!(
        "apiVersion: vxmesh/v1\nkind: Pdc\nmetadata: {{name: far}}\nspec: {{intra: encrypted, underlay: []}}\n---\n\
         apiVersion: vxmesh/v1\nkind: Node\nmetadata: {{name: box}}\nspec: {{pdc: far, external: {OUTSIDE}, foreign: \
         {{publicKey: \"{public}\", endpoint: \"{OUTSIDE}:51820\", tunnelAddress: {TUNNEL_ADDRESS}}}}}\n---\n\
         apiVersion: vxmesh/v1\nkind: Port\nmetadata: {{name: box-g1}}\nspec: {{network: blue, node: box, mac: \
         \"{GUEST_MAC}\", ips: [{GUEST}]}}\n"
    );
    lab.admin_with(&["apply", "-f", "-"], &text);
}

/// What `wg setconf` understands of a `wg-quick` file, with the machine's own key in it.
fn for_wg(text: &str, secret: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("Address") && !line.starts_with("MTU")) {
        match line.starts_with("PrivateKey") {
            true => writeln!(out, "PrivateKey = {secret}").unwrap(),
            false => writeln!(out, "{line}").unwrap(),
        }
    }
    out
}

impl Box {
    fn plug(lab: &Lab, config: &serde_json::Value, secret: &str) -> Self {
        let layout = lab.layout();
        let host = Space::new("box");
        let cable = format!("link add box.ext type veth peer name ext0 netns {}", host.name());
        shell::ip_batch(&layout.net, &[cable, "link set box.ext master wire-internet up".into()]).unwrap();
        host.sh(&format!("ip address add {OUTSIDE}/16 dev ext0; ip link set ext0 up"));
        // The control socket's name is the machine's, not the namespace's.
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let interface = format!("wg{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let wireguard = host.start(host.command("wireguard-go").args(["-f", &interface]));
        host.wait_for_wireguard_go(&interface);
        let mut setconf = shell::command(Some(host.name()), "wg");
        setconf.args(["setconf", &interface, "/dev/stdin"]);
        shell::run_with_input(setconf, &for_wg(config["wireguard"].as_str().unwrap(), secret)).unwrap();
        host.sh(&format!(
            "ip address add {TUNNEL_ADDRESS}/32 dev {interface}; ip link set {interface} mtu 1440 up\n\
             for ip in $(wg show {interface} allowed-ips | cut -f2); do ip route add $ip dev {interface}; done\n\
             ip link add br0 type bridge; ip link set br0 up\n{}\nip link set vv10.12b5 master br0",
            config["commands"].as_str().unwrap()
        ));
        let guest = harness::guest(&host, "br0", "g1", GUEST_MAC, &[&format!("{GUEST}/24")]);
        let mtu = host.sh("cat /sys/class/net/vv10.12b5/mtu");
        guest.sh(&format!("ip link set eth0 mtu {}", mtu.trim()));
        Self { host, guest, interface, _wireguard: wireguard }
    }

    fn answers(&self, ip: &str) -> bool {
        self.guest.holds(&format!("ping -n -c 1 -W 0.2 {ip}"))
    }
}

#[test]
fn a_foreign_wireguard_box_is_on_the_network() {
    if !can_run() || !has_wireguard_go() {
        return;
    }
    // The box has one lane whatever the nodes have, and takes none from them.
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1", "--lanes", "2"]);
    let watches = lab.watch();
    let (secret, public) = secret_key();
    declare(&lab, &public);
    let config: serde_json::Value =
        serde_json::from_str(&lab.admin(&["node", "foreign", "box", "-o", "json"])).unwrap();
    let foreign = Box::plug(&lab, &config, &secret);
    for node in ["a-1", "b-1"] {
        let (namespace, ip) = lab.guest(node);
        let what = format!("the foreign guest reaches that of {node}");
        wait_until(&what, Duration::from_secs(15), || foreign.answers(&ip.to_string()));
        let back = traffic::ping(&namespace, GUEST.parse().unwrap(), 5, 20, 56).unwrap();
        assert_eq!(back.received, 5, "{node}: {}", foreign.host.sh(&format!("wg show {}", foreign.interface)));
        let there = traffic::transfer_to(foreign.guest.name(), &namespace, ip, Amount::Bytes(10_000_000)).unwrap();
        assert!(there.intact(), "to {node}");
        let here =
            traffic::transfer_to(&namespace, foreign.guest.name(), GUEST.parse().unwrap(), Amount::Bytes(10_000_000));
        assert!(here.unwrap().intact(), "from {node}");
    }
    let status = daemons::status(&lab.home, lab.layout().node("a-1").unwrap()).unwrap();
    let lanes = status.peers.iter().map(|peer| {
        let lanes = &peer.tunnel.as_ref().unwrap().lanes;
        (peer.node.to_string(), lanes.iter().map(|lane| (lane.lane, lane.up)).collect::<Vec<_>>())
    });
    let wanted = [("b-1".to_owned(), vec![(0, true), (1, true)]), ("box".to_owned(), vec![(0, true)])];
    assert_eq!(lanes.collect::<Vec<_>>(), wanted);
    assert_eq!(status.drops.get("lane-busy"), None, "{:?}", status.drops);
    assert_nothing_in_clear(watches);
}

#[test]
fn what_is_too_large_crosses_in_fragments_that_each_end_puts_together() {
    if !can_run() || !has_wireguard_go() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    let watches = lab.watch();
    let (secret, public) = secret_key();
    declare(&lab, &public);
    let config: serde_json::Value =
        serde_json::from_str(&lab.admin(&["node", "foreign", "box", "-o", "json"])).unwrap();
    let foreign = Box::plug(&lab, &config, &secret);
    let (_, ip) = lab.guest("a-1");
    wait_until("the foreign guest reaches that of a-1", Duration::from_secs(15), || foreign.answers(&ip.to_string()));
    // Its kernel tells a guest whose packets may not be cut; the others it cuts where they leave by WireGuard.
    foreign.host.sh("ip link set vv10.12b5 mtu 1500; ip link set g1 mtu 1500");
    foreign.guest.sh("ip link set eth0 mtu 1500");
    let node = lab.layout().node("a-1").unwrap().clone();
    for (namespace, device) in [(&node.namespace, node.guests[0].device.as_str()), (&node.guests[0].namespace, "eth0")]
    {
        shell::ip(&["-n", namespace, "link", "set", device, "mtu", "1500"]).unwrap();
    }
    // A packet of 1500 bytes there, and an answer of 1500 bytes back.
    let ping = format!("ping -n -c 10 -i 0.1 -W 2 -M dont -s 1472 {ip}");
    let said = foreign.guest.sh(&ping);
    assert!(said.contains(" 0% packet loss"), "{said}");
    let put_together = foreign.host.sh("nstat -az IpReasmOKs | tail -1");
    assert!(!put_together.contains(" 0 "), "{put_together}");
    let there = traffic::transfer_to(foreign.guest.name(), &node.guests[0].namespace, ip, Amount::Bytes(3_000_000));
    assert!(there.unwrap().intact());
    assert_nothing_in_clear(watches);
}
