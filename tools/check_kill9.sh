#!/usr/bin/env bash
# Kills training and sampling with SIGKILL at random moments, resumes them by the same command, and compares what comes
# out with an undisturbed run, byte for byte.
#
#   tools/check_kill9.sh [--diffgen PROGRAM] [--images FOLDER] [--kills 20] [--steps 60] [--seed N] [--keep]
#
# Training: model/ and the last checkpoint, its clocks left out. Sampling: the whole output folder. --seed repeats the
# moments of an earlier run as far as the machine's speed allows; --keep leaves the work folder for a look.
set -euo pipefail
cd "$(dirname "$0")/.."

kills=20
steps=60
# shellcheck source=tools/kill9_support.sh
. tools/kill9_support.sh

# command_JOB FOLDER: the command into the array `command`. same_JOB REFERENCE FOLDER: are they the same?
command_train() {
    command=("$diffgen" train --images "$images" --preset tiny --batch 16 --steps "$steps" --seed 7
        --checkpoint-every 3 --grid-every never --keep 2 --quiet --out "$1")
}
command_sample() {
    command=("$diffgen" sample --model "$work/train" --all-classes -n 160 --batch 8 --sampler ddim --steps 10
        --seed 3 --guidance 1.5 --grid --quiet --out "$1")
}

last_checkpoint() { find "$1/checkpoints" -mindepth 1 -maxdepth 1 -type d -name 'step-*' | sort -V | tail -n 1; }

# Clocks differ between any two runs: they are the only values left out, and only in a checkpoint's JSON.
without_clocks() { sed -E 's/"([a-z_]*_)?(seconds|elapsed|time|ms|images_per_second)": *-?[0-9.eE+-]+,?//g' "$1"; }

same_checkpoint() {
    local file bad=0
    diff <(cd "$1" && find . -type f | sort) <(cd "$2" && find . -type f | sort) || bad=1
    while IFS= read -r file; do
        case $file in
        *.json) cmp <(without_clocks "$1/$file") <(without_clocks "$2/$file") || bad=1 ;;
        *) cmp "$1/$file" "$2/$file" || bad=1 ;;
        esac
    done < <(cd "$1" && find . -type f)
    return $bad
}

same_train() {
    local a b
    a=$(last_checkpoint "$1")
    b=$(last_checkpoint "$2")
    if [ -z "$a" ] || [ "${a##*/}" != "${b##*/}" ]; then
        echo "    last checkpoints: \"${a##*/}\" and \"${b##*/}\""
        return 1
    fi
    diff -r "$1/model" "$2/model" && same_checkpoint "$a" "$b"
}

same_sample() { diff -r --exclude '.lock*' "$1" "$2"; }

# disturb JOB REFERENCE MILLISECONDS: kills the job until it was hit often enough, resuming it every time, in a new
# folder whenever one is finished; each finished folder is compared with the reference.
disturb() {
    local job=$1 reference=$2 hits=0 run=1 failures=0 idle=0 command folder pid status
    local longest=$(($3 * 3 / 20 + 300)) # a run meets about ten kills
    while :; do
        folder=$work/$job-$run
        "command_$job" "$folder"
        "${command[@]}" >"$work/$job.log" 2>&1 &
        pid=$!
        if [ "$hits" -lt "$kills" ]; then
            wait_and_kill "$pid" "$longest"
        fi
        status=0
        wait "$pid" 2>/dev/null || status=$?
        if [ "$status" -eq 137 ]; then
            hits=$((hits + 1))
            echo "  $job: kill $hits after $wait_ms ms"
            continue
        fi
        if [ "$status" -ne 0 ]; then
            echo "  $job: exit code $status"
            tail -n 20 "$work/$job.log"
            return 1
        fi
        if "same_$job" "$reference" "$folder"; then
            echo "  $job: run $run finished with the bytes of the undisturbed one"
        else
            echo "  $job: run $run DIFFERS"
            failures=$((failures + 1))
        fi
        [ "$hits" -lt "$kills" ] || break
        run=$((run + 1))
        idle=$((idle + 1))
        if [ "$idle" -gt "$((2 * kills))" ]; then
            echo "  $job: too fast to be hit; give it more --steps"
            return 1
        fi
    done
    [ "$failures" -eq 0 ]
}

# measure JOB FOLDER: runs it undisturbed; its milliseconds go to $elapsed.
measure() {
    local start command
    "command_$1" "$2"
    start=${EPOCHREALTIME/[.,]/}
    "${command[@]}"
    elapsed=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
    echo "  $1 undisturbed: $elapsed ms"
}

bad=0
echo "training, $steps steps, $kills kills"
measure train "$work/train"
disturb train "$work/train" "$elapsed" || bad=1

echo "sampling, 160 images, $kills kills"
measure sample "$work/sample"
disturb sample "$work/sample" "$elapsed" || bad=1

if [ "$bad" -ne 0 ]; then
    echo "FAILED (seed $seed)"
    exit 1
fi
echo "all runs ended with the bytes of an undisturbed one"
