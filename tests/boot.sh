#!/bin/bash
# Boots a real Debian 12 (systemd 252, nothing installed that is not needed) with the units that we ship, in a container with a network
# of its own, and types an installation into it: both daemons confined by unit and by themselves, ready only when what is on disk
# stands, before guests, started again, at home beside a program that has their UDP port. Not in CI: it wants debootstrap, 300 MB of
# packages the first time, and a minute and a half.
#
# usage: tests/boot.sh [FOLDER]     the folder with meshd, meshmgr and meshctl; default: that of the debug build
# The system is kept in target/boot; VXMESH_BOOT says elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/need.sh
if [ "$(id -u)" != 0 ]; then
  echo "tests/boot.sh: SKIPPED: not root"
  exit 0
fi
target=${CARGO_TARGET_DIR:-target}
bin=$(realpath "${1:-$target/debug}")
keep=$(realpath -m "${VXMESH_BOOT:-$target/boot}")
need debootstrap:debootstrap systemd-nspawn:systemd-container nsenter:util-linux

system=$keep/bookworm
if [ ! -d "$system" ]; then
  echo "== Debian 12 into $system"
  mkdir -p "$keep"
  rm -rf "$system.new"
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,nftables,iputils-ping,procps,python3-minimal \
    bookworm "$system.new" >"$keep/debootstrap.log" 2>&1 || { tail "$keep/debootstrap.log" >&2; exit 1; }
  mv "$system.new" "$system"
fi

work=$(mktemp -d)
machine=$work/machine
container="" leader=""
cleanup() {
  [ -z "$container" ] || { kill "$container" 2>/dev/null && wait "$container" 2>/dev/null; } || true
  umount "$machine" 2>/dev/null || true
  umount "$work" 2>/dev/null || true
  rmdir "$work" || true
}
trap cleanup EXIT
mount -t tmpfs -o size=1g none "$work"
mkdir "$work"/{upper,work,machine}
mount -t overlay -o "lowerdir=$system,upperdir=$work/upper,workdir=$work/work" none "$machine"

cp "$bin"/mesh{d,mgr,ctl} "$machine/usr/local/bin/"
install -m 644 examples/systemd/*.service "$machine/etc/systemd/system/"
echo mgmt >"$machine/etc/hostname"
# The network, as ifupdown or networkd would make it.
cat >"$machine/etc/systemd/system/underlay.service" <<'END'
[Unit]
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'ip link add eth0 type veth peer name wire; ip link set wire up; ip link set eth0 up; ip address add 10.1.0.1/24 dev eth0; ip route add default via 10.1.0.254'
[Install]
WantedBy=network-online.target
END
# What starts guests: it knows nothing of us, and looks at what is there when its turn comes.
for guests in libvirtd libvirt-guests pve-guests; do
  cat >"$machine/etc/systemd/system/$guests.service" <<'END'
[Unit]
After=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip -o link show >/run/%N.links; nft list tables >/run/%N.tables'
[Install]
WantedBy=multi-user.target
END
done
chroot "$machine" systemctl --quiet enable underlay libvirtd libvirt-guests pve-guests

fail() {
  echo "boot: $*" >&2
  inside journalctl -b --no-pager -n 40 -u meshd -u meshmgr >&2 || true
  exit 1
}
inside() {
  nsenter -t "$leader" -a env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin HOME=/root "$@" </dev/null
}
# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local limit=$(($(date +%s) + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$limit" ] || fail "waited too long: $what"
    sleep 0.1
  done
}
booted() {
  leader=$(pgrep -P "$container" | head -n 1)
  [ -n "$leader" ] && [[ $(inside systemctl is-system-running) =~ running|degraded ]]
}
# The container's own filter is left out: what is seen below is of the units and of the daemons.
boot() {
  SYSTEMD_SECCOMP=0 systemd-nspawn --quiet --directory="$machine" --register=no --keep-unit --private-network --capability=all \
    --bind=/dev/net/tun --bind-ro=/sys/module --boot --console=pipe >"$work/console" 2>&1 </dev/null &
  container=$!
  wait_for 60 "it boots" booted
}
halt() {
  kill "$container"
  wait "$container" 2>/dev/null || true
  container=""
}
main_pid() { inside systemctl show --value -p MainPID "$1"; }
# What a daemon said of being less confined than it should be; a kernel without Landlock is no fault of the unit.
loud() {
  inside journalctl -b --no-pager -o cat -u "$1" | grep -E "M0639|less confined|not confined|may (make|open|be dumped|gain)" |
    grep -v "has no Landlock" || true
}

# confined UNIT CAPABILITIES: every thread is.
confined() {
  local pid task line
  pid=$(main_pid "$1")
  [ "$pid" != 0 ] || fail "$1 does not run"
  for task in $(inside ls "/proc/$pid/task"); do
    line=$(inside cat "/proc/$pid/task/$task/status")
    grep -q "^NoNewPrivs:[[:space:]]*1$" <<<"$line" || fail "$1 may gain rights"
    grep -q "^Seccomp:[[:space:]]*2$" <<<"$line" || fail "$1 has no filter"
    for set in CapInh CapPrm CapEff CapAmb; do
      grep -q "^$set:[[:space:]]*0*$2$" <<<"$line" || fail "$1: $(grep "^$set" <<<"$line")"
    done
  done
  [ -z "$(loud "$1")" ] || fail "$1: $(loud "$1")"
  # That which the daemon adds to the unit's: with none of its own, all threads had equally many, and as many as a shell there.
  local most
  most=$(inside sh -c "grep -h Seccomp_filters /proc/$pid/task/*/status" | awk '{print $2}' | sort -n | tail -n 1)
  echo "$1: $(inside systemd-analyze --no-pager security "$1" | tail -n 1 | sed 's/^[^:]*: //'), up to $most filters a thread"
}

echo "== a boot without us"
boot
inside systemd-analyze --version | head -n 1
[ "$(inside sh -c 'cat /etc/protocols 2>/dev/null | wc -l')" = 0 ] || echo "boot: this Debian has /etc/protocols; a small one has not"

echo "== the README's installation"
inside sh -euc '
  systemctl start network-online.target
  mkdir -p /etc/vxmesh
  echo "addresses = [\"10.1.0.1:7443\"]" >/etc/vxmesh/meshmgr.toml
  meshmgr init
  mv /etc/vxmesh/keys/admin /etc/vxmesh/admin
  useradd --system --no-create-home --shell /usr/sbin/nologin vxmesh
  chown -R vxmesh: /etc/vxmesh/keys /var/lib/vxmesh
  systemctl daemon-reload
  systemctl enable --now meshmgr
  # No wait: a unit that has started serves.
  meshctl pdc create fra --intra plain --underlay 10.1.0.0/24
  meshctl overlay create default
  meshctl network create blue --overlay default --vni 10 --cidr 192.168.10.0/24
  meshctl token create --pdc fra --ttl 1h >/root/token
  meshctl join --name fra-1 --token-file /root/token
  meshctl port create web --network blue --node fra-1 --mac 52:54:00:00:00:01 --ip 192.168.10.11
' >"$work/typed" 2>&1 || { cat "$work/typed" >&2; fail "the installation"; }
healthy() { [[ $(inside meshctl status) = *"all is well"* ]] && inside ip link show dev vb10.12b5; }
wait_for 30 "all is well" healthy
confined meshd 3000
confined meshmgr 0
if inside systemd-analyze verify meshd.service meshmgr.service 2>&1 | grep -iE "cycle|denied|not found"; then fail "the units"; fi

echo "== a boot: the plan stands before guests, without management"
inside systemctl --quiet disable meshmgr
halt
boot
for guests in libvirtd libvirt-guests pve-guests; do
  grep -q "vb10.12b5" "$machine/run/$guests.links" 2>/dev/null || inside grep -q vb10.12b5 "/run/$guests.links" || fail "$guests came before the bridge"
  inside grep -q "bridge vxmesh_guests" "/run/$guests.tables" || fail "$guests came before the filter"
done
inside systemctl --quiet enable --now meshmgr
wait_for 30 "all is well after a boot" healthy
confined meshd 3000

echo "== a start is over when the plan stands"
inside systemctl stop meshd
inside sh -ec 'ip link delete vb10.12b5; nft flush ruleset; systemctl start meshd; ip link show dev vb10.12b5 >/dev/null; nft list table bridge vxmesh_guests >/dev/null' ||
  fail "systemctl start came back before the plan stood"

echo "== killed: it is there again, and the bridge is the same"
before=$(inside cat /sys/class/net/vb10.12b5/ifindex)
killed=$(main_pid meshd)
inside kill -KILL "$killed"
again() { [ "$(main_pid meshd)" != "$killed" ] && inside systemctl is-active --quiet meshd; }
wait_for 20 "meshd runs again" again
[ "$(inside cat /sys/class/net/vb10.12b5/ifindex)" = "$before" ] || fail "the bridge was made anew"
killed=$(main_pid meshmgr)
inside kill -KILL "$killed"
again() { [ "$(main_pid meshmgr)" != "$killed" ] && inside meshctl node list; }
wait_for 20 "meshmgr serves again" again
wait_for 40 "all is well after that" healthy

echo "== the UDP port is somebody else's for a minute"
inside systemctl stop meshd
inside sh -c 'exec setsid python3 -c "
import socket, time
other = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
other.bind((\"::\", 51820))
open(\"/run/taken\", \"w\")
time.sleep(60)" >/dev/null 2>&1 &'
wait_for 10 "the port is taken" inside test -e /run/taken
inside systemctl start meshd || fail "it does not start without its port"
started=$(date +%s)
inside ip link show dev vb10.12b5 >/dev/null || fail "no bridge without the port"
said=$(inside meshctl status || true)
for words in M0636 "UDP port 51820 is taken" "ss -lunp"; do
  [[ $said = *"$words"* ]] || fail "it does not say '$words': $said"
done
wait_for 90 "it takes the port by itself" healthy
echo "all is well after $(($(date +%s) - started)) s, restarts: $(inside systemctl show --value -p NRestarts meshd)"
inside ss -lunp | grep -q ':51820.*meshd' || fail "another has the port"

echo "== what cannot start is tried again, and says why"
inside sh -c 'echo "colour = 1" >>/etc/vxmesh/meshd.toml; systemctl restart meshd' >/dev/null 2>&1 && fail "it starts with a wrong file"
sleep 10
echo "starts within 10 s: $(inside systemctl show --value -p NRestarts meshd)"
inside journalctl -b --no-pager -o cat -n 30 -u meshd | grep -q "colour" || fail "nobody says why"
inside sed -i '/^colour/d' /etc/vxmesh/meshd.toml
wait_for 70 "it runs when its file is right again" healthy
echo "== boot: done"
