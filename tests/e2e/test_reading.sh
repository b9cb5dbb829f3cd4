#!/usr/bin/env bash
# What people do with their folders: a run inside the images, twice; results among the images; splits.
# usage: test_reading.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

mkdir faces
for class in bag sneaker; do
    mkdir "faces/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -6 | xargs cp -t "faces/$class"
done
cd faces || exit 1
trap 'rm -rf "$work"' EXIT
train=(train --images . --resolution 8 --batch 2 --steps 2 --grid-every 1 --quiet)

# The second call sees the same images, although the first has left pictures there.
expect 0 "${train[@]}"
expect 0 sample -n 2 --steps 1 --quiet
[ -s runs/faces/grids/step-000000001.png ] || fail "no grid in the run"
[ -s synthetic/faces/bag/000000.png ] || fail "nothing was drawn"
expect 0 "${train[@]}"
expect 0 train --images . --resolution 8 --batch 2 --steps 2 --grid-every 1 --dry-run
says err "images      12 to train on"
says err "own output in the data set is left out: runs/faces/"

# Named folders among the images are refused by every command that writes pictures.
expect 2 "${train[@]}" --out bag/run
says err "--out bag/run lies in the images of --images ."
expect 2 sample -n 1 --steps 1 --out drawn
says err "--out drawn lies in $PWD, the images the model was trained on"
expect 2 inspect . --out found
says err "--out found lies in the images"
[ -e drawn ] || [ -e bag/run ] || [ -e found ] && fail "a refused call left something behind"
cd .. || exit 1
expect 0 sample --model faces/runs/faces -n 2 --steps 1 --out drawn --quiet

# A split is read by every command, and --split reads another.
mkdir -p brain/Training brain/TESTING
cp -r faces/bag faces/sneaker brain/Training
cp -r faces/bag brain/TESTING
expect 0 info brain --json
says out '"images":12'
says out 'TESTING/ (6 images)'
expect 0 info brain --split test --json
says out '"images":6'
expect 2 info brain --split validation
says err "no such split"
mkdir asked
cp -r faces/bag asked/train
cp -r faces/sneaker asked/other
expect 65 train --images asked --dry-run
says err "two readings"
expect 0 train --images asked --dry-run --split none --resolution 8

# What falls away.
for i in 1 2 3 4 5 6 7 8; do head -c 60 faces/bag/*0.png >"asked/train/torn$i.png"; done
expect 65 train --images asked --split train --dry-run --resolution 8
says err "8 of 14 images are left out: 8 truncated PNG"
expect 0 train --images asked --split train --dry-run --resolution 8 --allow-skips
says err "warning: 8 of 14 images are left out"
[ "$(grep -c 'warning: skipped' err)" = 5 ] || fail "more than five skipped files are named"

# A column that is there and empty protects nobody.
mkdir owned
cp faces/bag/*.png owned
(cd owned && echo file_name,patient && for image in *.png; do echo "$image,"; done) >owned.csv
mv owned.csv owned/metadata.csv
expect 65 train --images owned --dp --epsilon 8 --delta 1e-3 --steps 5 --batch 2 --resolution 8 --group-by patient --dry-run
says err "has no value there"

exit $((failures > 0))
