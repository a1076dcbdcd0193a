#!/usr/bin/env python3
"""fragments.py OUT.jsonl ROUNDS: what `oversize = "fragment"` costs: UDP of 1472 bytes from guests with an MTU of 1500 on a network of
1418, beside UDP of 1390 bytes from guests that believe in 1418, in turn. Uses measure.py of the lab in $LAB, which must be up."""
import json, os, sys

LAB = os.environ["LAB"]
sys.path.insert(0, LAB)
import measure  # noqa: E402

# Label, MTU of the guests, payload of a datagram.
VARIANTS = (("MTU 1418, whole", 1418, 1390), ("MTU 1500, in fragments", 1500, 1472))


def guests(mtu):
    """Guests' interfaces and the bridge ports behind them."""
    for space, device in (("hA", "p0"), ("hB", "p0"), ("gA", "eth0"), ("gB", "eth0")):
        measure.ns(space, "ip", "link", "set", device, "mtu", mtu, check=True)


def one(label, mtu, size, number):
    env = dict(os.environ, GMTU="1418")
    script = os.path.join(LAB, "peers", "vxmesh.sh")
    run = lambda what: measure.sp.run([script, what], env=env, capture_output=True, text=True, timeout=90)
    result = {"peer": label, "round": number}
    guests(mtu)
    run("up")
    try:
        for _ in range(15):
            if measure.ns("gA", "ping", "-c1", "-W1", "10.77.0.2").returncode == 0:
                break
        else:
            return dict(result, error="no ping")
        # Bytes in datagrams, not in frames, are what a guest wants to move.
        result["udp"] = measure.search(size, measure.pids())
        result["mbps"] = result["udp"]["ok_pps"] * size * 8 / 1e6
        result["most_mbps"] = result["udp"]["max_pps"] * size * 8 / 1e6
    finally:
        run("down")
        guests(1370)
    return result


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for number in range(int(sys.argv[2])):
        for label, mtu, size in VARIANTS:
            result = one(label, mtu, size, number)
            with open(sys.argv[1], "a") as out:
                out.write(json.dumps(result) + "\n")
            print(number, label, result.get("mbps"), result.get("error", ""), flush=True)
