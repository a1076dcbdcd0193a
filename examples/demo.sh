#!/bin/bash
# On a fresh Debian 12: installs what is missing, builds, and runs a whole mesh on this machine: two PDCs of two nodes, one
# guest a node, in network namespaces. Nothing outside of them is changed, and everything is removed at the end.
#
# usage: examples/demo.sh [--keep] [options of `meshctl lab demo`]
#   --keep   leave the lab up; remove it with: target/release/meshctl lab down
set -eu
cd "$(dirname "$0")/.."
. tests/need.sh

if [ "$(id -u)" != 0 ]; then
  echo "examples/demo.sh: run it as root: it makes network namespaces" >&2
  exit 6
fi
need ip:iproute2 bridge:iproute2 nft:nftables ping:iputils-ping cc:gcc
need_cargo
echo "building (the first time takes some minutes)" >&2
cargo build --release --bins
exec target/release/meshctl lab demo "$@"
