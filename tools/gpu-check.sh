#!/usr/bin/env bash
# For a machine with a GPU: builds for it, holds every op and whole networks against their references, looks for races
# and wrong accesses with compute-sanitizer, trains 200 steps in bf16 and fp32, and measures. One call, less than 8
# minutes; what it prints belongs into docs/gpu.md, with the date and the commit.
#
#   tools/gpu-check.sh [OUTPUT-FOLDER]      build/gpu-check: report.txt and what the parts wrote
#
# PYTHON names a Python with torch and diffusers, if the comparison with them is wanted.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-build/gpu-check}
build=build/gpu
mkdir -p "$out"
out=$(cd "$out" && pwd)
exec > >(tee "$out/report.txt") 2>&1
started=$SECONDS
failed=()

title() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }
# part NAME COMMAND...: a part that fails does not keep the others from running
part() {
    local name=$1
    shift
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
nvcc --version | tail -2

title "build"
tools/install-packages.sh build test || echo "-- packages could not be installed; going on with what is there"
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
cmake -G Ninja -B "$build" -DCMAKE_BUILD_TYPE=Release -DDIFFGEN_CUDA=on -DDIFFGEN_GPU_TESTS=ON \
    -DDIFFGEN_CUDA_ARCHITECTURES="$capability" >"$out/configure.log" 2>&1 &&
    cmake --build "$build" >"$out/build.log" 2>&1 || {
    tail -30 "$out/configure.log" "$out/build.log"
    exit 1
}
diffgen=$build/diffgen
"$diffgen" devices

part "ops and networks against their references" ctest --test-dir "$build" -L gpu --output-on-failure
part "the program" bash tests/e2e/test_cuda.sh "$PWD/$diffgen" "$PWD"

sanitize() { # TOOL TEST...
    local tool=$1
    shift
    for test in "$@"; do
        CK_FORK=no timeout 60 compute-sanitizer --tool "$tool" --error-exitcode 1 --print-limit 5 \
            "$build/tests/$test" >"$out/$tool-$test.log" 2>&1 || { echo "$tool: $test"; tail -15 "$out/$tool-$test.log"; return 1; }
        echo "$tool $test: clean"
    done
}
if command -v compute-sanitizer >/dev/null; then
    part "memcheck" sanitize memcheck test_warp_cuda test_group_norm_cuda test_attention_cuda test_resample_cuda
    part "racecheck" sanitize racecheck test_warp_cuda test_group_norm_cuda
else
    title "compute-sanitizer is not installed: left out"
fi

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
part "200 steps: the losses of bf16 are within 5 % of fp32's" track

for preset in small base; do
    part "bench $preset" timeout 60 "$diffgen" bench --preset "$preset" --device cuda --seconds 4
done
for preset in small base; do
    [ -z "${PYTHON:-}" ] || part "$preset beside PyTorch" timeout 150 tools/bench/compare.sh --diffgen "$diffgen" \
        --device cuda --preset "$preset" --batch 128 --rounds 1 --seconds 4
done

title "done"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
echo "everything passed"
