#!/usr/bin/env bash
# A model trained on a few images, from pictures to pictures: what is written, that nothing depends on threads, batch or
# shards, that what was interrupted ends with the same bytes, and what is said when something is wrong.
# usage: test_train_sample.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"
# Two folders, but for the locks and what shards leave for each other.
same() {
    diff -r --exclude '.lock*' --exclude 'manifest.*-of-*.json' "$1" "$2" >diff.txt 2>&1 && return
    fail "$1 and $2 differ"
    head -5 diff.txt
}
# Every line of a file is a JSON value.
json='(?(DEFINE)(?<s>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")(?<m>(?&s):(?&v))(?<v>\{(?:(?&m)(?:,(?&m))*)?\}'
json+='|\[(?:(?&v)(?:,(?&v))*)?\]|(?&s)|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null))(?&v)'
is_json() {
    grep -vPx "$json" "$1" >bad.txt 2>&1
    [ -s "$1" ] && [ ! -s bad.txt ] || { fail "$1 is not made of JSON lines"; head -3 bad.txt; }
}
for text in '{"a":1,}' '{"a" 1}' '[01]' 'nan' '{"a":"\x"}' "{'a':1}"; do
    ! grep -qPx "$json" <<<"$text" || { echo "the JSON pattern accepts $text" && exit 1; }
done

# Three classes of twelve images.
for class in bag coat "ankle boot"; do
    mkdir -p "images/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -12 | while IFS= read -r image; do
        cp "$image" "images/$class/"
    done
done
train=(train --images images --preset tiny --batch 8 --micro-batch 3 --steps 6 --warmup 2 --seed 7
    --checkpoint-every 3 --log-every 1 --grid-every never)

# --- training

expect 0 "${train[@]}" --out dry --dry-run
[ ! -e dry ] || fail "--dry-run made the run folder"

expect 0 "${train[@]}" --out run --threads 2
[ "$(cat out)" = run/model ] || fail "the result on standard output is not the model folder"
says err "36 to train on"
says err "3 at a time, on cpu"
says err "with 2 threads"
says err "3: ankle boot 12, bag 12, coat 12"
! grep -q $'[\r\033]' err || fail "a pipe gets a progress bar or colours"
for file in config.json metrics.jsonl log.txt loss.svg grids/data.png model/model_index.json model/diffgen.json \
    model/unet/config.json model/unet/diffusion_pytorch_model.safetensors model/scheduler/scheduler_config.json; do
    [ -s "run/$file" ] || fail "run/$file is missing"
done
[ -e run/DONE ] || fail "run/DONE is missing"
says run/log.txt "starting tiny, 36 images"
says run/log.txt "finished after step 6"
tr -d ' \n' <run/model/diffgen.json >info.txt
says info.txt '"reading":{"background":"#ffffff","fit":"crop"}'
is_json run/metrics.jsonl
[ "$(grep -c '"loss"' run/metrics.jsonl)" = 6 ] || fail "metrics.jsonl does not hold six steps"
find run -name '*.tmp-*' -o -name '*.partial' | grep -q . && fail "temporary files were left in the run folder"

expect 0 "${train[@]}" --out one --threads 1 --json
is_json out
is_empty err
for event in start status checkpoint result; do says out "\"event\":\"$event\""; done
says out '"exit_code":0'
same run/model one/model

# Values computed again give the same bytes; a run may go on with them, or without.
expect 0 "${train[@]}" --out again --recompute
says err "recomputed"
same run/model again/model
rm -r again/model again/DONE again/checkpoints/*6
expect 0 "${train[@]}" --out again
says err "resuming    after step 3"
same run/model again/model

# The memory that was announced is the memory that it took, within 10 %.
expect 0 train --images "$source/samples/fashion" --preset tiny --batch 64 --steps 4 --grid-every never --out memory --json
planned=$(sed -n 's/.*"event":"result".*"planned_bytes":\([0-9]*\).*/\1/p' out)
peak=$(sed -n 's/.*"event":"result".*"peak_bytes":\([0-9]*\).*/\1/p' out)
[ "${planned:-0}" -gt 0 ] && [ $((peak * 10)) -le $((planned * 11)) ] && [ $((peak * 10)) -ge $((planned * 9)) ] ||
    fail "planned $planned bytes, took $peak"

# The same command again: nothing to do. Another one: refused.
cp -r run/model before
expect 0 "${train[@]}" --out run --quiet
is_empty err
same before run/model
expect 78 "${train[@]}" --lr 0.5 --out run
says err lr
expect 0 "${train[@]}" --out run --quiet --threads 1 --keep 1 # these may differ
expect 66 "${train[@]}" --out new --resume must
[ ! -e new/model ] || fail "--resume must started a new run"

# wait_for PATTERN FILE PID: until the file holds it, or the process is gone
wait_for() {
    local i
    for ((i = 0; i < 6000; i++)); do
        grep -q "$1" "$2" 2>/dev/null && return 0
        kill -0 "$3" 2>/dev/null || return 1
        sleep 0.01
    done
    return 1
}

# Stopped after its first step: a second process is refused and told by whom, SIGTERM writes a checkpoint, the next call
# goes on from there.
"$program" "${train[@]}" --out stopped --json >events 2>/dev/null </dev/null &
pid=$!
wait_for '"event":"status"' events $pid || fail "training ended before it could be stopped"
kill -STOP $pid
expect 75 "${train[@]}" --out stopped
says err "$pid"
kill -TERM $pid
kill -CONT $pid
wait $pid
code=$?
[ $code = 75 ] || fail "training gave $code after SIGTERM, not 75"
is_json events
[ ! -e stopped/model ] || fail "an interrupted run has a model"
[ -n "$(ls stopped/checkpoints 2>/dev/null)" ] || fail "SIGTERM left no checkpoint"
expect 0 "${train[@]}" --out stopped
says err "resuming    after step"
same run/model stopped/model
cmp run/checkpoints/step-000000006/state.safetensors stopped/checkpoints/step-000000006/state.safetensors ||
    fail "the last checkpoints differ"
[ "$(grep -c '"loss"' stopped/metrics.jsonl)" = 6 ] || fail "metrics.jsonl of the resumed run does not hold six steps"

# A run that only a time limit ends chooses its batch by this machine's speed, and keeps it.
short=(train --images images --preset tiny --out short --grid-every never --quiet)
chosen() { sed -n '/"chosen"/,/}/p' short/config.json; }
expect 0 "${short[@]}" --time-limit 3s
says short/config.json '"images_per_second"'
first=$(chosen)
grep -qE '"batch": (1|2|4|8|16|32),' <<<"$first" || fail "three seconds of training took the batch of a long run: $first"
expect 0 "${short[@]}" --time-limit 5s
[ "$(chosen)" = "$first" ] || fail "a resumed run chose again: $(chosen)"

# A torn metrics line and a damaged newest checkpoint: the one before it takes over.
cp -r run torn
rm -r torn/model torn/DONE
echo -n '{"step": 6, "lo' >>torn/metrics.jsonl
truncate -s 1000 torn/checkpoints/step-000000006/state.safetensors 2>/dev/null
[ -d torn/checkpoints/step-000000003 ] || cp -r one/checkpoints/step-000000003 torn/checkpoints/
expect 0 "${train[@]}" --out torn
says err "resuming    after step 3"
same run/model torn/model
is_json torn/metrics.jsonl

# Damaged images are named and left out; --strict refuses them.
cp -r images damaged
head -c 100 "$(find images/coat -name '*.png' | sort | head -1)" >damaged/coat/torn.png
: >damaged/bag/empty.png
expect 0 "${train[@]}" --images damaged --out skipped --dry-run
says err "coat/torn.png"
says err "bag/empty.png"
says err "2 skipped"
expect 65 "${train[@]}" --images damaged --out skipped --strict
says err "empty.png"

# Where nothing can be written, and where nothing is.
echo "in the way" >file
expect 73 "${train[@]}" --out file/run
says err "file"
expect 69 "${train[@]}" --device cuda --out gpu
if [ "$(id -u)" != 0 ]; then
    mkdir closed && chmod 500 closed
    expect 73 "${train[@]}" --out closed/run
fi

# --- sampling

sample=(sample --model run --class "ankle boot:3" --class bag:4 --class 2:2 --seed 3 --sampler ddim --eta 0.5 --steps 3
    --guidance 1.5)
expect 0 "${sample[@]}" --out full --batch 8 --threads 2
[ "$(head -1 out)" = full ] || fail "the result on standard output is not the folder"
[ "$(find full -name '*.png' | wc -l)" = 9 ] || fail "there are not nine images"
[ "$(find "full/ankle boot" -name '*.png' | wc -l)" = 3 ] || fail "there are not three ankle boots"
for file in manifest.json metadata.jsonl dataset.json DONE; do [ -s full/$file ] || fail "full/$file is missing"; done
is_json full/metadata.jsonl
! grep -rqF "$work" full || fail "a path of this machine got into the images' folder"
[ "$(sha256sum full/*/*.png | cut -d ' ' -f 1 | sort -u | wc -l)" = 9 ] || fail "some images are the same"
for hash in $(sha256sum full/*/*.png | cut -d ' ' -f 1); do
    grep -qF "$hash" full/manifest.json || fail "manifest.json lacks an image's hash"
done

# Batch, threads, shards change nothing.
expect 0 "${sample[@]}" --out alone --batch 1 --threads 1 --quiet
is_empty err
same full alone
expect 0 "${sample[@]}" --out shards --shard 1/2
[ ! -e shards/DONE ] || fail "DONE stands although half of the images are missing"
expect 0 "${sample[@]}" --out shards --shard 0/2 --json
is_json out
for event in start progress result; do says out "\"event\":\"$event\""; done
same full shards
expect 0 "${sample[@]}" --out unguided --guidance 1 --quiet
! cmp -s full/bag/000003.png unguided/bag/000003.png || fail "guidance changes nothing"

# A rerun fills gaps and leaves the rest alone.
touch -d 2001-01-01 full/bag/000004.png
rm full/bag/000003.png
truncate -s 50 full/coat/000007.png
expect 0 "${sample[@]}" --out full
says err "2 images written, 7 were there"
same full alone
[ "$(date -r full/bag/000004.png +%Y)" = 2001 ] || fail "an image that was there was written again"
expect 0 "${sample[@]}" --out full --json
says out '"written":0'

# Stopped in the middle, and two at once.
long=(sample --model run -n 300 --steps 3 --batch 4 --threads 1)
"$program" "${long[@]}" --out halved --json >events 2>/dev/null </dev/null &
pid=$!
wait_for '"event":"progress"' events $pid || fail "sampling ended before it could be stopped"
kill -STOP $pid
expect 75 "${long[@]}" --out halved
says err "$pid"
kill -TERM $pid
kill -CONT $pid
wait $pid
code=$?
[ $code = 75 ] || fail "sampling gave $code after SIGTERM, not 75"
[ ! -e halved/DONE ] || fail "an interrupted run is DONE"
expect 0 "${long[@]}" --out halved
! grep -q ' 0 were there' err || fail "the second call drew everything again"
expect 0 "${long[@]}" --out whole --threads 2 --batch auto
same halved whole

# A sheet lies beside the folder.
expect 0 sample --model run -n 6 --steps 2 --out sheet --grid
[ -s sheet-grid.png ] || fail "no grid"
says out sheet-grid.png

# What is wrong is said.
expect 2 sample --model run --class "ankel boot" --out no
says err "did you mean 'ankle boot'?"
expect 2 sample --model run --setps 3 --out no
says err "did you mean --steps?"
expect 2 sample --model run --steps 2000 --out no
expect 66 sample --model nowhere --out no
says err nowhere
expect 65 sample --model run/config.json --out no
cp -r run/model cut
truncate -s 5000 cut/unet/diffusion_pytorch_model.safetensors
expect 65 sample --model cut --out no
says err cut/unet/diffusion_pytorch_model.safetensors
cp -r run/model odd
sed -i 's/"DownBlock2D"/"CrossAttnDownBlock2D"/' odd/unet/config.json
expect 65 sample --model odd --out no
says err CrossAttnDownBlock2D
expect 73 sample --model run -n 3 --steps 2 --out file/no
expect 69 sample --model run --device cuda --out no
[ ! -e no ] || fail "a refused call left a folder"
# Another job's folder is not mixed with this one's.
expect 73 "${sample[@]}" --seed 4 --out full
says err "seed 3 there, 4 now"

# --- info

expect 0 info run
says out "ankle boot"
expect 0 info run/model
says out "1.43 M"
expect 0 info images
says out "coat"
expect 0 info full/bag/000004.png
says out "ddim"
expect 0 info full
for path in run run/model images full full/bag/000004.png; do
    expect 0 info --json "$path"
    is_json out
done
expect 65 info file

# --- help and manual pages name every option
for command in train sample; do
    "$program" $command --help >help.txt
    "$program" man $command | sed 's/\\-/-/g' >man.txt
    grep -oE '\{?\.name = "[a-z0-9-]+"' "$source/src/$command/${command}_options.c" | sed 's/.*"\(.*\)"/\1/' >names
    [ "$(wc -l <names)" -gt 15 ] || fail "$command: the option table has only $(wc -l <names) names"
    while IFS= read -r name; do
        for text in help.txt man.txt; do
            grep -qE -- "--(\[no-\])?$name\b" $text || grep -q -- "--no-$name" $text ||
                fail "$text of $command lacks --$name"
        done
    done <names
done

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
