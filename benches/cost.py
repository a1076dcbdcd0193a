"""Samples of one build under load, and what they come to; see cost.sh."""

import glob
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.environ["LAB"])
import measure  # noqa: E402

# What both builds do alike for each frame, by the begin of the symbol: sockets, copies, buffers, routes, veth, vxlan, TCP, ciphers.
ALIKE = re.compile(
    r"(udp_|__udp|udp4|vxlan|veth|ip_append|__ip_append|__ip_make|ip_make|ip_send|sock_|__sock|sk_|alloc_skb|__alloc_skb|kmem_cache|kfree"
    r"|skb_|__skb|eth_type|_copy_|__check_object|__virt|tcp_|__tcp|fib_|ip_route|ip_rcv|ip_local|dev_gro|inet_gro|tcp4_|process_backlog"
    r"|__sys_|do_syscall|_aesni|aesni|aes|gcm|ghash)"
)
# Idling, and what it takes to wake somebody: how often a receiver sleeps depends on how the load meets, not on what a frame costs, and in a virtual machine
# waking is dear. With it the same build differs from itself by 12 %, without by 3 %. builds.sh has it: it measures rates.
IDLE = re.compile(r"idle|halt|_raw_spin_unlock_irqrestore|finish_task_switch|handle_softirqs")
LINE = re.compile(r"\s*([\d.]+)%\s+(.{1,16}?)\s+\[(.)\]\s+(\S+)")
SECONDS = 4


def sample(folder, block, turn):
    """One sitting of 64-byte datagrams at a fixed rate, and one of TCP."""
    for _ in range(15):
        if measure.ns("gA", "ping", "-c1", "-W1", measure.GB_ADDR).returncode == 0:
            break
    time.sleep(3)
    daemons = measure.pids()
    for load in ("udp", "tcp"):
        out = f"{folder}/cost.{block}.{load}.{turn}"
        command = ["perf", "record", "-q", "-a", "-F", "4000", "-e", "cpu-clock", "-o", out, "--", "sleep", str(SECONDS + 0.6)]
        recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        if load == "tcp":
            measure.iperf([], SECONDS, daemons)
        else:
            measure.udp(64, 30000 if block == "plain" else 60000, SECONDS, daemons)
        recorder.wait()


def cost(file):
    """All that ran but to wake others, divided by what both builds do alike."""
    command = ["perf", "report", "-i", file, "--no-children", "-s", "comm,symbol", "--stdio"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    total = alike = 0.0
    for line in text.splitlines():
        found = LINE.match(line)
        if not found or found[2].strip() == "perf" or IDLE.search(found[4]):
            continue
        total += float(found[1])
        if ALIKE.match(re.sub(r"^aws_lc_\d+_\d+_\d+_", "", found[4])):
            alike += float(found[1])
    return total / alike


def report(folder):
    """Medians and their ratios; exits 9 where one is below 0.97."""
    low = []
    print("| what | OLD | NEW | OLD divided by NEW |\n|---|---|---|---|")
    for block in ("plain", "tunnel"):
        for load in ("udp", "tcp"):
            files = glob.glob(f"{folder}/cost.{block}.{load}.*")
            if not files:
                continue
            old, new = ([cost(file) for file in files if f".{build}." in file] for build in ("old", "new"))
            ratio = statistics.median(old) / statistics.median(new)
            spread = [f"{statistics.median(of):.3f} [{min(of):.3f} - {max(of):.3f}]" for of in (old, new)]
            print(f"| {block}, {load} | {spread[0]} | {spread[1]} | {ratio:.3f} |")
            if ratio < 0.97:
                low.append(f"{block}, {load}")
    if low:
        print("\nBelow 0.97: " + "; ".join(low))
        sys.exit(9)


if __name__ == "__main__":
    {"sample": sample, "report": report}[sys.argv[1]](*sys.argv[2:])
