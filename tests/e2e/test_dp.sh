#!/usr/bin/env bash
# Private training as a user meets it: what is promised and written, what is refused and why, what the ledger counts
# after a kill, and that nothing without noise gets out.
# usage: test_dp.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"
export DIFFGEN_LEDGER=$work/ledger.sqlite

# Three classes of twelve images, two of each of six patients in a class.
mkdir images
printf 'file_name,patient\n' >images/metadata.csv
for class in bag coat dress; do
    mkdir "images/$class"
    n=0
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -12 | while IFS= read -r image; do
        cp "$image" "images/$class/"
        printf '%s/%s,%s%d\n' "$class" "$(basename "$image")" "$class" $((n++ / 2)) >>images/metadata.csv
    done
done
sed 's/"block_out_channels": \[[^]]*\]/"block_out_channels": [16, 16, 32]/' "$source/models/tiny.json" >small.json
private=(train --images images --preset small.json --dp --batch 6 --micro-batch 4 --noise-multiplicity 2 --steps 4 --log-every 1
    --checkpoint-every 2 --grid-every never)

# number KEY FILE: the number after "KEY":
number() { grep -oE "\"$1\": ?[-0-9.e+]+" "$2" | head -1 | grep -oE '[-0-9.e+]+$'; }
# check EXPRESSION: of awk
check() { awk "BEGIN { exit !($1) }" </dev/null || fail "not so: $1"; }
booked() {
    "$program" budget images --json >budget.json 2>err || [ $? = 21 ]
    grep -oE '"steps": ?[0-9]+' budget.json | grep -oE '[0-9]+$' | awk '{ n += $1 } END { print n + 0 }'
}

# --- what is promised

expect 0 "${private[@]}" --out run --epsilon 8
says err "36 to train on, 0 held out"
says err "privacy     epsilon 8, delta"
says err "for adding or removing one image of 36"
! grep -q "bag 12" err || fail "the classes' sizes are told, which no option made public"
for file in privacy.json model/README.md metrics.jsonl; do
    [ -s "run/$file" ] || fail "run/$file is missing"
done
[ ! -e run/loss.svg ] || fail "a private run draws its loss"
! grep -q '"loss"' run/metrics.jsonl || fail "metrics.jsonl tells the loss"
! grep -q "36 images" run/log.txt || fail "log.txt tells the number of images"
says run/model/README.md "| unit of privacy | one image |"
says run/model/README.md "| steps | 4 |"
says run/model/diffgen.json '"privacy"'
says run/privacy.json '"adjacency": "add or remove one unit"'
check "$(number epsilon run/privacy.json) <= 8"
check "$(number epsilon run/privacy.json) > 7.98"
check "$(number steps run/privacy.json) == 4"
check "$(number sample_rate run/privacy.json) > 0.16666"
[ "$(booked)" = 4 ] || fail "the ledger has $(booked) steps of 4"
# So does a checkpoint, which may be drawn from, audited and started from before the run ends: of no less than is spent.
expect 0 info run/checkpoints/step-000000002 --json
check "$(number epsilon out) > 4 && $(number epsilon out) <= $(number epsilon run/privacy.json)"

# The calculator says the same of the same figures.
expect 0 accountant --sample-rate "$(number sample_rate run/privacy.json)" --steps 4 --json \
    --noise-multiplier "$(number noise_multiplier run/privacy.json)" --delta "$(number delta run/privacy.json)"
check "($(number epsilon out) - $(number epsilon run/privacy.json))^2 < 1e-12"

# Every run has its own noise, whatever the seed.
expect 0 "${private[@]}" --out again --epsilon 8 --quiet
! cmp -s run/model/unet/diffusion_pytorch_model.safetensors again/model/unet/diffusion_pytorch_model.safetensors ||
    fail "two private runs of one seed are the same: their noise can be known"
[ "$(booked)" = 8 ] || fail "the ledger has $(booked) steps of 8"
expect 0 sample --model run --num-samples 3 --out synthetic --steps 2 --quiet

# --- what is refused

expect 21 "${private[@]}" --out more --epsilon 8 --epsilon-total 9
says err "--epsilon-total 9"
[ "$(booked)" = 8 ] || fail "a refused run is on record"
expect 21 budget images --epsilon-total 9
refuse() {
    local text=$1
    shift
    expect 2 "${private[@]}" --out refused "$@"
    says err "$text"
    [ ! -e refused/metrics.jsonl ] || fail "a refused run trained"
}
refuse "--dp needs --epsilon"
refuse "--epsilon: 0 is out of range" --epsilon 0
refuse "--epsilon: -3 is out of range" --epsilon -3
refuse "must be below 0.0278" --epsilon 8 --delta 0.05
refuse "more than there are to sample from: 36" --epsilon 8 --batch 37
refuse "--holdout" --epsilon 8 --holdout 0.1
refuse "leaves it without one" --epsilon 8 --max-grad-norm off
refuse "cannot be clipped to so little" --epsilon 8 --max-grad-norm 1e-40
refuse "contradict each other" --epsilon 8 --sample-rate 0.9
refuse "too small to certify" --noise-multiplier 0.01 --steps 1000000
refuse "--epsilon allows 1" --epsilon 1 --noise-multiplier 0.5
refuse "has no column doctor" --epsilon 8 --group-by doctor
expect 2 train --images images --epsilon 8 --out refused
says err "--epsilon means nothing without --dp"
mkdir -p lonely/a && cp "images/bag/$(ls images/bag | head -1)" lonely/a/
expect 65 train --images lonely --preset small.json --dp --epsilon 8 --steps 1 --batch 1 --out refused
says err "has only one"

# --- groups, and what is public

expect 0 "${private[@]}" --out groups --epsilon 8 --group-by patient --assume-public counts
says err "for adding or removing one patient of 18"
says err "bag 12"
says err "groups/grids/data.png shows private images"
[ -s groups/grids/data.png ] || fail "the sheet of private images is missing"
! find groups/model -name '*.png' | grep -q . || fail "pictures are in the model folder"
says groups/model/README.md "| unit of privacy | one group of images |"
"$program" budget images >out 2>err
says out "group:patient" # which no image is, whatever the column is called
expect 2 "${private[@]}" --out refused --epsilon 8 --assume-public nothing
says err "--sample-rate, --delta and --batch"
expect 0 "${private[@]}" --out quiet --epsilon 8 --assume-public nothing --sample-rate 0.2 --delta 1e-3 --quiet

expect 0 "${private[@]}" --out secure --epsilon 8 --secure-noise --quiet
says secure/privacy.json "discrete Gaussian"
"$program" budget images >out 2>err
says out "sampled-discrete-gaussian"

# --- interrupted and killed

before=$(booked)
"$program" "${private[@]}" --out cut --epsilon 8 --steps 20 >out 2>err </dev/null &
pid=$!
for _ in $(seq 200); do
    [ -d cut/checkpoints/step-000000002 ] && break
    sleep 0.1
done
kill -9 "$pid"
wait "$pid" 2>/dev/null
after=$(booked)
steps=$(grep -c '"step"' cut/metrics.jsonl)
[ $((after - before)) -ge "$steps" ] || fail "the ledger has $((after - before)) steps, metrics.jsonl $steps"
[ $((after - before)) -le 20 ] || fail "the ledger has more steps than the run"
# What is told on the way is never less than what is spent.
while read -r line; do
    echo "$line" >line
    "$program" accountant --sample-rate 0.1666667 --noise-multiplier "$(number noise_multiplier cut/checkpoints/*/state.json)" \
        --delta "$(awk 'BEGIN { printf "%.17g", 1 / (36 * log(36)) }')" --steps "$(number step line)" --json >out 2>err
    check "$(number epsilon line) > $(number epsilon out) * 0.9999"
done <cut/metrics.jsonl
# Another length would be other noise. Pictures of steps that are made again go.
expect 78 "${private[@]}" --out cut --epsilon 8 --steps 40
says err "cannot change on the way"
mkdir -p cut/grids && touch cut/grids/step-000000000.png cut/grids/step-000000099.png
expect 0 "${private[@]}" --out cut --epsilon 8 --steps 20
says err "undone by a crash"
[ -e cut/grids/step-000000000.png ] || fail "a sample grid is gone"
[ ! -e cut/grids/step-000000099.png ] || fail "a sample grid of an undone step is left"
check "$(number epsilon_on_record cut/privacy.json) > $(number epsilon cut/privacy.json)"
says cut/privacy.json '"ledger_run"'
total=$(booked)
[ $((total - before)) -ge 20 ] || fail "a resumed run is not counted whole"
[ $((total - before)) -le $((20 + 16 + 2)) ] || fail "resuming counts $((total - before)) steps for 20"
check "$(number steps cut/privacy.json) == 20"

exit $((failures > 0))
