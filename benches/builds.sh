#!/usr/bin/env bash
# Two builds of vxmesh against each other, guest to guest, on one machine in one sitting: is the new one as fast as the old?
#
# usage: benches/builds.sh OLD NEW [ROUNDS]    (root; folders with meshd, meshmgr, meshctl; about 2 minutes a round, default 10 rounds)
#   LAB      folder of the lab, as for peers.sh
#   OUT      raw figures, one JSON a line (default: target/builds.jsonl); written anew
#   BLOCKS   blocks to measure (default: tunnel plain)
#   TCP_S, UDP_S   seconds of a TCP flow (default 4) and of each flow of 64-byte datagrams (default 2)
#
# A round is OLD NEW NEW OLD, each started afresh, so that what drifts hits both alike. NEW is divided by the OLD beside it; an OLD is divided by
# the OLD before it, of its round or of the round before: that is what chance alone does. In block plain a kernel VXLAN made by hand runs in
# the middle. Daemons' CPU time is theirs; the machine's is everybody's, so nothing else may run.
# A ratio above 1 means that NEW is better, for CPU time too.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { sed -n 4,14p "$0" >&2; exit 2; }
OLD=$(cd "$1" && pwd) NEW=$(cd "$2" && pwd) ROUNDS=${3:-10}
OUT=${OUT:-$PWD/target/builds.jsonl}
for program in meshd meshmgr meshctl; do
  for folder in "$OLD" "$NEW"; do
    [ -x "$folder/$program" ] || { echo "benches/builds.sh: there is no program $folder/$program" >&2; exit 2; }
  done
done
. benches/setup.sh
mkdir -p "$(dirname "$OUT")"; : >"$OUT"
"$LAB/lab.sh" up; "$LAB/lab.sh" wire
for block in ${BLOCKS:-tunnel plain}; do
  python3 benches/builds.py measure "$OUT" "$block" "$ROUNDS" "$OLD" "$NEW" "${TCP_S:-4}" "${UDP_S:-2}" >&2
done
python3 benches/builds.py report "$OUT"
