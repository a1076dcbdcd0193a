#!/bin/bash
# Random kills, link cuts, table changes, clock jumps and attacks on a lab of two PDCs with three nodes each, under traffic. When they are over,
# desired = observed on every node, no frame was in clear, none was delivered wrongly, and all guests reach each other.
# The seed is printed; the same seed is the same sequence of events. Logs of a failed run stay in the folder that it names.
#
# usage: tests/chaos.sh [SECONDS] [SEED]     default: 600 s, a seed of its own each time
set -eu
cd "$(dirname "$0")/.."
. tests/need.sh
if [ "$(id -u)" != 0 ]; then
  echo "tests/chaos.sh: SKIPPED: not root"
  exit 0
fi
need ip:iproute2 bridge:iproute2 nft:nftables cc:gcc
need_cargo
export VXMESH_CHAOS_SECONDS=${1:-600}
VXMESH_CHAOS_SEED=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
export VXMESH_CHAOS_SEED
exec cargo test --test netns -- --ignored --exact --nocapture chaos::after_chaos_everything_is_as_before_and_nothing_went_astray
