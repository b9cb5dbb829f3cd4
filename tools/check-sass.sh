#!/usr/bin/env bash
# Looks at the machine code of the CUDA kernels, which needs no GPU: tensor-core products (a warpgroup's in the kernels
# that are Hopper's) and asynchronous copies in the
# matrix kernels, 16-byte accesses in those that wait for memory, and no kernel that spills registers. Prints a table of
# registers and shared memory (docs/gpu.md holds one), fails if an expectation does not hold.
#
#   tools/check-sass.sh [BUILD-FOLDER [ARCHITECTURE]]      build/release, sm_90a
#
# cuobjdump comes with the CUDA toolkit or, if that lacks it, from PyPI into BUILD-FOLDER/sass-tools; exit 77 without one.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
architecture=${2:-sm_90a}
objects=$build/kernels/CMakeFiles/diffgen_kernels_cuda.dir/cuda

if [ ! -d "$objects" ]; then
    echo "check-sass.sh: no CUDA kernels in $build: build it first, where a CUDA toolkit is found" >&2
    exit 2
fi
if ! command -v cuobjdump >/dev/null; then
    tools=$build/sass-tools
    if ! { [ -x "$tools/bin/pip" ] || python3 -m venv "$tools"; } ||
        ! "$tools/bin/pip" install --quiet --disable-pip-version-check nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm; then
        echo "check-sass.sh: no cuobjdump here, and none to be had from PyPI" >&2
        exit 77
    fi
    found=$(find "$tools" -name cuobjdump -type f | head -1)
    PATH=$(dirname "$found"):$PATH
fi

# A line per kernel: name, then how many of each instruction we ask about.
count_instructions() {
    cuobjdump -arch "$architecture" -sass "$1" | awk '
        function flush() {
            if (name != "")
                print name, total, hmma, hgmma, ldgsts, wide, local
            total = hmma = hgmma = ldgsts = wide = local = 0
        }
        /Function :/ { flush(); name = $3 }
        /^[ \t]+\/\*[0-9a-f]+\*\// {
            total++
            if (/ HMMA/) hmma++
            if (/ HGMMA/) hgmma++
            if (/ LDGSTS/) ldgsts++
            if (/ (LDG|STG)\.E[A-Z0-9.]*\.128| LDGSTS[A-Z0-9.]*\.128/) wide++
            if (/ (LDL|STL)/) local++
        }
        END { flush() }'
}
count_registers() {
    cuobjdump -arch "$architecture" -res-usage "$1" 2>&1 | awk '
        /Function/ { name = $2; sub(/:$/, "", name) }
        /REG:/ {
            match($0, /REG:[0-9]+/); reg = substr($0, RSTART + 4, RLENGTH - 4)
            match($0, /SHARED:[0-9]+/); shared = substr($0, RSTART + 7, RLENGTH - 7)
            print name, reg, shared
        }'
}

failures=0
kernels=0
complain() {
    echo "check-sass.sh: $*" >&2
    failures=$((failures + 1))
}
printf '%-86s %9s %7s %12s %6s %6s %7s %9s\n' kernel registers shared instructions HMMA HGMMA LDGSTS "16 bytes"
for object in "$objects"/*.cu.o; do
    while read -r name registers shared total hmma hgmma ldgsts wide local; do
        kernels=$((kernels + 1))
        readable=$(c++filt -p "$name" | sed -E 's/\(anonymous namespace\)::|^void //g; s/\(dg_grad_mode\)/mode /; s/ >/>/g')
        printf '%-86.86s %9d %7d %12d %6d %6d %7d %9d\n' "$readable" "$registers" "$shared" "$total" "$hmma" "$hgmma" \
            "$ldgsts" "$wide"
        [ "$local" = 0 ] || complain "$readable keeps registers in memory ($local accesses)"
        case $readable in
        *_wgmma_kernel*)
            [ "$architecture" != sm_90a ] || [ "$hgmma" -gt 0 ] || complain "$readable has no product of a warpgroup"
            [ "$architecture" != sm_90a ] || [ "$ldgsts" -gt 0 ] || complain "$readable has no asynchronous copy"
            ;;
        *'<conv_bf16'* | *'<conv_tf32'*)
            [ "$hmma" -gt 0 ] || complain "$readable has no tensor-core product"
            [ "$ldgsts" -gt 0 ] || complain "$readable has no asynchronous copy"
            ;;
        *attention*mma*)
            [ "$hmma" -gt 0 ] || complain "$readable has no tensor-core product"
            ;;
        *adamw_kernel* | *sum_squares_kernel* | pad_kernel* | *group_norm*'<__nv_bfloat16, 8'* | *group_norm*'<float, 4'*)
            [ "$wide" -gt 0 ] || complain "$readable has no 16-byte access"
            ;;
        esac
    done < <(join <(count_registers "$object" | sort -k1,1 -u) <(count_instructions "$object" | sort -k1,1 -u))
done
[ "$kernels" -gt 0 ] || complain "there is no code for $architecture in $objects"
exit $((failures > 0))
