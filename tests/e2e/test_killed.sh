#!/usr/bin/env bash
# Processes that are killed while they publish, just before each call by which files appear or disappear: the same
# command again ends with the files of one that was never killed.
# usage: test_killed.sh PROGRAM SOURCE_DIR SPOIL_IMAGES FAIL_ALLOC DIE_AT, the last being the library of support/die_at.c
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

die_at=${5:-}
[ -n "$die_at" ] || { echo "skipped: a sanitizer cannot be loaded after another library" && exit 77; }

for class in bag coat; do
    mkdir -p "images/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -6 | while IFS= read -r image; do
        cp "$image" "images/$class/"
    done
done

# dies NUMBER ARGUMENT...: runs the program until that call of those that publish; 0: counts them
dies() {
    LD_PRELOAD=$die_at DIE_AT=$1 DIE_COUNT=$work/calls "$program" "${@:2}" >out 2>err </dev/null
}

# sweep NAME PREPARE COMPARE ARGUMENT...: kills the command at each of its calls, and runs it again.
sweep() {
    local name=$1 prepare=$2 compare=$3 calls i
    shift 3
    $prepare
    dies 0 "$@" || fail "$name cannot be run"
    calls=$(cat calls)
    [ "$calls" -ge 3 ] || fail "$name: only $calls calls publish anything"
    for ((i = 1; i <= calls; i++)); do
        $prepare
        { dies "$i" "$@"; } 2>/dev/null # the shell tells of the kill
        [ $? = 137 ] || fail "$name: call $i of $calls did not kill it"
        expect 0 "$@"
        $compare >diff.txt 2>&1 || { fail "$name, killed at call $i: the files differ"; head -5 diff.txt; }
    done
    echo "$name: killed at $calls calls"
}

# --- a run's end: checkpoint, model, DONE, runs/latest

train=(train --images images --preset tiny --resolution 16 --batch 4 --steps 2 --warmup 1 --seed 7 --grid-every never
    --threads 1 --quiet)
expect 0 "${train[@]}" --out runs/old
expect 0 "${train[@]}" --out reference
mkdir template
cp -r reference template/run
rm -r template/run/DONE template/run/model template/run/loss.svg

prepare_run() {
    rm -rf runs/new
    ln -sfn old runs/latest
    cp -r template/run runs/new
}
same_run() {
    [ "$(readlink runs/latest)" = new ] && [ "$(ls -A runs | tr '\n' ' ')" = "latest new old " ] &&
        diff -r --exclude .lock --exclude metrics.jsonl --exclude log.txt --exclude config.json runs/new reference
}
sweep train prepare_run same_run "${train[@]}" --out runs/new
rm -r reference/model # what is missing of a finished run is made again
expect 0 "${train[@]}" --out reference
diff -r reference/model runs/new/model || fail "a finished run without its model stays without"

# --- images, and what names them

sample=(sample --model reference -n 3 --steps 2 --seed 5 --grid --threads 1 --quiet --out images-out)
expect 0 "${sample[@]}"
mkdir drawn && mv images-out images-out-grid.png drawn/

prepare_images() { rm -rf images-out images-out-grid.png*; }
same_images() {
    diff -r --exclude .lock images-out drawn/images-out && cmp images-out-grid.png drawn/images-out-grid.png &&
        [ "$(ls -d images-out*)" = $'images-out\nimages-out-grid.png' ]
}
sweep sample prepare_images same_images "${sample[@]}"

# --- reports: one that can be read is whole

inspect=(inspect images --threads 1 --quiet --out report)
expect 0 "${inspect[@]}"
mv report reference-report
prepare_report() { rm -rf report; }
same_report() { diff -r --exclude .lock report reference-report; }
sweep inspect prepare_report same_report "${inspect[@]}"

# --- a terminal that goes away, and a limit on CPU time, stop a run as SIGTERM does; nohup keeps it

for name in HUP XCPU; do
    "$program" train --images images --preset tiny --resolution 16 --batch 4 --steps 100000 --warmup 1 --threads 1 \
        --grid-every never --log-every 1 --out "signal-$name" >out 2>err </dev/null &
    pid=$!
    for ((i = 0; i < 3000; i++)); do
        [ -s "signal-$name/metrics.jsonl" ] && break
        sleep 0.01
    done
    kill -s "$name" $pid
    wait $pid
    code=$?
    [ $code = 75 ] || fail "SIG$name gave $code, not 75"
    [ -n "$(ls "signal-$name/checkpoints")" ] || fail "SIG$name left no checkpoint"
done
(trap '' HUP && exec "$program" "${train[@]}" --out deaf >out 2>err </dev/null) &
pid=$!
for ((i = 0; i < 3000; i++)); do
    [ -e deaf/.lock ] && break
    sleep 0.01
done
kill -HUP $pid 2>/dev/null
wait $pid || fail "a SIGHUP that is ignored stopped the run"

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
