#!/usr/bin/env bash
# vxmesh as one more peer of the lab: management in a namespace of its own, two nodes, one network, the lab's two guests in it.
#
#   VX_MODE    tunnel (default): the hosts are two PDCs; plain: they are one PDC, and the kernel carries VXLAN
#   VX_SUITE   auto (default: aesgcm where the CPU has AES instructions) or chacha
#   VX_LANES   lanes of each node (default 1)
#   VX_BIN     folder of the programs (default: this checkout's target/release)
#   LAB        folder of lab.sh
. "${LAB:?folder of lab.sh}/lab.sh"
HERE=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${VX_BIN:-$HERE/target/release}
MODE=${VX_MODE:-tunnel}; SUITE=${VX_SUITE:-auto}; LANES=${VX_LANES:-1}
D=$RUN/vxmesh; MGMT=10.98.1.1:7443
MC() { ip netns exec hM "$BIN/meshctl" --management "$MGMT" --credential "$D/mgmt/keys/admin" "$@"; }

# hM reaches both hosts by a wire of its own to each.
wires() {
  ip netns add hM; ip netns exec hM ip link set lo up
  local n=1 h
  for h in hA hB; do
    ip link add "m$n" netns hM type veth peer name m0 netns "$h"
    ip netns exec hM ip addr add "10.98.$n.1/24" dev "m$n"; ip netns exec hM ip link set "m$n" up
    ip netns exec "$h" ip addr add "10.98.$n.2/24" dev m0; ip netns exec "$h" ip link set m0 up
    n=$((n + 1))
  done
}

manifest() {
  local pa=pa pb=pb under="[]" intra=encrypted
  [ "$MODE" = plain ] && { pb=pa; under="[10.99.0.0/24]"; intra=plain; }
  for p in $(printf '%s\n' $pa $pb | sort -u); do
    printf -- '---\napiVersion: vxmesh/v1\nkind: Pdc\nmetadata: {name: %s}\nspec: {intra: %s, underlay: %s}\n' "$p" "$intra" "$under"
  done
  cat <<Y
---
apiVersion: vxmesh/v1
kind: Overlay
metadata: {name: default}
spec: {udpPort: 4789}
---
apiVersion: vxmesh/v1
kind: Network
metadata: {name: bench}
spec: {overlay: default, vni: 77, cidr: [10.77.0.0/24], mtu: {fixed: $GMTU}}
---
apiVersion: vxmesh/v1
kind: Node
metadata: {name: na}
spec: {pdc: $pa}
---
apiVersion: vxmesh/v1
kind: Node
metadata: {name: nb}
spec: {pdc: $pb}
---
apiVersion: vxmesh/v1
kind: Port
metadata: {name: ga}
spec: {network: bench, node: na, mac: "02:77:00:00:00:01", ips: [10.77.0.1], interface: p0}
---
apiVersion: vxmesh/v1
kind: Port
metadata: {name: gb}
spec: {network: bench, node: nb, mac: "02:77:00:00:00:02", ips: [10.77.0.2], interface: p0}
Y
}

node() { # node NAME NS DEV PDC MGMT-ADDRESS
  local d=$D/$1
  mkdir -m 700 "$d"
  cat >"$d/meshd.toml" <<T
management = ["$5"]
[node]
name = "$1"
[underlay]
admin = "$3"
external = "$3"
lanes = $LANES
suite = "$SUITE"
[paths]
keys = "$d/keys"
state = "$d/state"
run = "$d/run"
T
  MC token create --pdc "$4" --name "$1" --uses 1 --ttl 10m -o json | jq -r .token >"$d/token"
  chmod 600 "$d/token"
  ip netns exec "$2" "$BIN/meshctl" join --no-start --config "$d/meshd.toml" --token-file "$d/token" >/dev/null
  spawn "$2" "$1" "$BIN/meshd" run --config "$d/meshd.toml"
}

bridge_of() { ip netns exec "$1" ip -o link show type bridge | sed -n 's/^[0-9]*: \(vb[^:@]*\).*/\1/p' | head -1; }

up() {
  umask 077; mkdir -p "$D/mgmt"; wires
  cat >"$D/mgmt/meshmgr.toml" <<T
listen = "0.0.0.0:7443"
addresses = ["10.98.1.1:7443", "10.98.2.1:7443"]
[paths]
keys = "$D/mgmt/keys"
state = "$D/mgmt/state"
T
  ip netns exec hM "$BIN/meshmgr" init --config "$D/mgmt/meshmgr.toml" >/dev/null || exit 1
  spawn hM mgmt "$BIN/meshmgr" run --config "$D/mgmt/meshmgr.toml"
  for _ in $(seq 100); do MC get pdc >/dev/null 2>&1 && break; sleep 0.05; done
  manifest | MC apply -f - >/dev/null || exit 1
  local pb=pb; [ "$MODE" = plain ] && pb=pa
  node na hA uA pa 10.98.1.1:7443
  node nb hB uB "$pb" 10.98.2.1:7443
  local h b
  for h in hA hB; do
    for _ in $(seq 200); do b=$(bridge_of $h); [ -n "$b" ] && break; sleep 0.05; done
    ip netns exec $h ip link set p0 master "$b"
  done
}

down() {
  reap
  local h dev
  for h in hA hB; do
    ip netns exec $h ip link set p0 master br0
    for dev in $(ip netns exec $h ls /sys/class/net | grep '^v[btv][0-9a-f]'); do ip netns exec $h ip link del "$dev" 2>/dev/null; done
    ip netns exec $h nft flush ruleset
  done
  ip netns del hM
  rm -rf "$D"
}

case $1 in
  up) up ;;
  down) down ;;
  version) "$BIN/meshd" --version ;;
  *) sed -n 2,9p "$0"; exit 2 ;;
esac
