#!/usr/bin/env python3
"""builds.py measure OUT.jsonl BLOCK ROUNDS OLD NEW TCP_S UDP_S | report OUT.jsonl: two builds against each other; see builds.sh.

Uses measure.py of the lab in $LAB, which must be up. Datagrams of 64 bytes are sent twice: as fast as the sender can (how many arrive; all of
it shares the machine's CPUs, so that is what a packet costs), and at a rate that every build carries (CPU time of one that arrived).
"""
import json, os, statistics, sys

# Datagrams a second that are far more than the machine can do, and that it can do with ease.
FLOOD, EASY = 2_000_000, {"tunnel": 60_000, "plain": 40_000}
ORDER = {"tunnel": ["old", "new", "new", "old"], "plain": ["old", "new", "vxlan", "new", "old"]}
# Name, path in a result, and whether less is better.
METRICS = {
    "tcp": ("TCP, Mbit/s", ("tcp", "mbps"), False),
    "tcp_daemons": ("TCP, CPU of the daemons, s/GB", ("tcp", "cpu_gb"), True),
    "tcp_machine": ("TCP, CPU of the machine, s/GB", ("tcp", "busy_gb"), True),
    "pps": ("64 bytes, received a second", ("flood", "got"), False),
    "pps_daemons": ("64 bytes, CPU of the daemons, us", ("easy", "cpu_us"), True),
    "pps_machine": ("64 bytes, CPU of the machine, us", ("easy", "busy_us"), True),
}
LEAST = 0.97


def one(measure, block, who, folders, tcp_s, udp_s):
    mode = "plain" if block == "plain" else "tunnel"
    env = dict(os.environ, VX_BIN=folders.get(who, ""), VX_MODE=mode)
    script = os.path.join(os.environ["LAB"], "peers", "vxlan.sh" if who == "vxlan" else "vxmesh.sh")
    run = lambda what: measure.sp.run([script, what], env=env, capture_output=True, text=True, timeout=90)
    result = {}
    up = run("up")
    try:
        for _ in range(15):
            if measure.ns("gA", "ping", "-c1", "-W1", measure.GB_ADDR).returncode == 0:
                break
        else:
            return {"error": "no ping: " + up.stderr[-300:]}
        # Let path probes and the like be over.
        measure.time.sleep(1)
        daemons = measure.pids()
        result["tcp"] = measure.iperf([], tcp_s, daemons)
        result["flood"] = measure.udp(64, FLOOD, udp_s, daemons)
        result["easy"] = measure.udp(64, EASY[block], udp_s, daemons)
    finally:
        run("down")
    return result


def measure_block(out, block, rounds, folders, tcp_s, udp_s):
    sys.path.insert(0, os.environ["LAB"])
    import measure
    for number in range(rounds):
        for place, who in enumerate(ORDER[block]):
            begin = measure.time.time()
            try:
                result = one(measure, block, who, folders, tcp_s, udp_s)
            except Exception as error:  # One run that failed is told in the report and costs its pair.
                result = {"error": repr(error)[:300]}
            line = dict(result, block=block, round=number, place=place, who=who)
            with open(out, "a") as file:
                file.write(json.dumps(line) + "\n")
            shown = {name: value(line, path) for name, (_, path, _) in METRICS.items()}
            shown = " ".join(f"{name} {figure:.4g}" for name, figure in shown.items() if figure is not None)
            print(f"{block} {number} {who:5} {measure.time.time() - begin:5.1f} s  {shown} {line.get('error', '')}", flush=True)


def value(line, path):
    part = line.get(path[0]) or {}
    figure = part.get(path[1])
    return figure if isinstance(figure, (int, float)) and figure > 0 else None


def ratios(pairs, path, less_is_better):
    found = []
    for new, old in pairs:
        a, b = value(old, path), value(new, path)
        if a and b:
            found.append(a / b if less_is_better else b / a)
    return found


def cell(found):
    if not found:
        return "-"
    low, high = min(found), max(found)
    if len(found) >= 4:
        quarters = statistics.quantiles(found, n=4)
        return f"{statistics.median(found):.3f} [{low:.3f} | {quarters[0]:.3f}-{quarters[2]:.3f} | {high:.3f}]"
    return f"{statistics.median(found):.3f} [{low:.3f}-{high:.3f}]"


def report_block(block, lines):
    at = {(line["round"], line["place"]): line for line in lines}
    last = len(ORDER[block]) - 1
    rounds = sorted({line["round"] for line in lines})
    get = lambda number, place: at.get((number, place), {})
    news = [(get(n, 1), get(n, 0)) for n in rounds] + [(get(n, last - 1), get(n, last)) for n in rounds]
    chance = [(get(n, last), get(n, 0)) for n in rounds] + [(get(n + 1, 0), get(n, last)) for n in rounds]
    print(f"## {block}, {len(rounds)} rounds\n")
    hand = block == "plain"
    print("| what | OLD | NEW | NEW against OLD | OLD against OLD |" + (" by hand | NEW against by hand | OLD against by hand |" if hand else ""))
    print("|---|---|---|---|---|" + ("---|---|---|" if hand else ""))
    poor = []
    for name, path, less in METRICS.values():
        middle = lambda who: [v for v in (value(x, path) for x in lines if x["who"] == who) if v]
        if "daemons" in name and hand:
            continue  # The kernel carries the plain path; no daemon takes part.
        figure = lambda who: f"{statistics.median(middle(who)):.4g}" if middle(who) else "-"
        found = ratios(news, path, less)
        row = [name, figure("old"), figure("new"), cell(found), cell(ratios(chance, path, less))]
        if hand:
            beside = lambda places: [(get(n, place), get(n, 2)) for n in rounds for place in places]
            row += [figure("vxlan"), cell(ratios(beside([1, 3]), path, less)), cell(ratios(beside([0, 4]), path, less))]
        print("| " + " | ".join(row) + " |")
        if not found or statistics.median(found) < LEAST:
            poor.append(name)
    lost = [f"round {x['round']}, {x['who']}: {x['error']}" for x in lines if "error" in x]
    print(f"\nBelow {LEAST}: {', '.join(poor) or 'nothing'}." + (f" Failed: {'; '.join(lost)}." if lost else "") + "\n")
    return not poor


def report(out):
    lines = [json.loads(line) for line in open(out)]
    print("Median of paired ratios [least | middle half | most]; above 1: NEW is better.\n")
    good = [report_block(block, [x for x in lines if x["block"] == block]) for block in ORDER if any(x["block"] == block for x in lines)]
    return bool(good) and all(good)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"] and len(sys.argv) == 9:
        out, block, rounds, old, new, tcp_s, udp_s = sys.argv[2:]
        measure_block(out, block, int(rounds), {"old": old, "new": new}, int(tcp_s), float(udp_s))
    elif sys.argv[1:2] == ["report"] and len(sys.argv) == 3:
        sys.exit(0 if report(sys.argv[2]) else 9)
    else:
        sys.exit(__doc__)
