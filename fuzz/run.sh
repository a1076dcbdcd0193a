#!/bin/sh
# Runs every fuzz target (or those that are named) for a while: fuzz/run.sh [SECONDS, default 60] [TARGET ...]
# Needs a nightly compiler (rustup toolchain install nightly) and cargo-fuzz (cargo install cargo-fuzz --locked).
# New inputs go to fuzz/found/<target>/, which is not committed. A crash lies in fuzz/artifacts/<target>/ and ends the run: mend it,
# then move it under a name that says what it was to fuzz/corpus/<target>/, where tests/corpus.rs tries it for ever.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- segment coalesce egress_frame ingress_payload tunnel_open virtio
toolchain=${FUZZ_TOOLCHAIN:-nightly}
for target; do
    mkdir -p "found/$target"
    echo "== $target, $seconds s"
    cargo "+$toolchain" fuzz run "$target" "found/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=4096 -print_final_stats=1
done
