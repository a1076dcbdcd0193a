#!/usr/bin/env bash
# What a frame costs in two builds, on a machine that is not quiet: shares of CPU samples, not seconds.
#
# usage: benches/cost.sh OLD NEW [ROUNDS]    (root; folders as for builds.sh; needs perf; about 2 minutes a round, default 2 rounds)
#   LAB      folder of the lab, as for peers.sh
#
# A machine that others use is now fast and now slow, by 20 % and more, and both builds' seconds with it. What both do alike for each frame (sockets,
# copies, routes, ciphers) is slower then by as much. So all that runs is divided by that part of it, of the same samples: OLD divided by NEW is the ratio.
# A ratio above 1 means that NEW is better. It says nothing of what waits and wakes: builds.sh measures rates.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { sed -n 4,9p "$0" >&2; exit 2; }
OLD=$(cd "$1" && pwd) NEW=$(cd "$2" && pwd) ROUNDS=${3:-2}
command -v perf >/dev/null || { echo "benches/cost.sh: 'perf' is missing (apt-get install linux-perf)" >&2; exit 6; }
. benches/setup.sh
"$LAB/lab.sh" up; "$LAB/lab.sh" wire
for block in ${BLOCKS:-tunnel plain}; do
  for round in $(seq "$ROUNDS"); do
    for turn in old.1 new.2 new.3 old.4; do
      build=${turn%.*}
      VX_BIN=$OLD; [ "$build" = old ] || VX_BIN=$NEW
      export VX_BIN VX_MODE=$block
      "$LAB/peers/vxmesh.sh" up >/dev/null
      python3 benches/cost.py sample "$WORK" "$block" "$round.$turn"
      "$LAB/peers/vxmesh.sh" down >/dev/null
    done
  done
done
python3 benches/cost.py report "$WORK"
