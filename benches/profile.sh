#!/usr/bin/env bash
# What one TCP stream across PDCs costs, by step: CPU time of both lanes' threads (perf, cpu-clock) divided by the tunnel's datagrams.
#
# usage: benches/profile.sh [SECONDS]          (root; perf, iperf3, jq)
#   LAB      folder of the lab (default: ../shared/bench beside this checkout)
#   VX_SUITE, VX_BIN: as in benches/peers/vxmesh.sh
set -eu
cd "$(dirname "$0")/.."
FOR=${1:-6}
SOURCE=$(cd "${LAB:-../shared/bench}" && pwd)
WORK=$(mktemp -d)
export LAB=$SOURCE LAB_RUN=$WORK/run VX_BIN=${VX_BIN:-$PWD/target/release}
mkdir "$LAB_RUN"
. "$LAB/lab.sh"
PEER=benches/peers/vxmesh.sh
done_with() { "$PEER" down >/dev/null 2>&1 || true; lab_down; rm -rf "$WORK"; }
trap done_with EXIT
lab_up; lab_offload off
"$PEER" up >/dev/null 2>&1
for _ in $(seq 50); do GA ping -c1 -W1 10.77.0.2 >/dev/null 2>&1 && break; done
spawn gB iperf3 iperf3 -s -B 10.77.0.2; sleep 0.3
lane() { local p; for p in $(ip netns pids "$1"); do [ "$(cat /proc/"$p"/comm)" = meshd ] || continue; grep -lx lane-0 /proc/"$p"/task/*/comm | cut -d/ -f5; done; }
sent() { A ip -s -j link show uA | jq '.[0].stats64.tx.packets'; }
profile() { perf record -q -g -e cpu-clock -F 997 -t "$1" -o "$WORK/$2.perf" -- sleep "$FOR" >/dev/null 2>&1; }
before=$(sent)
GA iperf3 -c 10.77.0.2 -t $((FOR + 2)) >"$WORK/iperf" &
LOAD=$!
sleep 1
profile "$(lane hA)" out & profile "$(lane hB)" in
wait $LOAD
# Those of the time that perf looked at.
packets=$((($(sent) - before) * FOR / (FOR + 2)))
for _ in $(seq 50); do pgrep -P $$ perf >/dev/null || break; sleep 0.1; done
grep receiver "$WORK/iperf"
for way in out in; do
  echo "== $way: ns per datagram of CPU time, $packets datagrams"
perf script -i "$WORK/$way.perf" -F ip,sym 2>/dev/null | awk -v n="$packets" '
    # The step of a sample is told by the deepest call that names one.
    function flush() { if (seen) { total++; count[step == "" ? "the rest of the lane" : step]++ } seen = 0; step = "" }
    NF == 0 { flush(); next }
    { seen = 1 }
    $2 ~ /^tun_chr_read_iter/ { step = "read(): TAP" }
    $2 ~ /^tun_chr_write_iter/ { step = "write(): TAP, bridge, guest" }
    $2 ~ /^udpv?6?_sendmsg$/ { step = "sendmsg(): UDP_SEGMENT, IP, wire, the other host receiving" }
    $2 ~ /^udpv?6?_recvmsg$/ { step = "recvmsg(): UDP_GRO" }
    $2 ~ /sys_epoll_wait/ { step = "epoll_wait()" }
    step == "" && $2 ~ /^(asm_)?sysvec_|^asm_common_interrupt/ { step = "interrupts meanwhile" }
    step == "" && $2 ~ /aes_gcm|gcm_|chacha20|poly1305|aead_/ { step = "AEAD" }
    END {
      flush()
      for (s in count) printf "%8.1f  %s\n", count[s] / 997 * 1e9 / n, s
      printf "%8.1f  all\n", total / 997 * 1e9 / n
    }' | sort -rn
done
