#!/usr/bin/env bash
# Runs every fuzz target for some minutes each, as many at once as there are cores.
#
#   tools/fuzz.sh [MINUTES [TARGET]...]      10 minutes and every target unless given
#
# Seeds come from tests/fuzz/corpus/<target>/, for images from tests/fixtures/data/ too; what a run finds interesting
# stays in build/fuzz/corpus/<target>/ for the next one. An input that breaks something is left as
# build/fuzz/findings/<target>-<kind>-<hash>, and the script fails.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-10}
[ $# -gt 0 ] && shift
if ! [[ $minutes =~ ^[0-9]+$ ]] || [ "$minutes" -eq 0 ]; then
    echo "usage: tools/fuzz.sh [MINUTES [TARGET]...]" >&2
    exit 2
fi

tools/install-packages.sh build fuzz
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        [ -e "$source" ] && targets+=("$(basename "$source" .c)")
    done
fi
if [ ${#targets[@]} -eq 0 ]; then
    echo "fuzz.sh: no targets in tests/fuzz/" >&2
    exit 1
fi

mkdir -p build/fuzz/findings build/fuzz/logs
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1

fuzz_one() {
    local target=$1 program corpus=build/fuzz/corpus/$1 seeds=tests/fuzz/corpus/$1 folders
    program=$(find build/fuzz -type f -name "$target" -perm -u+x | head -n 1)
    if [ -z "$program" ]; then
        echo "$target: not built"
        return 1
    fi
    mkdir -p "$corpus"
    folders=("$corpus")
    [ -d "$seeds" ] && folders+=("$seeds")
    [ "$target" = fuzz_image ] && folders+=(tests/fixtures/data) # one small file of each format
    if "$program" -max_total_time=$((minutes * 60)) -rss_limit_mb=2048 -timeout=20 -max_len=262144 \
        -artifact_prefix="build/fuzz/findings/$target-" "${folders[@]}" >"build/fuzz/logs/$target.log" 2>&1; then
        echo "$target: clean, $(grep -E '^Done ' "build/fuzz/logs/$target.log" | tail -n 1)"
    else
        echo "$target: FAILED, see build/fuzz/logs/$target.log"
        tail -n 30 "build/fuzz/logs/$target.log"
        return 1
    fi
}
export -f fuzz_one
export minutes

# shellcheck disable=SC2016
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'fuzz_one "$1"' fuzz_one
