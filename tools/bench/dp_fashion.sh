#!/usr/bin/env bash
# Fashion-MNIST with differential privacy, 28 pixels, class-conditional, no public data: trains for each epsilon, draws a
# labelled synthetic set, and evaluates it on the test images, for comparison with the published rows (Dockhorn et al.
# 2023, table 1).
#
#   tools/bench/dp_fashion.sh [--epsilon "10 1"] [--delta 1e-5] [--minutes M] [--images N] [--out DIR] [--device auto]
#                             [--settings auto|dpdm] [--no-central] [--diffgen PROGRAM] [--data FOLDER]
#
#   --minutes M   training time for each epsilon (default 3). The number of passes through the network that fit is
#                 measured first; batch, steps and noise multiplicity follow from it, and the noise from those.
#   --settings dpdm   those of the paper, however long it takes: batch 4096, 300 epochs, K = 32, learning rate 3e-4, EDM
#                 with sigma_data sqrt(1/3), clipping at 1, EMA 0.999, no warm-up
#   --no-central  without the warm-up on noisy central images
#   --images N    synthetic images (default 60000 on a GPU, 10000 on the CPU)
#
# The data is the Debian package dataset-fashion-mnist. Leaves OUT/eps-E/run, OUT/eps-E/synthetic, OUT/eps-E/report and
# OUT/summary.jsonl.
# Settings are published ones or follow from the time; none was chosen by looking at results on these images.
set -euo pipefail
cd "$(dirname "$0")/../.."

epsilons="10 1" delta=1e-5 minutes=3 images="" out=dp-fashion device=auto settings=auto central=5 seed=0
diffgen=build/release/diffgen data=/usr/share/datasets/fashion-mnist
while [ $# -gt 0 ]; do
    case $1 in
    --epsilon) epsilons=$2 && shift 2 ;;
    --delta) delta=$2 && shift 2 ;;
    --minutes) minutes=$2 && shift 2 ;;
    --images) images=$2 && shift 2 ;;
    --out) out=$2 && shift 2 ;;
    --device) device=$2 && shift 2 ;;
    --settings) settings=$2 && shift 2 ;;
    --no-central) central=0 && shift ;;
    --diffgen) diffgen=$2 && shift 2 ;;
    --data) data=$2 && shift 2 ;;
    *)
        echo "dp_fashion.sh: unknown option $1; the first lines of this file are its help" >&2
        exit 2
        ;;
    esac
done
if [ ! -e "$data" ]; then
    echo "dp_fashion.sh: $data is not there; apt-get install dataset-fashion-mnist, or give --data" >&2
    exit 66
fi
mkdir -p "$out"
DIFFGEN_LEDGER=$(realpath -m "${DIFFGEN_LEDGER:-$out/privacy-ledger.sqlite}")
export DIFFGEN_LEDGER

gpu=
case $device in
cuda) gpu=1 ;;
auto) "$diffgen" devices --json | tr -d ' ' | grep -q '"auto_device":"cuda"' && gpu=1 ;;
esac
# The CPU's two cores or so get a network of a quarter of the arithmetic; fewer parameters also take less noise.
preset=tiny
if [ -z "$gpu" ]; then
    preset=$out/cpu.json
    sed 's/"block_out_channels": \[[^]]*\]/"block_out_channels": [16, 32, 32]/' models/tiny.json >"$preset"
fi
[ -n "$images" ] || images=$([ -n "$gpu" ] && echo 60000 || echo 10000)

# number KEY: the first number after "KEY": on standard input
number() { grep -oE "\"$1\": ?[-0-9.e+]+" | head -1 | grep -oE '[-0-9.e+]+$'; }

case $settings in
dpdm)
    central=0
    how=(--batch 4096 --epochs 300 --noise-multiplicity 32 --lr 3e-4 --prediction edm --sigma-data 0.57735)
    ;;
auto)
    pass_ms=$("$diffgen" bench --model "$preset" --device "$device" --dp --seconds 3 --json | number pass_ms)
    # Few updates learn little, however little noise they have: at least 400, at most 4500; what is left goes into K.
    read -r batch steps copies rate <<<"$(awk -v ms="$pass_ms" -v minutes="$minutes" 'BEGIN {
        passes = minutes * 60000 / ms * 0.9
        batch = 4096
        while (batch > 256 && passes / batch < 400) batch /= 2
        steps = passes / batch
        copies = 1
        while (copies < 32 && steps / copies > 2000) copies *= 2
        steps = int(steps / copies); if (steps > 4500) steps = 4500; if (steps < 20) steps = 20
        print batch, steps, copies, (steps < 2000 ? "1e-3" : "3e-4") }')"
    echo "a pass takes $pass_ms ms: $steps steps of $batch images, $copies noise draws an image"
    how=(--batch "$batch" --steps "$steps" --noise-multiplicity "$copies" --lr "$rate")
    ;;
*)
    echo "dp_fashion.sh: --settings $settings; it is auto or dpdm" >&2
    exit 2
    ;;
esac
[ "$central" = 0 ] || how+=(--central-images "$central")

for epsilon in $epsilons; do
    folder=$out/eps-$epsilon
    private=(--dp --epsilon "$epsilon" --delta "$delta" --max-grad-norm 1 "${how[@]}")
    # Dockhorn et al., table 4: EDM is better at epsilon 1 and 10, v-prediction at 0.2
    if [ "$settings" = auto ] && awk "BEGIN { exit !($epsilon >= 1) }"; then
        private+=(--prediction edm --sigma-data 0.57735)
    fi
    started=$SECONDS
    "$diffgen" train --images "$data" --preset "$preset" --device "$device" --seed $seed "${private[@]}" \
        --checkpoint-every 10m --grid-every never --out "$folder/run"
    trained=$((SECONDS - started)) started=$SECONDS
    "$diffgen" sample --model "$folder/run" --device "$device" --sampler dpmsolver++ --steps 30 -n "$images" \
        --all-classes --grid --out "$folder/synthetic"
    sampled=$((SECONDS - started))
    "$diffgen" evaluate --real "$data" --holdout "$data/t10k-images-idx3-ubyte.gz" --synthetic "$folder/synthetic" \
        --out "$folder/report"
    printf '{"epsilon": %s, "delta": %s, "train_seconds": %d, "sample_seconds": %d, "images": %d, "settings": "%s"}\n' \
        "$epsilon" "$delta" "$trained" "$sampled" "$images" "${private[*]}" >>"$out/summary.jsonl"
done
