#!/usr/bin/env bash
# For a machine with a GPU: builds for it, holds every op and whole networks against their references, looks for races
# and wrong accesses with compute-sanitizer, trains 200 steps in bf16 and fp32, and measures, beside PyTorch if that is
# there. One call, less than 8 minutes; what it prints belongs into docs/gpu.md, with the date and the commit.
#
#   tools/gpu-check.sh [--build FOLDER] [--out FOLDER] [PART...]
#
# --build  take the programs of a folder that was built elsewhere (cmake -DDIFFGEN_GPU_TESTS=ON); shared libraries that
#          this machine lacks may lie in FOLDER/lib
# --out    build/gpu-check: report.txt and what the parts wrote
# PART     of: ops program losses sanitizer torch dp libraries bench; all by default
#
# PYTHON names a Python with torch and diffusers; python3 is tried otherwise. Preparing torch.compile takes minutes (READY_WITHIN,
# 240 s), so it goes on beside the tests, and is measured when they are through; TORCH_VARIANTS are what is compared.
set -uo pipefail
cd "$(dirname "$0")/.."
out=build/gpu-check
build=
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=$2 && shift 2 ;;
    --out) out=$2 && shift 2 ;;
    -*) echo "usage: tools/gpu-check.sh [--build FOLDER] [--out FOLDER] [PART...]" >&2 && exit 2 ;;
    *) break ;;
    esac
done
parts=" ${*:-ops program losses sanitizer torch dp libraries bench} "
mkdir -p "$out"
out=$(cd "$out" && pwd)
exec > >(tee "$out/report.txt") 2>&1
started=$SECONDS
failed=()

title() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }
wanted() { [[ $parts == *" $1 "* ]]; }
# part PART TITLE COMMAND...: one that fails does not keep the others from running
part() {
    local name=$2
    wanted "$1" || return 0
    shift 2
    title "$name"
    "$@" || { failed+=("$name"); echo "-- $name: FAILED"; }
}

title "machine"
date -u +%F
git rev-parse --short HEAD 2>/dev/null || true
if ! nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv; then
    echo "gpu-check.sh: no GPU here" >&2
    exit 69
fi

build_here() {
    build=build/gpu
    tools/install-packages.sh build test || echo "-- packages could not be installed; going on with what is there"
    local capability
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
    [ "$capability" != 90 ] || capability=90a
    cmake -G Ninja -B "$build" -DCMAKE_BUILD_TYPE=Release -DDIFFGEN_CUDA=on -DDIFFGEN_GPU_TESTS=ON \
        -DDIFFGEN_CUDA_ARCHITECTURES="$capability-real" >"$out/configure.log" 2>&1 &&
        cmake --build "$build" >"$out/build.log" 2>&1 || {
        tail -30 "$out/configure.log" "$out/build.log"
        exit 1
    }
}
if [ -z "$build" ]; then
    title "build"
    build_here
fi
build=$(cd "$build" && pwd)

# with_libraries COMMAND...: the programs find the libraries that came with them; nobody else gets to see those
with_libraries() { LD_LIBRARY_PATH=$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$@"; }
diffgen=$out/diffgen
printf '#!/usr/bin/env bash\nLD_LIBRARY_PATH=%q exec %q "$@"\n' \
    "$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$build/diffgen" >"$diffgen"
chmod +x "$diffgen"
"$diffgen" devices

python=${PYTHON:-python3}
beside_torch=
if wanted torch && "$python" -c 'import torch, diffusers' 2>/dev/null; then
    rm -f "$out/now"
    mkdir -p "$out/inductor"
    TORCHINDUCTOR_CACHE_DIR=$out/inductor PYTHON=$python tools/bench/compare.sh --diffgen "$diffgen" --device cuda --preset small,base --batch 128,64 \
        --rounds 2 --seconds 1.5 --variants "${TORCH_VARIANTS:-channels_last,compile}" --ready-within "${READY_WITHIN:-240}" \
        --start-when "$out/now" --json "$out/torch.json" >"$out/torch.log" 2>"$out/torch.err" &
    beside_torch=$!
fi

# One process per program, all tests in it: a CUDA context costs seconds.
ops() {
    local test pids=() code=0
    for test in "$build"/tests/test_*_cuda; do
        (CK_FORK=no with_libraries timeout 120 "$test" >"$out/$(basename "$test").log" 2>&1
            result=$?
            echo "$(basename "$test"): $(grep -E '^[0-9]+%' "$out/$(basename "$test").log")"
            [ $result = 0 ] || grep -vE '^[0-9]+%|^Running' "$out/$(basename "$test").log" | head -20
            exit $result) &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || code=1; done
    return $code
}
part ops "ops and networks against their references" ops
part program "the program" bash tests/e2e/test_cuda.sh "$diffgen" "$PWD"

losses() { # PRECISION
    "$diffgen" train --images samples/fashion --preset tiny --steps 200 --batch 64 --seed 3 --grid-every never \
        --log-every 20 --device cuda --precision "$1" --out "$out/run-$1" --quiet
    grep -o '"loss": *[0-9.e-]*' "$out/run-$1/metrics.jsonl" | grep -o '[0-9.e-]*$' | tr '\n' ' '
    echo
}
track() {
    rm -rf "$out"/run-*
    losses fp32 >"$out/fp32" && losses bf16 >"$out/bf16" && cat "$out/fp32" "$out/bf16" &&
        paste <(tr ' ' '\n' <"$out/fp32") <(tr ' ' '\n' <"$out/bf16") |
        awk 'NF == 2 { d = $1 - $2; if (d < 0) d = -d; if (!(d <= 0.05 * $1)) exit 1; n++ } END { exit n < 5 }'
}
part losses "200 steps: the losses of bf16 are within 5 % of fp32's" track

sanitize() { # TOOL TEST[:I/N]...: of a test the I-th of N shares
    local tool=$1 test log pids=() code=0
    shift
    for test in "$@"; do
        log=$out/$tool-${test//[:\/]/-}.log
        (CK_FORK=no DG_TEST_SHARE=${test#*:} with_libraries timeout 100 compute-sanitizer --tool "$tool" \
            --error-exitcode 1 --print-limit 5 "$build/tests/${test%:*}" >"$log" 2>&1
            result=$?
            echo "$tool $test: exit code $result, $(grep SUMMARY "$log")"
            exit $result) &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || code=1; done
    return $code
}
if ! command -v compute-sanitizer >/dev/null; then
    wanted sanitizer && title "compute-sanitizer is not installed: left out"
else
    part sanitizer "memcheck" sanitize memcheck test_warp_cuda test_group_norm_cuda test_attention_cuda \
        test_resample_cuda test_conv2d_cuda test_joined_cuda test_conv2d_padded_cuda test_agreement_cuda
    # Those of conv2d and attention take racecheck more than 100 s in one piece. Odd shares spread the large shapes.
    part sanitizer "racecheck" sanitize racecheck test_warp_cuda test_group_norm_cuda test_attention_cuda:{0..2}/3 \
        test_conv2d_cuda:{0..6}/7
fi

if [ -n "$beside_torch" ]; then # measured when nothing else runs
    title "beside PyTorch, once torch.compile is through"
    touch "$out/now"
    wait "$beside_torch" || failed+=("beside PyTorch")
    cat "$out/torch.log"
    grep 'left out' "$out/torch.err"
fi
part dp "private steps" timeout 90 "$diffgen" bench --preset small --batch 128 --device cuda --seconds 2 --dp --op private
part libraries "convolutions beside cuDNN and cuBLASLt" timeout 90 "$diffgen" bench --preset small --batch 128 \
    --device cuda --seconds 0.5 --op conv2d
for preset in small base; do
    part bench "bench $preset" timeout 60 "$diffgen" bench --preset "$preset" --device cuda --seconds 2
done

title "done"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
echo "everything passed"
