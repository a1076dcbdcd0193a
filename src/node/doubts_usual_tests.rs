use serde_json::{Value, json};

use super::tests::{asked, away, book, dropping, is, meta, older, payload, payload_of};
use super::*;

/// What hosts have that nobody has set up against guests.
const USUAL: [&str; 6] = [
    // ufw
    "-P FORWARD DROP\n-N ufw-before-logging-forward\n-N ufw-before-forward\n-N ufw-after-forward\n-N ufw-after-logging-forward\n-N ufw-reject-forward
     -N ufw-track-forward\n-N ufw-user-forward\n-N ufw-skip-to-policy-forward\n-N ufw-logging-deny\n-A FORWARD -j ufw-before-logging-forward\n-A FORWARD -j ufw-before-forward
     -A FORWARD -j ufw-after-forward\n-A FORWARD -j ufw-after-logging-forward\n-A FORWARD -j ufw-reject-forward\n-A FORWARD -j ufw-track-forward
     -A ufw-after-logging-forward -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix \"[UFW BLOCK] \"
     -A ufw-before-forward -m rt --rt-type 0 -j DROP\n-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
     -A ufw-before-forward -p icmp -m icmp --icmp-type 3 -j ACCEPT\n-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT\n-A ufw-before-forward -j ufw-user-forward
     -A ufw-logging-deny -m conntrack --ctstate INVALID -m limit --limit 3/min --limit-burst 10 -j RETURN\n-A ufw-skip-to-policy-forward -j DROP",
    // fail2ban, and hosts that bar addresses of the world
    "-P FORWARD ACCEPT\n-P INPUT ACCEPT\n-N f2b-sshd\n-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd\n-A INPUT -p tcp -m set --match-set f2b-nginx src -j DROP
     -A f2b-sshd -s 192.0.2.7/32 -j REJECT --reject-with icmp-port-unreachable\n-A f2b-sshd -j RETURN\n-A FORWARD -s 192.0.2.7/32 -j DROP",
    // docker
    "-P FORWARD DROP\n-N DOCKER\n-N DOCKER-USER\n-N DOCKER-ISOLATION-STAGE-1\n-N DOCKER-ISOLATION-STAGE-2\n-A FORWARD -j DOCKER-USER
     -A FORWARD -j DOCKER-ISOLATION-STAGE-1\n-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
     -A FORWARD -o docker0 -j DOCKER\n-A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n-A FORWARD -i docker0 -o docker0 -j ACCEPT
     -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT\n-A DOCKER ! -i docker0 -o docker0 -j DROP
     -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2\n-A DOCKER-ISOLATION-STAGE-1 -j RETURN
     -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP\n-A DOCKER-ISOLATION-STAGE-2 -j RETURN\n-A DOCKER-USER -j RETURN",
    // libvirt's default network
    "-P FORWARD ACCEPT\n-N LIBVIRT_FWI\n-N LIBVIRT_FWO\n-N LIBVIRT_FWX\n-A FORWARD -j LIBVIRT_FWX\n-A FORWARD -j LIBVIRT_FWI\n-A FORWARD -j LIBVIRT_FWO
     -A LIBVIRT_FWI -d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
     -A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable\n-A LIBVIRT_FWO -s 192.168.122.0/24 -i virbr0 -j ACCEPT
     -A LIBVIRT_FWO -i virbr0 -j REJECT --reject-with icmp-port-unreachable\n-A LIBVIRT_FWX -i virbr0 -o virbr0 -j ACCEPT",
    // kube-proxy
    "-P FORWARD ACCEPT\n-N KUBE-FORWARD\n-N KUBE-FIREWALL\n-N KUBE-SERVICES\n-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
     -A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n-A FORWARD -j KUBE-FIREWALL
     -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
     -A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP\n-A KUBE-FORWARD -m conntrack --ctstate INVALID -m nfacct --nfacct-name ct_state_invalid_dropped_pkts -j DROP
     -A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT
     -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m comment --comment \"kube-system/dns has no endpoints\" -m tcp --dport 53 -j REJECT --reject-with icmp-port-unreachable",
    // firewalld with iptables, and what keeps guests of bridges out of docker's way
    "-P FORWARD DROP\n-N FORWARD_direct\n-N FORWARD_IN_ZONES\n-N FWDI_public\n-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT
     -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT\n-A FORWARD -i lo -j ACCEPT\n-A FORWARD -j FORWARD_IN_ZONES
     -A FORWARD -m conntrack --ctstate INVALID -j DROP\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited
     -A FORWARD_IN_ZONES -i eth0 -g FWDI_public\n-A FORWARD_IN_ZONES -g FWDI_public\n-A FWDI_public -p icmp -j ACCEPT",
];

#[test]
fn what_hosts_usually_have_is_in_no_guests_way() {
    for text in USUAL {
        for passage in [away(None), away(Some(false)), away(None).back().unwrap()] {
            assert_eq!(asked(&older("iptables-legacy", text), &passage), [], "{text}");
        }
    }
}

/// Who makes it, and in which table, with the rules of each chain.
type Usual = (&'static str, &'static str, Vec<(&'static str, Value)>);

/// Default installs that are told by `nft`: firewalld, kube-proxy, libvirt, fail2ban.
fn usual_of_nft() -> Vec<Usual> {
    let ct = |states: Value| is(json!({"ct": {"key": "state"}}), states);
    let jump = |to: &str| json!({"jump": {"target": to}});
    let service =
        || json!({"concat": [payload_of("ip", "daddr"), {"meta": {"key": "l4proto"}}, payload_of("th", "dport")]});
    vec![
        (
            "inet",
            "forward",
            vec![
                (
                    "c",
                    json!([
                        [ct(json!({"set": ["established", "related"]})), {"accept": null}],
                        [is(json!({"ct": {"key": "status"}}), json!("dnat")), {"accept": null}],
                        [meta("iifname", "lo"), {"accept": null}],
                        [ct(json!("invalid")), dropping()],
                        [payload("ip6", "daddr", json!({"set": [{"prefix": {"addr": "::", "len": 96}}, {"prefix": {"addr": "2002::", "len": 24}}]})), {"reject": null}],
                        [jump("policies")], [{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}]
                    ]),
                ),
                (
                    "policies",
                    json!([[meta("iifname", "eth0"), {"goto": {"target": "zone"}}], [{"goto": {"target": "zone"}}]]),
                ),
                ("zone", json!([[payload("tcp", "dport", json!(22)), {"accept": null}]])),
            ],
        ),
        (
            "inet",
            "prerouting",
            vec![(
                "c",
                json!([
                    [payload("icmpv6", "type", json!("nd-neighbor-solicit")), {"accept": null}],
                    [meta("nfproto", "ipv6"), is(json!({"fib": {"result": "oif", "flags": ["saddr", "mark", "iif"]}}), json!(false)), dropping()]
                ]),
            )],
        ),
        (
            "ip",
            "forward",
            vec![
                ("c", json!([[ct(json!("new")), jump("checks")]])),
                (
                    "checks",
                    json!([
                        [{"vmap": {"key": service(), "data": "@no-endpoint-services"}}],
                        [payload("ip", "daddr", json!("@cluster-ips")), {"reject": null}],
                        [payload("ip", "daddr", json!({"prefix": {"addr": "10.96.0.0", "len": 12}})), dropping()]
                    ]),
                ),
            ],
        ),
        (
            "ip",
            "forward",
            vec![
                ("c", json!([[jump("guest_cross")], [jump("guest_input")]])),
                ("guest_cross", json!([[meta("iif", "virbr0"), meta("oif", "virbr0"), {"accept": null}]])),
                (
                    "guest_input",
                    json!([[meta("oif", "virbr0"), payload("ip", "daddr", json!("192.168.122.0")), {"accept": null}], [meta("oif", "virbr0"), {"reject": null}]]),
                ),
            ],
        ),
        (
            "inet",
            "input",
            vec![(
                "c",
                json!([[payload("tcp", "dport", json!(22)), payload("ip", "saddr", json!("@addr-set-sshd")), {"reject": null}]]),
            )],
        ),
    ]
}

#[test]
fn what_nft_shows_of_usual_hosts_is_in_no_guests_way() {
    for (family, hook, chains) in usual_of_nft() {
        let book = book(family, hook, false, &chains);
        for passage in [away(None), Passage { open: true, from: None, ..away(None) }, away(None).back().unwrap()] {
            let found: Vec<Doubt> = asked(&book, &passage);
            // What is for all alike is told where our own frames are lost.
            assert_eq!(found, [], "{family} {hook}");
        }
    }
}
