#!/usr/bin/env bash
# Values that look like a mistake are said by every command that looks at images; the window that helps, --fit and
# --background go with a run and its model.
# usage: test_values.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

# Twelve bits in sixteen: 24 x 16 pixels with values from 256 to 4095.
dim_image() {
    printf 'P5 24 16 65535\n'
    for ((i = 0; i < 384; i++)); do
        value=$((i == 0 ? 256 : i == 1 ? 4095 : 256 + ((i * 97 + $1 * 31) % 3839)))
        printf '%b' "\\x$(printf %02x $((value / 256)))\\x$(printf %02x $((value % 256)))"
    done
}
mkdir -p images/a images/b
for k in 1 2 3; do
    dim_image "$k" >"images/a/$k.pgm"
    dim_image "$((k + 3))" >"images/b/$k.pgm"
done
advice="less than half of the scale 0..65535; --window 256:4095"

expect 0 info images --grid seen.png
says out "$advice"
says out "6 of 6 images are far from square"
[ "$(head -c 4 seen.png | tail -c 3)" = PNG ] || fail "--grid did not draw a PNG"
expect 2 info images --grid images/seen.png
[ ! -e images/seen.png ] || fail "--grid drew among the images"
expect 2 info images --grid seen.png --background mauve
says err "no such colour"
expect 2 info images --window 9:3
says err "LO must be below HI"
expect 0 info images --window auto --json
says out "window 256:4095"

expect 0 inspect images --out report
says err "$advice"

train=(train --images images --preset tiny --resolution 8 --batch 4 --warmup 1 --grid-every never)
expect 0 "${train[@]}" --steps 1 --out plain
says err "$advice"
expect 0 "${train[@]}" --steps 1 --out run --window auto --fit pad --background black
tr -d ' \n' <run/model/diffgen.json >info.txt
says info.txt '"reading":{"background":"#000000","fit":"pad","window":[256,4095]}'
for change in "--window 256:4095" "--window auto --fit crop" "--window auto --background white"; do
    # shellcheck disable=SC2086
    expect 78 "${train[@]}" --steps 2 --out run --fit pad --background black $change
    says err "the options differ"
done
expect 2 "${train[@]}" --steps 1 --out private --dp --epsilon 8 --window auto
says err "--assume-public window"
[ ! -e private ] || fail "a refused run left a folder"

[ $failures -eq 0 ]
