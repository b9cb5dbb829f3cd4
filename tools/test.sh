#!/usr/bin/env bash
# Everything that must hold before a change goes in; CI calls this. Installs what the tests need, builds the release
# preset (with nvcc, where there is one: then the kernels' machine code is looked at as well) and runs every test, then
# builds the asan preset (AddressSanitizer, UndefinedBehaviorSanitizer) and runs the unit and op tests under it, the
# CUDA backend's on the simulator of tests/cudasim. Fails if anything fails; on two cores it takes less than 25 minutes.
#
#   tools/test.sh [--fast]      --fast: leave the second half out
set -euo pipefail
cd "$(dirname "$0")/.."

fast=
case ${1:-} in
--fast) fast=1 ;;
'') ;;
*)
    echo "usage: tools/test.sh [--fast]" >&2
    exit 2
    ;;
esac

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0

# build PRESET CMAKE-ARGUMENTS...; run PRESET CTEST-ARGUMENTS...
build() {
    local preset=$1
    shift
    cmake --preset "$preset" -DDIFFGEN_BUILD_TESTS=ON "$@"
    cmake --build --preset "$preset"
}
run() {
    local preset=$1
    shift
    if ctest --preset "$preset" -j "$(nproc)" "$@" 2>&1 | tee -a "$log"; then
        summary+=("$preset: passed")
    else
        summary+=("$preset: FAILED")
        failed=1
    fi
}
summary=()

tools/install-packages.sh build test

# What tools/quickstart.sh may have left out.
build release -DDIFFGEN_CUDA=auto -UDIFFGEN_CUDA_ARCHITECTURES -DDIFFGEN_CUDA_STRICT=ON
run release
if [ -d build/release/kernels/CMakeFiles/diffgen_kernels_cuda.dir ]; then
    code=0
    tools/check-sass.sh build/release >build/release/sass.txt || code=$?
    case $code in
    0) summary+=("machine code of the CUDA kernels: as expected") ;;
    77) summary+=("machine code of the CUDA kernels: not looked at") ;;
    *)
        summary+=("machine code of the CUDA kernels: FAILED")
        failed=1
        ;;
    esac
fi

if [ -z "$fast" ]; then
    build asan
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0
    export UBSAN_OPTIONS=print_stacktrace=1
    run asan -LE '^e2e$'
fi

echo
grep -E '^[0-9]+% tests passed|^Total Test time|\((Failed|Timeout|SEGFAULT|Subprocess aborted|Not Run|Exception.*)\)' \
    "$log" | sort -u || true
printf '%s\n' "${summary[@]}"
exit "$failed"
