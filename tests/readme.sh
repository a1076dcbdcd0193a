#!/bin/bash
# Types the README's first deployment into three machines made of namespaces, and fails with the first command that does. What a
# namespace does not have is stood in for: `systemctl` starts what the unit says with the unit's capabilities, `virsh` makes a guest
# of a veth. Everything is in one process namespace, so nothing is left behind, however this ends.
#
# usage: tests/readme.sh [--slips] [FOLDER]
#   --slips   types mistakes between the blocks too, and what root may do after the `chown` (tests/readme-slips.sh)
#   FOLDER    with meshd, meshmgr and meshctl; default: that of the debug build
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/need.sh
if [ "$(id -u)" != 0 ]; then
  echo "tests/readme.sh: SKIPPED: not root"
  exit 0
fi
if [ -z "${VXMESH_README:-}" ]; then
  need ip:iproute2 nft:nftables ping:iputils-ping useradd:passwd setpriv:util-linux nsenter:util-linux cc:gcc
  VXMESH_README=1 exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
slips=""
[ "${1:-}" != --slips ] || { slips=yes; shift; }
bin=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/debug}")
repo=$PWD

# What stands in for programs that need a booted machine. Runs on the machine.
stands_in() {
  systemctl() {
    [ "$1" = daemon-reload ] && return
    local unit=/etc/systemd/system/${!#}.service
    value() { sed -n "s/^$1=//p" "$unit"; }
    local user caps=""
    user=$(value User)
    local cap
    for cap in $(value CapabilityBoundingSet); do cap=${cap#CAP_}; caps+=,+${cap,,}; done
    # shellcheck disable=SC2046
    setpriv --no-new-privs --bounding-set "-all$caps" --inh-caps "-all$caps" --ambient-caps "-all$caps" \
      ${user:+--reuid "$user" --regid "$user" --clear-groups} $(value ExecStart) >>/run/log 2>&1 </dev/null &
    wait_for meshctl status || { cat /run/log >&2; return 1; }
  }
  # Where systemd runs, `join` starts the unit.
  meshctl() {
    command meshctl "$@" || return
    [ "$1" != join ] || systemctl enable --now meshd
  }
  virsh() {
    wait_for ip link show dev "$4"
    unshare --net sleep infinity >/dev/null 2>&1 &
    echo $! >"/run/machines/$2"
    wait_for guest_is_alone "$!"
    ip link add "${10}" type veth peer name eth0 netns $! address "$8"
    ip link set "${10}" master "$4" up
  }
  guest_is_alone() { [ "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/$1/ns/net")" ]; }
  wait_for() {
    local try
    for try in $(seq 100); do
      "$@" >/dev/null 2>&1 && return
      sleep 0.1
    done
    echo "readme: waited 10 s for: $*" >&2
    return 1
  }
}
eval "$(declare -f stands_in)"
stands_in

# machine NAME ADDRESS ROUTER: one interface, and folders of its own where the README writes.
machine() {
  unshare --net --mount bash -c '
    set -eu
    mount -t tmpfs none /run/own
    mkdir -p /run/own/{etc,lib}/{upper,work} /run/own/home
    mount -t overlay -o lowerdir=/etc,upperdir=/run/own/etc/upper,workdir=/run/own/etc/work none /etc
    mount -t overlay -o lowerdir=/var/lib,upperdir=/run/own/lib/upper,workdir=/run/own/lib/work none /var/lib
    # These machines are fresh, whatever is on the real one: both folders are overlays by now.
    rm -rf /etc/vxmesh /var/lib/vxmesh
    mkdir /run/own/vxmesh /run/vxmesh 2>/dev/null || true
    mount --bind /run/own/vxmesh /run/vxmesh
    touch /run/ready.'"$1"'
    exec sleep infinity' &
  echo $! >"/run/machines/$1"
  wait_for test -e "/run/ready.$1"
  ip link add "$1" type veth peer name eth0 netns $!
  ip address add "$3/24" dev "$1"
  ip link set "$1" up
  nsenter -t $! -n sh -ec "ip link set lo up; ip address add $2/24 dev eth0; ip link set eth0 up; ip route add default via $3"
}

# on MACHINE TEXT: runs a block of the README there.
on() {
  echo "== $1"
  nsenter -t "$(cat "/run/machines/$1")" --net --mount env HOME=/run/own/home bash -c "
    $(declare -f stands_in); stands_in; cd '$repo'; set -euEo pipefail; trap 'echo \"readme: failed on $1: \$BASH_COMMAND\" >&2' ERR
    $2"
}

# Everything that is written here is gone with the namespace.
mount -t tmpfs none /run
mkdir /run/machines /run/own /run/vxmesh
touch /run/tokens
mount --bind "$bin" /usr/local/bin
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
machine mgmt 192.0.2.1 192.0.2.254
machine fra-1 198.51.100.1 198.51.100.254
machine muc-1 203.0.113.1 203.0.113.254

# What is typed beside the README, by how many of its blocks have been typed.
after() { :; }
[ -z "$slips" ] || . tests/readme-slips.sh

blocks=0
after 0
while IFS= read -r line; do
  line=${line#   }
  case $line in
    '```sh '*) where=${line#'```sh '} block="" ;;
    '```')
      if [ -n "${where:-}" ]; then
        # A token that a block prints is typed at the next prompt for one.
        case $block in *'meshctl join'*) sed -n 1p /run/tokens >/run/token; sed -i 1d /run/tokens ;; *) : >/run/token ;; esac
        on "$where" "$block" </run/token | tee /run/said
        { grep '^vxm1' /run/said || true; } >>/run/tokens
        blocks=$((blocks + 1))
        after "$blocks"
      fi
      where="" ;;
    *) block+=$line$'\n' ;;
  esac
done <README.md
[ "$blocks" -ge 9 ] || { echo "readme: only $blocks blocks are marked with a machine" >&2; exit 1; }
echo "readme: $blocks blocks, all true"
