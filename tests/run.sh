#!/bin/bash
# Installs what the tests need on Debian, builds, runs all of them. Root: the tests on the real kernel make network
# namespaces; without it they say SKIPPED and prove nothing.
#
# usage: tests/run.sh [arguments of `cargo test`, for example a test's name]
set -eu
cd "$(dirname "$0")/.."
. tests/need.sh

need ip:iproute2 bridge:iproute2 nft:nftables ping:iputils-ping wg:wireguard-tools wireguard-go:wireguard-go \
  ethtool:ethtool tcpdump:tcpdump cc:gcc busybox:busybox dhclient:isc-dhcp-client dhcpcd:dhcpcd-base \
  systemd-analyze:systemd keepalived:keepalived dnsmasq:dnsmasq-base iptables:iptables arping:iputils-arping python3:python3 \
  /usr/lib/python3/dist-packages/zeroconf:python3-zeroconf
need_cargo
if [ "$(id -u)" != 0 ]; then
  echo "tests/run.sh: not root: every test that needs the real kernel will be SKIPPED" >&2
fi
cargo build --bins
# Tests on the real kernel wait most of the time: for what a daemon or a guest does next.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) * 2 + 1))}"
exec cargo test --no-fail-fast "$@"
