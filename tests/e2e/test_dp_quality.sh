#!/usr/bin/env bash
# What makes private models better, and what measures them, as a user meets it: EDM models and their samplers, a start
# from another model, noisy central images on the ledger, canaries and the audit.
# usage: test_dp_quality.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"
export DIFFGEN_LEDGER=$work/ledger.sqlite

copy_classes() { # FOLDER COUNT CLASS...
    local folder=$1 count=$2 class
    shift 2
    for class in "$@"; do
        mkdir -p "$folder/$class"
        find "$source/samples/fashion/$class" -name '*.png' | sort | head -"$count" | xargs -I{} cp {} "$folder/$class/"
    done
}
copy_classes images 12 bag coat dress
copy_classes public 8 coat dress sneaker
sed 's/"block_out_channels": \[[^]]*\]/"block_out_channels": [16, 16, 32]/' "$source/models/tiny.json" >small.json
small=(--preset small.json --batch 6 --micro-batch 4 --log-every 1 --grid-every never)
private=(train --images images "${small[@]}" --dp --epsilon 8 --noise-multiplicity 2 --steps 4)

number() { grep -oE "\"$1\": ?[-0-9.e+]+" "$2" | head -1 | grep -oE '[-0-9.e+]+$'; }
check() { awk "BEGIN { exit !($1) }" </dev/null || fail "not so: $1"; }
# booked MULTIPLIER: steps on record of the mechanism with that noise
booked() {
    "$program" budget images --json >budget.json 2>err || [ $? = 21 ]
    grep -oE '"noise_multiplier": ?[0-9.e+-]+, ?"steps": ?[0-9]+' budget.json | tr -d '" ' | tr ':,' '  ' |
        awk -v wanted="$1" '$2 == wanted { n += $4 } END { print n + 0 }'
}

# --- EDM models

expect 0 train --images images "${small[@]}" --prediction edm --sigma-data 0.6 --p-mean -1 --steps 3 --out edm --quiet
says edm/model/scheduler/scheduler_config.json '"EDMEulerScheduler"'
says edm/model/scheduler/scheduler_config.json '"sigma_data": 0.6'
[ -s edm/model/unet/config.json ] && [ ! -e edm/model/model_index.json ] || fail "no pipeline can run an EDM model"
for sampler in euler heun churn dpmsolver++; do
    expect 0 sample --model edm --sampler "$sampler" --steps 3 -n 3 --out "edm-$sampler" --quiet
done
! cmp -s edm-heun/bag/000000.png edm-churn/bag/000000.png || fail "churn adds no noise"
expect 0 sample --model edm --sampler heun --steps 3 --sigma-max 20 --rho 5 -n 3 --out edm-20 --quiet
says edm-20/manifest.json '"sigma_max"'
! cmp -s edm-heun/bag/000000.png edm-20/bag/000000.png || fail "--sigma-max changes nothing"
expect 0 sample --model edm --sampler churn --churn 2 --churn-min 1 --steps 3 -n 3 --out edm-churn2 --quiet
expect 2 sample --model edm --sampler ddim -n 3 --out refused
says err "EDM model"
expect 2 sample --model edm --sampler heun --churn 5 -n 3 --out refused
says err "--sampler churn"
expect 2 sample --model edm --sampler heun --sigma-min 5 --sigma-max 2 -n 3 --out refused
says err "above sigma_min"
expect 2 train --images images "${small[@]}" --prediction edm --min-snr 5 --out refused
says err "--min-snr"
expect 2 train --images images "${small[@]}" --prediction v --sigma-data 0.5 --out refused
says err "--prediction edm"
expect 2 train --images images "${small[@]}" --prediction edm --beta-schedule linear --out refused
says err "--beta-schedule"
expect 0 "${private[@]}" --prediction edm --out private-edm --quiet
says private-edm/model/scheduler/scheduler_config.json '"sigma_data": 0.5'

# --- a start from another model

expect 0 train --images public "${small[@]}" --steps 3 --out public-run --quiet
expect 0 "${private[@]}" --init-from public-run/model --out started
says err "knows 2 of the 3 classes"
says started/model/README.md "taken to be public"
says started/privacy.json '"model_sha256"'
says started/model/diffgen.json '"init"'
! grep -q "$work" started/model/README.md started/model/diffgen.json || fail "the card tells a path"
rm -r started/checkpoints/step-000000004 # as if it had been killed before the last one
expect 0 "${private[@]}" --init-from public-run/model --out started --quiet
says started/model/README.md "taken to be public"
expect 65 train --images public "${small[@]}" --channels 3 --init public-run/model --out refused
says err "--channels 1"
expect 65 "${private[@]}" --prediction edm --init public-run/model --out refused
says err "--prediction v"
expect 0 "${private[@]}" --init private-edm --prediction edm --out started-private --quiet
says started-private/model/README.md "trained with epsilon 8, delta"

# --- noisy central images

expect 0 "${private[@]}" --out warm --central-images 2 --central-noise 6 --central-steps 3
says err "warm-up     2 noisy central images"
[ -s warm/central.png ] || fail "there is no central.png to look at"
says warm/model/README.md "| warm-up | 2 noisy central images of each class"
check "$(number epsilon warm/privacy.json) <= 8"
[ "$(booked 6.0)" = 2 ] || fail "the ledger has $(booked 6.0) queries of 2"
# the same run without a warm-up may have less noise
expect 0 "${private[@]}" --out cold --quiet
check "$(number noise_multiplier warm/privacy.json) > $(number noise_multiplier cold/privacy.json)"
# the two together are what the accountant says of them
expect 0 accountant --sample-rate "$(number sample_rate warm/privacy.json)" --steps 4 --json \
    --noise-multiplier "$(number noise_multiplier warm/privacy.json)" --delta "$(number delta warm/privacy.json)" --compose 1,6,2
check "($(number epsilon out) - $(number epsilon warm/privacy.json))^2 < 1e-12"
# the queries are not made again by a run that goes on
rm -r warm/checkpoints/step-000000004 warm/DONE
expect 0 "${private[@]}" --out warm --central-images 2 --central-noise 6 --central-steps 3 --quiet
[ "$(booked 6.0)" = 2 ] || fail "a resumed run makes its queries again"
# killed in the warm-up: what was released is on record, and again what is released again
"$program" "${private[@]}" --out cut --central-images 2 --central-noise 7 --central-steps 100000 >out 2>err </dev/null &
pid=$!
for _ in $(seq 200); do
    [ -s cut/central.png ] && break
    sleep 0.1
done
kill -9 "$pid"
wait "$pid" 2>/dev/null
[ "$(booked 7.0)" = 2 ] || fail "killed after 2 queries, the ledger has $(booked 7.0)"
expect 0 "${private[@]}" --out cut2 --central-images 2 --central-noise 7 --central-steps 2 --secure-noise --quiet
[ "$(booked 7.0)" = 4 ] || fail "the ledger has $(booked 7.0) queries of 4"
expect 2 "${private[@]}" --out refused --central-noise 3
says err "without --central-images"
expect 2 "${private[@]}" --out refused --central-images 5 --central-noise 0.1
says err "epsilon"
expect 21 "${private[@]}" --out refused --central-images 1 --epsilon-total 9

# --- canaries

audited=(train --images images "${small[@]}" --dp --delta 1e-6 --noise-multiplier 1.5 --sample-rate 1 --batch 36 --noise-multiplicity 1
    --steps 12 --checkpoint-every 4 --canaries 2000)
expect 0 "${audited[@]}" --out audited
says err "audit       epsilon is at least"
says audited/model/README.md "| audit of this run | 2000 canaries"
lower=$(number epsilon_at_least audited/privacy.json)
check "$lower <= $(number epsilon audited/privacy.json)"
check "$lower > 0.3"
grep -q '"planted"' audited/model/diffgen.json || fail "diffgen.json does not tell of the audit"
rm -r audited/checkpoints/step-000000012 audited/DONE
expect 0 "${audited[@]}" --out audited --json
grep -q '"epsilon_at_least"' out || fail "the result does not tell of the audit"
check "$(number epsilon_at_least audited/privacy.json) > 0.3"
expect 2 train --images images "${small[@]}" --canaries 100 --out refused
says err "--canaries means nothing without --dp"
expect 2 "${private[@]}" --canaries 5 --out refused

exit $((failures > 0))
