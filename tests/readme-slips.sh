# Part of tests/readme.sh: a newcomer's mistakes between the blocks of the README, each with the words that it gets, and root at work on
# an installation that belongs to the server's user. Nothing of it may change what the README makes: its later blocks are typed as ever.
slipped=0

# plainly MACHINE TEXT: runs it there, as root in a shell without the stand-ins.
plainly() {
  nsenter -t "$(cat "/run/machines/$1")" --net --mount env HOME=/run/own/home bash -c "cd /; set -euo pipefail; $2" </dev/null
}

# What belongs to the server's user still does, whatever root has typed.
its_own() {
  local others
  others=$(plainly mgmt 'id vxmesh >/dev/null 2>&1 && find /etc/vxmesh/keys /var/lib/vxmesh ! -user vxmesh || true')
  [ -z "$others" ] || { echo "readme: after '$1' this is no longer the server's: $others" >&2; return 1; }
}

# slip MACHINE CODE WORDS TEXT: this is refused with this code and these words ('|' between them), and says what to do.
slip() {
  local said code=0 word
  said=$(plainly "$1" "$4" 2>&1) || code=$?
  slipped=$((slipped + 1))
  echo "-- $1: $4"
  local words
  IFS='|' read -ra words <<<"$3"
  for word in "error[$2]: " "  help: " "${words[@]}"; do
    [[ $said == *"$word"* ]] || { printf "readme: on %s: %s\n%s\nreadme: it does not say '%s'\n" "$1" "$4" "$said" "$word" >&2; return 1; }
  done
  [ "$code" != 0 ] || { echo "readme: on $1 this went well: $4" >&2; return 1; }
  its_own "$4"
}

# root MACHINE WORDS TEXT: this goes well and says so.
root() {
  local said
  said=$(plainly "$1" "$3" 2>&1) || { printf 'readme: on %s: %s\n%s\n' "$1" "$3" "$said" >&2; return 1; }
  echo "-- $1: $3"
  [[ $said == *"$2"* ]] || { printf "readme: on %s: %s\n%s\nreadme: it does not say '%s'\n" "$1" "$3" "$said" "$2" >&2; return 1; }
  its_own "$3"
}

# ahead SECONDS: what comes behind it has a clock that is so far ahead.
ahead() {
  local i seconds=""
  for i in 0 8 16 24 32 40 48 56; do seconds+=$(printf '\\x%02x' $((($1 >> i) & 255))); done
  printf "$seconds\0\0\0\0\0\0\0\0" >"/run/slips/ahead.$1"
  echo "VXMESH_CLOCK=/run/slips/ahead.$1 LD_PRELOAD=/run/slips/clock.so"
}

# A token of PDC fra.
token() { plainly mgmt "meshctl token create --pdc fra $*" 2>/dev/null | grep ^vxm1; }

# As a user that is nobody here.
nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
join="meshctl join --no-start --timeout 10s"

after() {
  case $1 in
    0)
      mkdir /run/slips
      cc -shared -fPIC -o /run/slips/clock.so "$repo/tests/netns/chaos/clock.c" -ldl
      slip mgmt M0810 "no credential|meshctl join" 'meshctl status'
      slip mgmt M0606 "cannot read /etc/vxmesh/meshmgr.toml" 'meshmgr init'
      slip fra-1 M0810 "no credential|meshctl join" 'meshctl status'
      ;;
    1)
      slip mgmt M0608 "there is an installation already|nothing was changed" 'meshmgr init'
      slip mgmt M0704 "is open in another process|systemctl status meshmgr" 'meshmgr run'
      slip mgmt M0810 "may not be read by this user|meshctl --credential DIR status" "$nobody meshctl status"
      slip mgmt M0132 "plain or encrypted" 'meshctl pdc create fra --intra plian'
      ;;
    2)
      cp /run/tokens /run/slips/tokens
      token --ttl 1s >/run/slips/late
      token --ttl 1h >/run/slips/another
      sed -n 1p /run/tokens >/run/slips/fra
      sed -n 2p /run/tokens >/run/slips/muc
      cut -c 1-40 /run/slips/fra >/run/slips/cut
      sleep 1.2
      slip fra-1 M0245 "expired" "$join --name fra-1 --token-file /run/slips/late"
      slip fra-1 M0243 "a part is missing" "$join --name fra-1 --token-file /run/slips/cut"
      slip fra-1 M0135 "two tokens are given" "$join --name fra-1 \$(cat /run/slips/fra) \$(cat /run/slips/muc)"
      slip fra-1 M0135 "two tokens are given" "VXMESH_TOKEN=\$(cat /run/slips/muc) $join --name fra-1 --token-file /run/slips/fra"
      slip fra-1 M0132 "a name holds only" "$join --name Fra_1 --token-file /run/slips/fra"
      slip fra-1 M0629 "the clock of this machine says 20|timedatectl" \
        "$(ahead -315360000) $join --name fra-1 --token-file /run/slips/fra"
      slip fra-1 M0104 "its certificate begins at|the clock of this machine says|timedatectl" \
        "$(ahead -604800) $join --name fra-1 --token-file /run/slips/fra"
      slip fra-1 M0104 "its certificate ended at|the clock of this machine says|timedatectl" \
        "$(ahead 630720000) $join --name fra-1 --token-file /run/slips/fra"
      ;;
    3)
      slip fra-1 M0216 "joined already as node/fra-1|meshctl leave" "$join --name fra-1 --token-file /run/slips/muc"
      slip fra-1 M0101 "this user may not speak with meshd|run it as root" "$nobody meshctl status"
      slip fra-1 M0810 "no credential" 'meshctl network list'
      slip fra-1 M0219 "leaving needs a yes|nothing was changed|meshctl leave --yes" 'meshctl leave'
      slip muc-1 M0246 "used by fra-1|meshctl token create" "$join --name muc-1 --token-file /run/slips/fra"
      slip muc-1 M0253 "fra-1|--replace fra-1" "$join --name fra-1 --token-file /run/slips/another"
      slip muc-1 M0261 "node 'fra-1' is declared in PDC 'fra'" "$join --name fra-1 --token-file /run/slips/muc"
      ;;
    4)
      slip muc-1 M0610 "systemd has not started it|kill |nothing was removed" 'meshctl leave --yes'
      slip mgmt M0330 "did you mean 'fra-1'?" \
        'meshctl port create web --network blue --node fra1 --mac 52:54:00:00:00:01 --ip 192.168.10.11'
      slip mgmt M0321 "outside of network 'blue'" \
        'meshctl port create web --network blue --node fra-1 --mac 52:54:00:00:00:01 --ip 192.168.11.11'
      ;;
    5)
      slip mgmt M0331 "port 'web' exists already" \
        'meshctl port create web --network blue --node fra-1 --mac 52:54:00:00:00:01 --ip 192.168.10.11'
      slip mgmt M0333 "port 'wbe' does not exist" 'meshctl explain wbe db'
      ;;
    10) as_root ;;
  esac
}

connected() { plainly mgmt "meshctl status | grep 'muc-1 .*connected' >/dev/null"; }

# What root may do with the README's own installation, beside the server and without it.
as_root() {
  root mgmt "valid" 'meshmgr check-config'
  root mgmt "objects, in" 'meshmgr backup /root/mesh.backup'
  slip mgmt M0704 "is open in another process|systemctl stop meshmgr" 'meshmgr restore /root/mesh.backup'
  slip mgmt M0313 "port web|--cascade" 'meshctl node delete fra-1'
  plainly mgmt 'pkill_one() { kill "$1"; while [ -d "/proc/$1" ]; do sleep 0.1; done; }; pkill_one "$(pidof -s meshmgr)"'
  slip mgmt M0101 "192.0.2.1:7443 does not answer|systemctl status meshmgr" 'meshctl status'
  root mgmt "is in force, as incarnation 2" 'meshmgr restore /root/mesh.backup'
  nsenter -t "$(cat /run/machines/mgmt)" --net --mount env HOME=/run/own/home meshmgr run >>/run/slips/log 2>&1 </dev/null &
  wait_for connected || { cat /run/slips/log >&2; plainly mgmt "meshctl status" >&2; return 1; }
  # Its files below /proc are root's, for nobody may look into its memory.
  root mgmt "/status" 'grep -ls "^Uid:[[:space:]]$(id -u vxmesh)[[:space:]]" /proc/[0-9]*/status || true'
  [ "$slipped" -ge 25 ] || { echo "readme: only $slipped slips" >&2; return 1; }
  echo "readme: $slipped slips, each with its words; what is the server's stayed its own"
}
