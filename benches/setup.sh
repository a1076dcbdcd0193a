# Sourced by peers.sh and builds.sh, from the root of the checkout: copies the lab to where peers can be added, builds its load tool, and
# removes everything at the end. Sets WORK (a folder of this run), LAB, LAB_RUN and UDPLOAD. shellcheck shell=bash
#
#   LAB      folder of the lab: lab.sh, measure.py, summarize.py, udpload.c, peers/ (default: ../shared/bench beside this checkout)
SOURCE=$(cd "${LAB:-../shared/bench}" && pwd)
[ "$(id -u)" = 0 ] || { echo "$0: run it as root: it makes network namespaces" >&2; exit 6; }
for tool in iperf3 ping ethtool jq cc python3 ip nft; do
  command -v "$tool" >/dev/null || { echo "$0: '$tool' is missing (apt-get install iperf3 iputils-ping ethtool jq gcc python3 iproute2 nftables)" >&2; exit 6; }
done
for name in hA hB gA gB hM; do
  # The lab's names are fixed, so there is one lab at a time.
  ip netns list | grep -qw "$name" && { echo "$0: the network namespace '$name' is there: another run is under way, or was killed (ip netns delete $name)" >&2; exit 5; }
done
WORK=$(mktemp -d)
export LAB=$WORK/lab LAB_RUN=$WORK/run UDPLOAD=$WORK/udpload
mkdir "$LAB"
# measure.py looks for peers beside itself.
cp -r "$SOURCE"/. "$LAB"/; chmod -R u+w "$LAB"; cp benches/peers/vxmesh.sh "$LAB/peers/"
done_with() { "$LAB/peers/vxmesh.sh" down >/dev/null 2>&1 || true; "$LAB/lab.sh" down; rm -rf "$WORK"; }
trap done_with EXIT
cc -O2 -o "$UDPLOAD" "$LAB/udpload.c"
