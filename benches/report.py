#!/usr/bin/env python3
"""report.py OUT.jsonl: docs/benchmarks.md from the raw figures of benches/peers.sh. VERSIONS: lines of "peer<TAB>version"."""
import json, os, platform, re, statistics, sys
from collections import defaultdict

SEGMENT = 1370 - 52  # bytes of TCP payload in a packet of the guests' MTU, with timestamps

blocks = defaultdict(lambda: defaultdict(list))
for line in open(sys.argv[1]):
    run = json.loads(line)
    blocks[run["block"]][run["peer"]].append(run)


def values(runs, path, scale=1.0):
    found = []
    for run in runs:
        for key in path.split("."):
            run = run.get(key) if isinstance(run, dict) else None
        if isinstance(run, (int, float)):
            found.append(run * scale)
    return found


def median(runs, path, scale=1.0):
    found = values(runs, path, scale)
    return statistics.median(found) if found else None


def cell(runs, path, scale=1.0, digits=0):
    found = values(runs, path, scale)
    if not found:
        return "-"
    text = f"{statistics.median(found):.{digits}f}"
    return text if len(found) == 1 else f"{text} [{min(found):.{digits}f}-{max(found):.{digits}f}]"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def rss(runs):
    found = [max(run["rss"]) for run in runs if run.get("rss")]
    return f"{statistics.median(found):.0f}" if found else "-"


def best(block, path, ours_too=False, least=True, scale=1.0):
    """The best peer of others: (median, name)."""
    found = []
    for peer, runs in blocks[block].items():
        if peer.startswith("vxlan") or (peer.startswith("vxmesh") and not ours_too):
            continue
        value = median(runs, path, scale)
        if value is not None:
            found.append((value, peer))
    return (min(found) if least else max(found)) if found else (None, "-")


def bar(rows, what, bar_text, value, other, ratio, holds):
    rows.append([what, bar_text, value, other, ratio, "yes" if holds else "**no**"])


def bars():
    rows = []
    peers, latency, plain = blocks["peers"], blocks["latency"], blocks["plain"]
    top, top_name = best("peers", "tcp.mbps", least=False)
    cost_name = "vpncloud" if "vpncloud" in peers else best("peers", "tcp.cpu_gb")[1]
    cost = median(peers.get(cost_name, []), "tcp.cpu_gb")
    for name, speed, price in (("vxmesh", 5, 6), ("vxmesh:chacha", 4, 4)):
        suite = "`chacha`" if "chacha" in name else "`aesgcm`"
        mine, spent = median(peers[name], "tcp.mbps"), median(peers[name], "tcp.cpu_gb")
        if mine and top:
            bar(rows, f"TCP, one stream, {suite}, Mbit/s", f"{speed} x the best", f"{mine:.0f}", f"{top_name} {top:.0f}",
                f"{mine / top:.1f} x", mine >= speed * top)
        if spent and cost:
            bar(rows, f"CPU of both daemons, {suite}, s/GB", f"1/{price} of {cost_name}", f"{spent:.2f}", f"{cost:.1f}",
                f"1/{cost / spent:.1f}", spent * price <= cost)
    rate, rate_name = best("peers", "pps.ok_pps", least=False)
    mine = median(peers["vxmesh"], "pps.ok_pps")
    if rate and mine:
        bar(rows, "64-byte frames a second, loss under 1 %", "2 x the best", f"{mine / 1e3:.0f} k", f"{rate_name} {rate / 1e3:.0f} k",
            f"{mine / rate:.1f} x", mine >= 2 * rate)
    for what, path in (("ping, idle, median, ms", "ping.med"), ("ping at 200 Mbit/s, p99, ms", "paced.ping.p99")):
        least, name = best("latency", path)
        mine = median(latency["vxmesh"], path)
        if least and mine:
            bar(rows, what, "at most the best", f"{mine:.3f}", f"{name} {least:.3f}", f"{mine / least:.2f} x", mine <= least)
    mine, other = median(plain["vxmesh:plain"], "tcp.mbps"), median(plain["vxlan"], "tcp.mbps")
    if mine and other:
        bar(rows, "plain path, TCP, Mbit/s", "0.97 of kernel VXLAN made by hand", f"{mine:.0f}", f"{other:.0f}", f"{mine / other:.2f}",
            mine >= 0.97 * other)
    size = rss(peers["vxmesh"])
    if size != "-":
        bar(rows, "memory of `meshd` after the load, MiB", "40", size, "", "", float(size) <= 40)
    one, two = blocks["lanes"]["1 lane"], blocks["lanes"]["2 lanes"]
    if values(two, "even"):
        least = median(two, "even")
        bar(rows, "two lanes, four flows: CPU of the lanes", "equal within 20 %", f"{least:.2f}", "1", f"{least:.2f}", least >= 0.8)
        for what, path in (("retransmissions", "slower.retr"), ("segments out of order", "slower.reordered")):
            before, after = median(one, path), median(two, path)
            if before is not None and after is not None:
                # A handful among some hundred thousand segments is what one lane has too, in another round.
                million = median(two, "slower.gb") * 1e9 / SEGMENT / 1e6
                bar(rows, f"two lanes, four flows of 500 Mbit/s: {what} in a million segments", "grow by less than 10",
                    f"{after / million:.0f}", f"one lane {before / million:.0f}", "", (after - before) / million < 10)
    whole, cut = (median(blocks["fragments"][name], "mbps") for name in ("MTU 1418, whole", "MTU 1500, in fragments"))
    if whole and cut:
        bar(rows, "UDP in fragments, Mbit/s", "0.85 of packets that fit", f"{cut:.0f}", f"{whole:.0f}", f"{cut / whole:.2f}", cut >= 0.85 * whole)
    table(["what", "bar", "vxmesh", "against", "ratio", "reached"], rows)


def cpu_model():
    found = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read())
    return found[1] if found else platform.processor()


rounds = max((len(runs) for block in blocks.values() for runs in block.values()), default=0)
print(f"""# Benchmarks

Written by `benches/peers.sh`; do not edit. Guest to guest over two hosts in network namespaces, everything on one machine:
{os.cpu_count()} CPUs ({cpu_model()}), Linux {platform.release()}. All of it shares these CPUs, both hosts' daemons, both guests and the
load tools, so throughput is little more than the inverse of CPU time per GB, and two real hosts carry more. The underlay
behaves as a wire: no packet larger than its MTU of 1500 crosses it, its sender cuts in software, its receiver joins (GRO). The guests' MTU is 1370
for every row. Layer-3 peers have kernel VXLAN on top, as they are used for layer 2 today.

Every peer is started afresh for each of {rounds} rounds, the peers of a block in turn. Cells: median [least-most]. GB = 10^9 bytes of TCP
payload. A shared machine moves by tens of percent between minutes: compare within a table, not between two runs.

## What was to be reached
""")
bars()
print("## Peers\n")
table(["peer", "TCP 1 stream, Mbit/s", "retransmissions", "daemons' CPU, s/GB", "machine's CPU, s/GB", "daemons' CPU at 200 Mbit/s, s/GB", "RSS, MiB"],
      [[p, cell(r, "tcp.mbps"), cell(r, "tcp.retr"), cell(r, "tcp.cpu_gb", 1, 2), cell(r, "tcp.busy_gb", 1, 2),
        cell(r, "paced.cpu_gb", 1, 2), rss(r)] for p, r in blocks["peers"].items()])
table(["peer", "64 B, k/s at 1 % loss", "most received, k/s", "daemons' CPU, us/frame", "ping idle, median ms", "p99", "ping at 200 Mbit/s, median", "p99"],
      [[p, cell(r, "pps.ok_pps", 1e-3), cell(r, "pps.max_pps", 1e-3), cell(r, "pps.ok.cpu_us", 1, 1), cell(r, "ping.med", 1, 3),
        cell(r, "ping.p99", 1, 3), cell(r, "paced.ping.med", 1, 3), cell(r, "paced.ping.p99", 1, 2)] for p, r in blocks["peers"].items()])
print("## Latency, more rounds\n")
table(["peer", "idle, median ms", "p99", "at 200 Mbit/s, median", "p99", "worst"],
      [[p, cell(r, "ping.med", 1, 3), cell(r, "ping.p99", 1, 3), cell(r, "paced.ping.med", 1, 3), cell(r, "paced.ping.p99", 1, 2),
        cell(r, "paced.ping.max", 1, 2)] for p, r in blocks["latency"].items()])
print("## Inside a PDC, beside a kernel VXLAN device made by hand\n")
table(["", "TCP 1 stream, Mbit/s", "machine's CPU, s/GB", "64 B, k/s at 1 % loss"],
      [[p, cell(r, "tcp.mbps"), cell(r, "tcp.busy_gb", 1, 2), cell(r, "pps.ok_pps", 1e-3)] for p, r in blocks["plain"].items()])
if blocks["lanes"]:
    print("""## Lanes: four TCP flows

The wire between the hosts has room for 256 packets (a veth pair's ring) and drops what is more; at full speed two lanes can overrun it.
Whether flows keep their order is told by four flows of 500 Mbit/s, which the wire carries.
""")
    table(["lanes", "Mbit/s", "retransmissions", "wire's drops", "the same at 4 x 500 Mbit/s", "", "segments out of order",
           "daemons' CPU, s/GB", "CPU of the lanes at the sender, s", "at the receiver, s", "least of most"],
          [[p, cell(r, "p4.mbps"), cell(r, "p4.retr"), cell(r, "p4.wire_drops"), cell(r, "slower.retr"), cell(r, "slower.wire_drops"),
            cell(r, "slower.reordered"), cell(r, "p4.cpu_gb", 1, 2),
            *(" / ".join(f"{statistics.median(c):.2f}" for c in zip(*[run["lanes"][h] for run in r])) for h in ("hA", "hB")),
            cell(r, "even", 1, 2)] for p, r in blocks["lanes"].items()])
if blocks["fragments"]:
    print("## Fragments: large UDP from guests whose MTU is larger than the network's\n")
    table(["", "Mbit/s of datagrams at 1 % loss", "most received, Mbit/s", "daemons' CPU, us/datagram"],
          [[p, cell(r, "mbps"), cell(r, "most_mbps"), cell(r, "udp.ok.cpu_us", 1, 1)] for p, r in blocks["fragments"].items()])
errors = [f"- {block}, {p}, round {run['round']}: {run['error']}" for block, peers in blocks.items() for p, runs in peers.items() for run in runs if run.get("error")]
if errors:
    print("## What did not work\n")
    print("\n".join(errors) + "\n")
print("## Versions\n")
table(["peer", "version"], [line.split("\t") for line in os.environ.get("VERSIONS", "").splitlines() if "\t" in line])
print(f"""## Again

    apt-get install iperf3 iputils-ping ethtool jq gcc python3 iproute2 nftables wireguard-go wireguard-tools tinc fastd nebula openvpn openssl
    cargo install vpncloud@2.3.0 gotatun-cli@0.10.2 boringtun-cli@0.7.1     # into PATH
    cargo build --release --bins
    benches/peers.sh {rounds}
    cargo bench --bench stages                                              # each stage alone, ns per packet""")
