#!/usr/bin/env bash
# Every allocation of `info`, `sample` and one training step fails in turn: the program says so and gives 1, or does
# without and gives the same result; what it has published by then is what it would have published, and the same call
# again completes it. Allocations inside other libraries than jansson are not made to fail (tests/support/fail_alloc.c).
# usage: test_memory.sh PROGRAM SOURCE_DIR SPOIL_IMAGES FAIL_ALLOC
# EVERY=N     each N-th allocation instead of a few dozen of each; 1: all of them, which takes an hour
# FIRST=K     from the K-th on
# WHAT=W...   of: info sample step
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"
library=${4:-}
[ -r "$library" ] || exit 77 # a sanitizer's own allocator is in its place
first=${FIRST:-1}
ulimit -c 0
# The CUDA runtime is linked statically: what it does without memory is its own.
nm -S "$program" 2>nm.txt | grep -E ' [tTwW] (libcudart_static_|cuda[A-Z]|__cuda)' >foreign.txt
export FAIL_ALLOC_NOT=$work/foreign.txt
tried=0

# limited N ARGUMENT...: the program with its N-th allocation failing; leaves out, err and $code.
limited() {
    local at=$1
    shift
    FAIL_ALLOC_AT=$at FAIL_ALLOC_COUNT=$work/count LD_PRELOAD=$library "$program" "$@" >out 2>err </dev/null
    code=$?
    tried=$((tried + 1))
}

# After a limited call: 0, or 1 with a message.
was_told() {
    case $code in
    0) return 0 ;;
    1) grep -q 'diffgen: error: .*memory' err || fail "$1: no word about memory" ;;
    *) fail "$1: exit code $code" ;;
    esac
    return 1
}

# holds_nothing_else THERE WHOLE: every file that is there is that of the whole result.
holds_nothing_else() {
    [ ! -d "$1" ] || (cd "$1" && find . -type f ! -path '*/.*' | while read -r file; do cmp -s "$file" "$2/$file" || echo "$file"; done)
}

mkdir -p images/bag images/boot
cp "$source"/samples/fashion/bag/00[0-3].png images/bag
cp "$source/samples/fashion/ankle boot"/00[0-3].png images/boot
echo 'no image' >images/boot/broken.png
model=$source/tests/fixtures/io/tiny

sweep() { # NAME FUNCTION EVERY: the function makes one limited call, with its number as argument
    "$2" 0
    [ "$code" = 0 ] || fail "$1: exit code $code with all the memory it wants"
    local last n
    last=$(cat count)
    [ "$last" -gt 100 ] || fail "$1: only $last allocations are seen"
    for ((n = first; n <= last && failures < 20; n += ${EVERY:-$3})); do
        "$2" "$n"
    done
    echo "$1: $last allocations"
}

one_info() {
    limited "$1" info images --json
    [ "$1" != 0 ] || cp out info.json
    if was_told "info, allocation $1"; then
        cmp -s out info.json || fail "info, allocation $1: another description at exit code 0"
    fi
}

one_sample() {
    local call=(sample --model "$model" -n 4 --steps 1 --threads 1 --quiet)
    if [ "$1" = 0 ]; then
        limited 0 "${call[@]}" --out whole_images
        return
    fi
    rm -rf some
    limited "$1" "${call[@]}" --out some
    if was_told "sample, allocation $1"; then
        diff -r some whole_images >diff.txt || fail "sample, allocation $1: other images at exit code 0: $(head -1 diff.txt)"
        return
    fi
    local other
    other=$(holds_nothing_else some "$work/whole_images")
    [ -z "$other" ] || fail "sample, allocation $1: published, but not what it should be: $other"
    expect 0 "${call[@]}" --out some
    diff -r some whole_images >diff.txt || fail "sample, allocation $1: not completed by the next call: $(head -1 diff.txt)"
}

one_step() {
    local call=(train --images images --preset tiny --steps 1 --batch 2 --threads 1 --seed 1 --holdout 0 --quiet)
    if [ "$1" = 0 ]; then
        limited 0 "${call[@]}" --out whole_run
        return
    fi
    rm -rf some
    limited "$1" "${call[@]}" --out some
    if was_told "train, allocation $1"; then
        diff -r some/model whole_run/model >diff.txt || fail "train, allocation $1: another model at exit code 0: $(head -1 diff.txt)"
        return
    fi
    local other
    other=$(holds_nothing_else some/model "$work/whole_run/model")
    [ -z "$other" ] || fail "train, allocation $1: published, but not what it should be: $other"
    [ ! -e some/DONE ] || fail "train, allocation $1: DONE, but failed"
    expect 0 "${call[@]}" --out some
    diff -r some/model whole_run/model >diff.txt || fail "train, allocation $1: not completed by the next call: $(head -1 diff.txt)"
}

# Inside oneDNN: its exceptions become a message. Where it uses memory that it did not get, the process dies, and the
# next call goes on.
inside_onednn() {
    local call=(sample --model "$model" -n 4 --steps 1 --threads 1 --quiet) n last
    export FAIL_ALLOC_IN=libdnnl,libstdc++
    rm -rf some
    limited 0 "${call[@]}" --out some
    last=$(cat count)
    for ((n = first; n <= last; n += ${EVERY:-$((last / 20 + 1))})); do
        rm -rf some
        limited "$n" "${call[@]}" --out some 2>/dev/null
        [ "$code" != 134 ] || fail "oneDNN, allocation $n: an exception that nobody caught: $(tail -1 err)"
        [ "$code" = 139 ] || was_told "oneDNN, allocation $n" || true
    done
    unset FAIL_ALLOC_IN
    echo "oneDNN: $last allocations"
}

for what in ${WHAT:-info sample step}; do
    case $what in info) few=11 ;; sample) few=97 ;; *) few=149 ;; esac
    sweep "$what" "one_$what" "$few"
done
[ -n "${WHAT:-}" ] || inside_onednn
echo "$tried calls"
[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
