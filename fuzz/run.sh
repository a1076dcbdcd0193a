#!/bin/bash
# Runs every fuzz target (or those that are named) for a while: fuzz/run.sh [SECONDS, default 60] [TARGET ...]
# Needs a nightly compiler (rustup toolchain install nightly) and cargo-fuzz (cargo install cargo-fuzz --locked).
# FUZZ_TOOLCHAIN names another one; a stable one does it too, with RUSTC_BOOTSTRAP=1.
# New inputs go to fuzz/found/<target>/, which is not committed. A crash lies in fuzz/artifacts/<target>/: mend it, then move it
# under a name that says what it was to fuzz/corpus/<target>/, where tests/corpus.rs tries it for ever. The other targets still run; the
# last lines say how often each ran and which crashed.
set -u
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(ls fuzz_targets | sed 's/\.rs$//')
toolchain=${FUZZ_TOOLCHAIN:-nightly}
cargo "+$toolchain" fuzz build || exit 1
summary= status=0
for target; do
    mkdir -p "found/$target"
    echo "== $target, $seconds s"
    log=$(mktemp)
    result=ok
    cargo "+$toolchain" fuzz run "$target" "found/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 2>&1 | tee "$log" | tail -n 12
    [ "${PIPESTATUS[0]}" = 0 ] || { result=CRASHED status=1; }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    summary="$summary$(printf '%-16s %12s %s' "$target" "${runs:-0}" "$result")
"
    rm -f "$log"
done
printf '\ntarget            executions result\n%s' "$summary"
exit $status
