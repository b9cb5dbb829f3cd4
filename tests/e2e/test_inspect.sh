#!/usr/bin/env bash
# diffgen inspect on sample images: files, streams, exit codes, a copy and a leak.
# usage: test_inspect.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

for class in bag sneaker; do
    mkdir -p "images/$class" "held/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -40 | xargs cp -t "images/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | tail -20 | xargs cp -t "held/$class"
done
one=$(find images/bag -name '*.png' | sort | head -1)
cp "$one" images/bag/again.png
cp "$one" held/bag/leaked.png
head -c 100 "$one" >images/bag/torn.png

expect 0 inspect images --holdout held --out found
says out "       1  damaged files"
says out "       1  pairs of the same file"
says out "       1  held-out images whose file is among the images"
for file in inspection.json inspection.html; do
    [ -s "found/$file" ] || fail "no found/$file"
done
says found/inspection.html "again.png"
says found/inspection.html "fewer than 200 images"
grep -qE '(src|href)="(https?:)?//|<script' found/inspection.html && fail "the page asks for something from outside"

expect 0 inspect images --out json --json
[ "$(wc -l <out)" = 1 ] || fail "--json prints more than one line"
says out '"kind":"inspection"'
is_empty err
expect 0 inspect images --out quiet --quiet
is_empty err

# More classes than the chart has bars.
for class in $(seq 10 35); do
    mkdir -p "many/größe-$class"
    find "$source/samples/fashion/bag" -name '*.png' | sort | sed -n "$((2 * class)),$((2 * class + 1))p" | xargs cp -t "many/größe-$class"
done
expect 0 inspect many --out many-found --quiet
says many-found/inspection.html "The first 24 of 26 classes"
iconv -f UTF-8 -t UTF-8 many-found/inspection.html >out || fail "the page is not UTF-8"

expect 2 inspect
expect 66 inspect nowhere
mkdir empty && expect 66 inspect empty
mkdir single && cp "$one" single/ && expect 65 inspect single
says err "one image; at least two"

exit $((failures > 0))
