#!/bin/bash
# Hostile frames out of a seed, from guests' ports and from a member that was taken, on a lab of two PDCs with two nodes each. Judges are real
# receivers: hosts, guests, sockets, a DHCP client, bridges, another network. A failure is told with the fewest frames that do it.
# The seed is printed; the same seed is the same frames.
#
# usage: tests/hostile.sh [SECONDS] [SEED]     default: 600 s, a seed of its own each time
set -eu
cd "$(dirname "$0")/.."
. tests/need.sh
if [ "$(id -u)" != 0 ]; then
  echo "tests/hostile.sh: SKIPPED: not root"
  exit 0
fi
need ip:iproute2 bridge:iproute2 nft:nftables ping:iputils-ping busybox:busybox
need_cargo
export VXMESH_HOSTILE_SECONDS=${1:-600}
VXMESH_HOSTILE_SEED=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
export VXMESH_HOSTILE_SEED
exec cargo test --test netns -- --exact --nocapture hostile::nobody_believes_what_hostile_guests_and_members_say
