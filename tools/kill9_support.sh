# What the scripts that kill diffgen share. Sourced with their arguments, after defaults for $steps and $kills are set.
# Gives: $diffgen, $kills, $steps, $images, $seed, $work (removed at the end unless --keep), wait_and_kill.
# shellcheck shell=bash
diffgen=build/release/diffgen
images=samples/fashion
seed=$RANDOM
keep=
while [ $# -gt 0 ]; do
    case $1 in
    --diffgen) diffgen=$2 && shift 2 ;;
    --images) images=$2 && shift 2 ;;
    --kills) kills=$2 && shift 2 ;;
    --steps) steps=$2 && shift 2 ;;
    --seed) seed=$2 && shift 2 ;;
    --keep) keep=1 && shift ;;
    *)
        echo "${0##*/}: unknown option $1; the first lines of this file are its help" >&2
        exit 2
        ;;
    esac
done
RANDOM=$seed
work=$(mktemp -d)
trap '[ -n "$keep" ] || rm -rf "$work"' EXIT
echo "seed $seed, work folder $work"

# wait_and_kill PID MILLISECONDS: SIGKILL at a random moment of that time, which is left in $wait_ms
wait_and_kill() {
    wait_ms=$(((RANDOM * 32768 + RANDOM) % $2))
    sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
    kill -9 "$1" 2>/dev/null || true
}
