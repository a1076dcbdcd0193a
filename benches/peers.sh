#!/usr/bin/env bash
# vxmesh beside every installed peer, guest to guest, on one machine in one sitting. Writes docs/benchmarks.md.
#
# usage: benches/peers.sh [ROUNDS]            (root; about 4 minutes a round with the peers below)
#   LAB      folder of the lab: see setup.sh
#   PEERS    peers to measure, as measure.py takes them (default: all whose program is in PATH)
#   OUT      raw figures, one JSON a line (default: target/peers.jsonl)
#   BLOCKS   blocks to measure (default: all); what OUT holds of the others stays
#   PAGE     the page to write (default: docs/benchmarks.md)
#
#        benches/peers.sh --builds OLD NEW [ROUNDS]     two builds against each other: see builds.sh
#
# Blocks, each of them interleaved (A B C .. A B C ..), every peer started afresh every time:
#   peers      ping, TCP, packet rate, 200 Mbit/s with ping beside: everything that is installed
#   plain      the hosts in one PDC, beside a kernel VXLAN device made by hand
#   lanes      four TCP flows over one lane and over two
#   fragments  UDP of 1500-byte packets over a network of 1418, beside packets that fit
# Everything runs in the lab's own network namespaces, which are removed at the end.
set -eu
cd "$(dirname "$0")/.."
[ "${1:-}" = --builds ] && { shift; exec benches/builds.sh "$@"; }
ROOT=$PWD
ROUNDS=${1:-3}
OUT=${OUT:-$ROOT/target/peers.jsonl}
PAGE=${PAGE:-$ROOT/docs/benchmarks.md}
. benches/setup.sh
export VX_BIN=${VX_BIN:-$ROOT/target/release}

[ -x "$VX_BIN/meshd" ] || cargo build --release --bins

installed() { # PEER:PROGRAM ...: the peers whose program is there
  local pair
  for pair in "$@"; do command -v "${pair##*:}" >/dev/null && printf '%s ' "${pair%:*}"; done
  return 0
}
OURS="vxmesh vxmesh:chacha@VX_SUITE=chacha"
FAST=$(installed vpncloud:vpncloud "vpncloud:chacha@VC_ALGO=CHACHA20:vpncloud" fastd:fastd gotatun:gotatun boringtun:boringtun-cli \
  nebula:nebula wg:wireguard-go openvpn:openvpn tinc:tincd easytier:easytier-core)
PEERS=${PEERS:-"vxlan $OURS $FAST"}

BLOCKS=${BLOCKS:-"peers latency plain lanes fragments"}
mkdir -p "$(dirname "$OUT")"; touch "$OUT"
"$LAB/lab.sh" up; "$LAB/lab.sh" wire
keep() { # keep NAME COMMAND [ARGUMENT ...]: runs a command that measures a block, if it is wanted; its figures take the place of older ones
  local name=$1; shift
  case " $BLOCKS " in *" $name "*) ;; *) return 0 ;; esac
  echo "== $name" >&2
  "$@" >&2
  sed -i "/^{\"block\": \"$name\"/d" "$OUT"
  sed "s/^{/{\"block\": \"$name\", /" "$WORK/$name.jsonl" >>"$OUT"
}
block() { # block NAME TESTS PEER ...
  local name=$1 tests=$2; shift 2
  keep "$name" env TESTS="$tests" TCP_S="${TCP_S:-6}" SHORT_S="${SHORT_S:-6}" STEP_S="${STEP_S:-0.7}" \
    "$LAB/measure.py" "$WORK/$name.jsonl" "$ROUNDS" "$@"
}
# shellcheck disable=SC2086 # the lists are words
block peers ping,tcp,paced,pps $PEERS
# The bars on latency need more pings than the block above has.
block latency ping,paced $OURS $(installed vpncloud:vpncloud "vpncloud:chacha@VC_ALGO=CHACHA20:vpncloud" boringtun:boringtun-cli)
block plain tcp,pps vxlan vxmesh:plain@VX_MODE=plain
keep lanes python3 benches/lanes.py "$WORK/lanes.jsonl" "$ROUNDS" "${TCP_S:-6}" 1 2
keep fragments python3 benches/fragments.py "$WORK/fragments.jsonl" "$ROUNDS"
versions=$(for peer in $PEERS; do
  name=${peer%%[@:]*}
  printf '%s\t%s\n' "$name" "$("$LAB/peers/$name.sh" version 2>/dev/null | head -1)"
done | sort -u)
VERSIONS=$versions python3 benches/report.py "$OUT" >"$PAGE.new"
mv "$PAGE.new" "$PAGE"
echo "wrote $PAGE" >&2
