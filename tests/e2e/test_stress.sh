#!/usr/bin/env bash
# A run under stress: signals while it draws, time limits, limits on file sizes, kills between two steps of publishing,
# and names that somebody else has placed in its folder.
# usage: test_stress.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

for class in bag coat; do
    mkdir -p "images/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -12 | while IFS= read -r image; do
        cp "$image" "images/$class/"
    done
done
train=(train --images images --preset tiny --threads 1)
short=("${train[@]}" --batch 4 --micro-batch 2 --warmup 1 --grid-every never)

wait_for_file() { # FILE PID
    local i
    for ((i = 0; i < 12000; i++)); do
        [ -e "$1" ] && return 0
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.01
    done
    return 1
}

# --- a signal while a preview is drawn: the picture is dropped, the steps are not

# A preview after every step takes far longer than the steps, so that a signal meets one almost surely.
"$program" "${train[@]}" --batch 2 --micro-batch 2 --steps 100000 --grid-every 1 --checkpoint-every 10m --log-every 1 \
    --out signalled >out 2>err </dev/null &
pid=$!
wait_for_file signalled/grids/step-000000001.png $pid || fail "no first preview was drawn"
sleep 0.3
kill -TERM $pid
wait $pid
code=$?
[ $code = 75 ] || fail "a signal during a preview gave $code, not 75"
says err "preview"
says err "dropped"
steps=$(grep -c '"loss"' signalled/metrics.jsonl)
last=$(find signalled/checkpoints -mindepth 1 -maxdepth 1 -name 'step-*' | sort | tail -1)
[ "${last##*step-}" = "$(printf %09d "$steps")" ] || fail "after $steps steps the checkpoint is '$last'"
find signalled -name '*.tmp-*' | grep -q . && fail "the dropped preview left a temporary file"

# --- a time limit is one

# A batch of which a step takes far longer than the limit: given up between two micro-batches, and said.
begin=$SECONDS
expect 1 "${train[@]}" --batch 4096 --micro-batch 2 --time-limit 1s --out hopeless
says err "before a single step was done"
[ $((SECONDS - begin)) -lt 30 ] || fail "a time limit of 1 s took $((SECONDS - begin)) s"
# With room for some steps of an automatic batch it ends as a whole run.
expect 0 "${train[@]}" --time-limit 4s --out limited
[ -e limited/DONE ] && [ -s limited/model/unet/config.json ] || fail "a run of 4 s has no model"
! grep -q 'of 0 steps' limited/log.txt || fail "log.txt counts to 0"
says limited/log.txt "of a time limit of 4"

# --- fewer steps than there are: nothing to do, and no share above 100 %

expect 0 "${short[@]}" --steps 4 --out few
expect 0 "${short[@]}" --steps 2 --out few
says err "nothing to do"
! grep -qE '[0-9]{3,} ?%' err || fail "a share above 100 %"

# --- killed between DONE and runs/latest, and what killed processes left

expect 0 "${short[@]}" --steps 2 --out runs/first
expect 0 "${short[@]}" --steps 2 --out runs/second
ln -sfn first runs/latest
touch -d '1 minute ago' runs/first/DONE
touch runs/second/loss.svg.tmp-1 runs/second/metrics.jsonl.tmp-2 runs/second/grids/step-000000001.png.tmp-3
ln -s first runs/latest.tmp-999999999
expect 0 "${short[@]}" --steps 2 --out runs/second
[ "$(readlink runs/latest)" = second ] || fail "the link that a killed process did not make is still missing"
find runs -name '*.tmp-*' | grep -q . && fail "temporary files of killed processes are still there"
expect 0 "${short[@]}" --steps 2 --out runs/first
[ "$(readlink runs/latest)" = second ] || fail "an older run took the link back"

# --- a limit on file sizes is an error of input and output, and the last checkpoint stays

expect 0 "${short[@]}" --steps 2 --out sized
before=$(sha256sum sized/checkpoints/step-000000002/*)
(ulimit -f 100 && exec "$program" "${short[@]}" --steps 4 --out sized >out 2>err </dev/null)
code=$?
[ $code = 74 ] || fail "a file that is too large for ulimit -f gave $code, not 74"
says err "File too large"
[ "$before" = "$(sha256sum sized/checkpoints/step-000000002/*)" ] || fail "the last checkpoint was lost"
expect 0 "${short[@]}" --steps 4 --out sized

# --- links that somebody else placed in the folder are not written through

mkdir trap && echo keep me >precious && ln -s ../precious trap/.lock
expect 73 "${short[@]}" --steps 2 --out trap
[ "$(cat precious)" = "keep me" ] || fail "a lock file that is a link was written through"
rm trap/.lock && ln -s ../precious trap/log.txt
expect 73 "${short[@]}" --steps 2 --out trap
[ "$(cat precious)" = "keep me" ] || fail "log.txt that is a link was written through"

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
