#!/usr/bin/env bash
# A patient's name in DICOM files is nowhere in what diffgen writes: messages, JSON, reports, run folder, samples.
# usage: test_dicom.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

files=$source/tests/fixtures/data/dicom
mkdir -p images/a images/b spoilt
cp "$files"/{plain,hounsfield,jpeg_ls}.dcm images/a
for name in implicit rle window enhanced; do
    cp "$files/$name.dcm" "images/b/$name" # no extension
done
grep -q PLANTED images/a/plain.dcm || fail "no name is planted in the files"
head -c 700 "$files/plain.dcm" >images/b/torn.dcm
head -c 500 "$files/bare.dcm" | tail -c 480 >images/b/beheaded.dcm
cp images/b/torn.dcm spoilt
(cd images && tar -cf ../images.tar .)

if "$program" info images 2>&1 | grep -q "no DCMTK"; then
    echo "this build reads no DICOM"
    exit 77
fi
everything() { cat out err >>said; }
for set in images images.tar; do
    expect 0 info "$set"
    everything
    expect 0 info "$set" --json
    everything
    says out '"images":7'
    expect 65 info "$set" --strict
    everything
done
says err "b/beheaded.dcm"
expect 65 info spoilt
everything
expect 0 inspect images --out report
everything
expect 0 train --images images --preset tiny --resolution 8 --batch 4 --micro-batch 4 --steps 2 --warmup 1 --window -1000:1000 \
    --grid-every 1 --out run
everything
expect 0 sample --model run -n 2 --steps 2 --out drawn
everything
expect 65 evaluate --real images --synthetic drawn --out compared # too few images
everything
if grep -rla PLANTED said report run drawn; then
    fail "a patient's name was found in these files"
fi
[ $failures -eq 0 ]
