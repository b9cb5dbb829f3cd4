#!/usr/bin/env bash
# Kills private training with SIGKILL at random moments, in its warm-up and between its steps, resumes it by the same
# command, and compares the ledger with what was released: never less on record, and not more than a block per kill.
#
#   tools/check_kill9_ledger.sh [--diffgen PROGRAM] [--images FOLDER] [--kills 30] [--steps 60] [--seed N] [--keep]
#
# Released in one life of the process are the steps in metrics.jsonl beyond those it began with: a step is written there
# after its noise was added, so there may be one more, never one less.
set -euo pipefail
cd "$(dirname "$0")/.."

kills=30
steps=60
# shellcheck source=tools/kill9_support.sh
. tools/kill9_support.sh
export DIFFGEN_LEDGER=$work/ledger.sqlite

for class in bag coat dress; do
    mkdir -p "$work/images/$class"
    find "$images/$class" -name '*.png' | sort | head -12 | xargs -I{} cp {} "$work/images/$class/"
done
sed 's/"block_out_channels": \[[^]]*\]/"block_out_channels": [16, 16, 32]/' models/tiny.json >"$work/small.json"
queries=3 block=16
train() {
    exec "$diffgen" train --images "$work/images" --preset "$work/small.json" --dp --noise-multiplier 2 --batch 6 \
        --noise-multiplicity 1 --steps "$steps" --central-images $queries --central-noise 9 --central-steps 5 \
        --log-every 1 --checkpoint-every 7 --grid-every never --quiet --out "$1"
}

# recorded SIGMA: steps on the ledger of the mechanism with that noise
recorded() {
    "$diffgen" budget "$work/images" --json | tr -d '" ' | tr -s ',{}' '\n' |
        awk -F: -v sigma="$1" '$1 == "noise_multiplier" { own = $2 + 0 == sigma } $1 == "steps" && own { n += $2 }
            END { print n + 0 }'
}
# newest FILE|FOLDER: the last step in metrics.jsonl, or of the newest checkpoint
last_step() { [ -s "$1/metrics.jsonl" ] && grep -oE '"step": ?[0-9]+' "$1/metrics.jsonl" | grep -oE '[0-9]+$' | sort -n | tail -n 1 || echo 0; }
last_checkpoint() { find "$1/checkpoints" -maxdepth 1 -name 'step-*' ! -name '*.partial' 2>/dev/null | grep -oE '[0-9]+$' | sort -n | tail -n 1 | sed 's/^0*\(.\)/\1/' || true; }

bad=0 hits=0 run=1 released=0 asked=0 lives=0
while :; do
    folder=$work/run-$run
    begun=$(last_checkpoint "$folder")
    ( train "$folder" ) >"$work/log" 2>&1 &
    pid=$!
    if [ "$hits" -lt "$kills" ]; then
        wait_and_kill "$pid" 6000
    fi
    status=0
    wait "$pid" 2>/dev/null || status=$?
    lives=$((lives + 1))
    [ -n "$begun" ] || { [ ! -e "$folder/central.png" ] || asked=$((asked + queries)); }
    now=$(last_step "$folder")
    [ "$now" -le "${begun:-0}" ] || released=$((released + now - ${begun:-0}))
    booked=$(recorded 2) booked_queries=$(recorded 9)
    if [ "$booked" -lt "$released" ] || [ "$booked_queries" -lt "$asked" ]; then
        echo "  UNDER-COUNTS: $released steps and $asked queries were released, $booked and $booked_queries are on record"
        bad=1
    fi
    if [ "$booked" -gt $((released + (block + 2) * lives)) ]; then
        echo "  counts $booked steps for $released in $lives lives"
        bad=1
    fi
    if [ "$status" -eq 137 ]; then
        hits=$((hits + 1))
        echo "  kill $hits after $wait_ms ms: $released released, $booked on record; $booked_queries queries"
        continue
    fi
    if [ "$status" -ne 0 ]; then
        echo "  exit code $status"
        tail -n 20 "$work/log"
        bad=1
        break
    fi
    echo "  run $run finished: $released released, $booked on record"
    [ "$hits" -lt "$kills" ] || break
    run=$((run + 1))
done
if [ "$bad" -ne 0 ]; then
    echo "FAILED (seed $seed)"
    exit 1
fi
echo "nothing was released that is not on record"
