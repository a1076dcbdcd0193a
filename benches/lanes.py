#!/usr/bin/env python3
"""lanes.py OUT.jsonl ROUNDS SECONDS LANES ...: four TCP flows over vxmesh with so many lanes, in turn; CPU time of every lane's thread.

Uses measure.py of the lab in $LAB, which must be up. `even` is the CPU time of the least busy lane of the sender divided by that of the
busiest. The lab's wire has room for 256 packets and drops what is more, which two lanes at full speed can do to it: those drops are
counted, and whether flows keep their order is measured at a speed that the wire carries.
"""
import json, os, sys

LAB = os.environ["LAB"]
sys.path.insert(0, LAB)
import measure  # noqa: E402


def lanes(host):
    """CPU seconds of each lane's thread of the meshd in this namespace, by lane."""
    found = {}
    for pid in measure.sp.run(["ip", "netns", "pids", host], capture_output=True, text=True).stdout.split():
        for task in os.listdir(f"/proc/{pid}/task"):
            name = open(f"/proc/{pid}/task/{task}/comm").read().strip()
            if name.startswith("lane-"):
                stat = open(f"/proc/{pid}/task/{task}/stat").read().rsplit(")", 1)[1].split()
                found[name] = (int(stat[11]) + int(stat[12])) / measure.HZ
    return [found[name] for name in sorted(found)]


def counters():
    """Packets that the wire had no room for; segments that a sender saw overtake each other (TcpExtTCPSACKReorder)."""
    drops = 0
    for host, device in (("hA", "uA"), ("hB", "uB")):
        link = json.loads(measure.ns(host, "ip", "-s", "-j", "link", "show", device).stdout)
        drops += link[0]["stats64"]["tx"]["dropped"]
    lines = measure.ns("gA", "cat", "/proc/net/netstat").stdout.splitlines()
    names, values = (line.split() for line in lines[:2])
    return drops, int(values[names.index("TCPSACKReorder")])


def counted(args, seconds):
    before = counters()
    result = measure.iperf(args, seconds, measure.pids())
    result["wire_drops"], result["reordered"] = (b - a for a, b in zip(before, counters()))
    return result


def one(count, number, seconds):
    env = dict(os.environ, VX_LANES=count)
    script = os.path.join(LAB, "peers", "vxmesh.sh")
    run = lambda what: measure.sp.run([script, what], env=env, capture_output=True, text=True, timeout=90)
    result = {"peer": f"{count} lanes" if count != "1" else "1 lane", "round": number}
    run("up")
    try:
        for _ in range(15):
            if measure.ns("gA", "ping", "-c1", "-W1", "10.77.0.2").returncode == 0:
                break
        else:
            return dict(result, error="no ping")
        before = {host: lanes(host) for host in ("hA", "hB")}
        result["p4"] = counted(["-P", "4"], seconds)
        after = {host: lanes(host) for host in ("hA", "hB")}
        result["lanes"] = {host: [a - b for a, b in zip(after[host], before[host])] for host in after}
        used = result["lanes"]["hA"]
        result["even"] = min(used) / max(used) if max(used) else 0
        result["slower"] = counted(["-P", "4", "-b", "500M"], seconds)
    finally:
        run("down")
    return result


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    for number in range(int(sys.argv[2])):
        for count in sys.argv[4:]:
            result = one(count, number, int(sys.argv[3]))
            with open(sys.argv[1], "a") as out:
                out.write(json.dumps(result) + "\n")
            print(number, json.dumps(result), flush=True)
