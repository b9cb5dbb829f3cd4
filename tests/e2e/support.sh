# What the end-to-end scripts share. Sourced with the script's own arguments: PROGRAM SOURCE_DIR [SPOIL_IMAGES].
# Gives: $program, $source, $spoil_images, a fresh working directory, $failures, and the checks below.
# shellcheck shell=bash
set -u
program=$1
source=$2
spoil_images=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export CUDA_VISIBLE_DEVICES= # the CPU, also where there is a GPU
export XDG_STATE_HOME=$work/state # not the user's own ledger and keys
failures=0

fail() {
    echo "FAIL: $*"
    echo "--- stdout"; head -20 out
    echo "--- stderr"; head -20 err
    failures=$((failures + 1))
}

# expect CODE ARGUMENT...: runs the program, leaves its streams in out and err
expect() {
    local wanted=$1
    shift
    "$program" "$@" >out 2>err </dev/null
    local got=$?
    [ "$got" = "$wanted" ] || fail "diffgen $* gave $got, not $wanted"
}
says() { grep -qF -- "$2" "$1" || fail "$1 does not say: $2"; }
is_empty() { [ ! -s "$1" ] || fail "$1 is not empty"; }
