#!/usr/bin/env bash
# diffgen evaluate on small real images: what copies, blur, noise, missing classes and shuffled labels do to the numbers,
# the report's files, gates, bad input, and that threads change nothing.
# usage: test_evaluate.sh PROGRAM SOURCE_DIR SPOIL_IMAGES
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

# The sample images, cut into three sets: of each class every third one.
n=0
for class in "$source"/samples/fashion/*/; do
    name=$(basename "$class")
    mkdir -p "real/$name" "holdout/$name" "synthetic/$name"
    for image in "$class"*.png; do
        case $((n % 3)) in
        0) cp "$image" "real/$name/" ;;
        1) cp "$image" "holdout/$name/" ;;
        2) cp "$image" "synthetic/$name/" ;;
        esac
        n=$((n + 1))
    done
done
sets=(--real real --holdout holdout --resolution 12)

# gates NAME SYNTHETIC [--no-utility] RULE...: all rules hold; the report is in NAME-report
gates() {
    local name=$1 images=$2 more=()
    shift 2
    [ "$1" != --no-utility ] || { more=("$1") && shift; }
    (IFS=,; echo "{\"gates\": [$*]}") >"$name.json"
    expect 0 evaluate "${sets[@]}" --synthetic "$images" --out "$name-report" --quiet "${more[@]}" --gate "$name.json"
}

# Everything, small: real images in place of synthetic ones are at the ceiling. The page stands alone.
gates plain synthetic '{"metric": "utility.trts.mean.accuracy", "min": 0.6}' '{"metric": "utility.tstr_over_trtr", "min": 0.85}' \
    '{"metric": "balance.label_tv", "max": 0.05}' '{"metric": "fidelity.c2st_auc", "max": 0.6}' \
    '{"metric": "fidelity.coverage.ceiling.synthetic_at_this_n", "min": 0.85}' \
    '{"metric": "fidelity.density", "min": 0.8}' '{"metric": "fidelity.pixels.0.spectrum_db", "max": 0.5}' \
    '{"metric": "fidelity.pixels.0.histogram_w1", "max": 0.015}' '{"metric": "memorisation.pixels.authenticity", "max": 0.75}'
for file in report.json report.html pairs.png; do
    [ -s "plain-report/$file" ] || fail "no plain-report/$file"
done
is_empty out
is_empty err
for part in Fidelity Usefulness Copying Balance Method; do
    says plain-report/report.html "$part"
done
grep -qE '(src|href)="(https?:)?//|<script|@import' plain-report/report.html && fail "the page asks for something from outside"
for key in balanced_accuracy_95 auroc_95 tstr_over_trtr_95 gain_at_1_percent_95 fd kid precision recall density coverage c2st_auc by_class tstr trtr trts identical extracted nearer_to_train \
    authenticity ct effective_classes_synthetic; do
    says plain-report/report.json "\"$key\""
done
says plain-report/report.json '"dp_covered": false'
says plain-report/report.json '"slope"'
says plain-report/report.html " %</b>of the real images have a synthetic one near" # a share, as the other tiles
for space in pixels features; do # the same titles, told apart
    says plain-report/report.html "Likely copies, by $space</td>"
done
ls plain-report | grep -q tmp && fail "a temporary file is left"

# The same numbers on any number of threads.
expect 0 evaluate "${sets[@]}" --synthetic synthetic --out one --no-utility --threads 1 --json
cp out one.json
expect 0 evaluate "${sets[@]}" --synthetic synthetic --out three --no-utility --threads 3 --json
cmp -s out one.json || fail "the number of threads shows in the report"
[ "$(wc -l <out)" = 1 ] || fail "--json prints more than one line"

# Copies are found, by pixels and by features, and nowhere else.
cp -r real copies
expect 0 evaluate "${sets[@]}" --synthetic copies --out copies-report --no-utility --json
grep -q '"identical":{[^}]*"value":1.0' out || fail "copies are not identical"
expect 0 evaluate "${sets[@]}" --synthetic synthetic --out a --no-utility --json
grep -q '"identical":{[^}]*"value":0.0' out || fail "real images that are no copies count as such"

# Gates: 20 and the list; the report is written all the same. 0 when all pass. A policy is read before anything is
# measured.
echo '{"gates": [{"metric": "memorisation.pixels.identical", "max": 0}, {"metric": "fidelity.coverage", "min": 0.1, "bound": "low"}]}' >policy.json
expect 0 evaluate "${sets[@]}" --synthetic synthetic --out gated --no-utility --gate policy.json --quiet
expect 20 evaluate "${sets[@]}" --synthetic copies --out gated --no-utility --gate policy.json --quiet
says err "1 of 2 gates failed: memorisation.pixels.identical is 1, at most 0 is allowed"
says gated/report.html "failed"
says gated/report.html "low end of the 95 % interval"
echo '{"gates": [{"metric": "x"}]}' >bad.json
expect 78 evaluate "${sets[@]}" --synthetic synthetic --out never --gate bad.json
[ -e never ] && fail "a bad policy is found out only after measuring"
expect 66 evaluate "${sets[@]}" --synthetic synthetic --gate nothing.json

# What goes wrong moves the numbers that should move, and leaves the others. Gates say which.
# Blurred and noisy: pixels and features tell, labels and their shares are as good as before.
for how in blur noise; do
    "$spoil_images" "$how" synthetic "$how" || fail "spoil_images $how"
done
gates blurred blur --no-utility '{"metric": "fidelity.pixels.0.spectrum_db", "min": 2}' '{"metric": "fidelity.c2st_auc", "min": 0.62}' \
    '{"metric": "fidelity.recall", "max": 0.88}' '{"metric": "fidelity.fd", "min": 1.8}' \
    '{"metric": "fidelity.precision", "min": 0.8}' '{"metric": "memorisation.pixels.identical", "max": 0}' \
    '{"metric": "balance.label_tv", "max": 0.05}'
gates noisy noise '{"metric": "fidelity.pixels.0.histogram_w1", "min": 0.04}' '{"metric": "fidelity.c2st_auc", "min": 0.85}' \
    '{"metric": "fidelity.precision", "max": 0.75}' '{"metric": "fidelity.density", "max": 0.6}' \
    '{"metric": "fidelity.coverage", "max": 0.7}' '{"metric": "fidelity.fd", "min": 4}' \
    '{"metric": "memorisation.pixels.authenticity", "min": 0.85}' '{"metric": "utility.trts.mean.accuracy", "min": 0.6}' \
    '{"metric": "balance.label_tv", "max": 0.05}' '{"metric": "memorisation.pixels.identical", "max": 0}'
# Every label wrong by one class: the images are as good as before, and good for nothing.
mkdir shuffled && previous=$(basename "$(find synthetic -mindepth 1 -maxdepth 1 -type d | sort | tail -1)")
for class in $(find synthetic -mindepth 1 -maxdepth 1 -type d | sort | sed 's/ /:/g'); do
    class=${class//:/ }
    cp -r "$class" "shuffled/$previous"
    previous=$(basename "$class")
done
gates shuffled shuffled '{"metric": "utility.trts.mean.accuracy", "max": 0.3}' '{"metric": "utility.tstr_over_trtr", "max": 0.5}' \
    '{"metric": "fidelity.c2st_auc", "max": 0.6}' '{"metric": "fidelity.coverage.ceiling.synthetic_at_this_n", "min": 0.85}'
# Three classes left out.
cp -r synthetic dropped && rm -r dropped/bag dropped/sneaker dropped/sandal
gates dropped dropped --no-utility '{"metric": "balance.label_tv", "min": 0.25}' '{"metric": "balance.effective_classes_synthetic", "max": 7.1}' \
    '{"metric": "fidelity.recall", "max": 0.85}' '{"metric": "fidelity.c2st_auc", "min": 0.65}' \
    '{"metric": "memorisation.pixels.identical", "max": 0}'

# Without held-out images: what needs them says so.
expect 0 evaluate --real real --synthetic synthetic --resolution 12 --out alone --quiet
says alone/report.html "no --holdout was given"
# Without labels.
expect 0 evaluate "${sets[@]}" --synthetic synthetic --unconditional --out flat --quiet
says flat/report.json "turned by 0 to 3 quarters"

# Groups of a metadata column.
mkdir grouped
echo "file_name,label,site" >grouped/metadata.csv
k=0
for image in real/*/*.png; do
    cp "$image" "grouped/$k.png"
    echo "$k.png,$(basename "$(dirname "$image")"),$([ $((k % 2)) = 0 ] && echo north || echo south)" >>grouped/metadata.csv
    k=$((k + 1))
done
expect 0 evaluate --real grouped --holdout holdout --synthetic synthetic --resolution 12 --no-utility --group-column site \
    --out groups --quiet
says groups/report.json '"group": "north"'
says groups/report.json '"recall_95": ['
says groups/report.json '"kid_95": ['
# With one group measured there is no gap, and a limit of it fails; the others are counted. File names in Latin-1, and a
# file that is no image.
mkdir one-group empty-column && cp grouped/*.png one-group/ && cp grouped/*.png empty-column/
sed 's/,south$/,/' grouped/metadata.csv >one-group/metadata.csv
sed 's/,\(south\|north\)$/,/' grouped/metadata.csv >empty-column/metadata.csv
for image in synthetic/*/*.png; do
    class=$(basename "$(dirname "$image")")
    mkdir -p "strange/$class" && cp "$image" "strange/$class/"$'\xe9'"$(basename "$image")"
done
head -c 100 "$image" >"strange/$class/torn.png"
echo '{"gates": [{"metric": "balance.gaps.recall", "max": 0.1}, {"metric": "balance.without_group.real", "min": 50}]}' >gap.json
expect 20 evaluate --real one-group --synthetic strange --resolution 12 --no-utility --group-column site \
    --out one-group-report --gate gap.json
says err "1 of 2 gates failed: balance.gaps.recall: the report has no number there"
says err "warning: --synthetic: skipped $class/torn.png: "
says one-group-report/report.html "are in no group"
[ "$(grep -c '"synthetic": ".*/?.*png"' one-group-report/report.json)" = 32 ] || fail "pairs are missing"
expect 65 evaluate --real empty-column --synthetic synthetic --group-column site --resolution 12 --no-utility --out no-groups
says err "--group-column site: "
expect 2 evaluate --real real --synthetic synthetic --group-column site --resolution 12 --no-utility --out no-groups

# More classes than a chart shows.
k=0
for image in real/*/*.png; do
    mkdir -p "many/class-$k" && cp "$image" "many/class-$k/"
    k=$((k + 1))
    [ $k = 30 ] && break
done
expect 0 evaluate --real many --synthetic many --resolution 12 --no-utility --out many-report --quiet
says many-report/report.html "The first 24 of 30 classes."

# Bad input.
expect 2 evaluate --real real
says err "--synthetic is missing"
expect 66 evaluate --real nowhere --synthetic synthetic --out leftover
[ -e leftover ] && fail "a run that could not begin leaves a folder"
# The report would become part of the data.
for out in real synthetic/report "$PWD/holdout/new/report"; do
    expect 2 evaluate "${sets[@]}" --synthetic synthetic --out "$out"
    says err "--out $out lies in the images of --"
done
[ -e synthetic/report ] && fail "a refused folder is made"
expect 65 evaluate --real real --holdout real --synthetic synthetic --resolution 12 --out same
says err "images are in --real real as well; give images that the generator never saw"
cp -r holdout leaky && cp real/bag/*.png leaky/bag/
expect 0 evaluate --real real --holdout leaky --synthetic synthetic --resolution 12 --no-utility --out leaky-report
says err "images are in --real real as well"
says leaky-report/report.json '"holdout_in_real": '
mkdir one-image && cp "$(find real -name '*.png' | head -1)" one-image/
expect 65 evaluate --real real --synthetic one-image --unconditional --no-utility
says err "at least 20 are needed"
mkdir unlabelled && find synthetic -name '*.png' | while read -r f; do cp "$f" "unlabelled/$(md5sum <"$f" | head -c 12).png"; done
expect 65 evaluate --real real --synthetic unlabelled --out u
says err "--unconditional"
mkdir one-class && cp -r synthetic/bag one-class/
expect 0 evaluate --real real --synthetic one-class --no-utility --out one # a single class folder keeps its name
cp -r synthetic other && mv other/bag other/luggage
expect 65 evaluate --real real --synthetic other --out u
says err "has a class 'luggage' that the real images do not have"

# Statistics for FID need Inception's weights, which have to be such.
expect 2 evaluate ref real -o x.npz
says err "--extractor is missing"
expect 66 evaluate ref real --extractor nothing.safetensors -o x.npz
expect 65 evaluate ref real --extractor "$source/tests/golden/unet_plain.safetensors" -o x.npz
says err "Conv2d_1a_3x3.weight"
expect 2 evaluate --real real --synthetic synthetic --reference x.npz
says err "--extractor as well"
expect 0 evaluate ref --help
says out "mu, sigma"

exit $((failures > 0))
