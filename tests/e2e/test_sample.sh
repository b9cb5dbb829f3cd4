#!/usr/bin/env bash
# Drawing into a folder that holds images already, and from a run that was stopped.
# usage: test_sample.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"
same() {
    diff -r --exclude '.lock*' "$1" "$2" >diff.txt 2>&1 && return
    fail "$1 and $2 differ"
    head -5 diff.txt
}
images_in() { find "$1" -name '*.png' | wc -l; }

for class in bag coat; do
    mkdir -p "images/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -12 | while IFS= read -r image; do
        cp "$image" "images/$class/"
    done
done
train=(train --images images --preset tiny --threads 1 --batch 4 --warmup 1 --grid-every never --quiet)
expect 0 "${train[@]}" --steps 2 --uncond --out runs/plain
expect 0 "${train[@]}" --steps 2 --out runs/classes
plain=(sample --model runs/plain --steps 2)
classes=(sample --model runs/classes --steps 2)

# --- a folder grows, and ends as if it had been drawn at once

expect 0 "${plain[@]}" -n 4 --out grown
expect 0 "${plain[@]}" -n 8 --out grown
says err "4 images written, 4 were there"
expect 0 "${plain[@]}" -n 8 --out whole
same grown whole
expect 0 "${plain[@]}" -n 2 --out grown
says err "6 more, which stay"
same grown whole
expect 0 "${plain[@]}" --seeds 10-11 --out grown
[ "$(images_in grown)" = 10 ] || fail "--seeds 10-11 added to 8 images gives $(images_in grown)"
(cd grown && sha256sum --quiet -c DONE) || fail "DONE does not hold"
expect 0 "${plain[@]}" --seeds 8-9 --out grown
expect 0 "${plain[@]}" -n 12 --out whole
same grown whole
# A kill in between: the folder says what it is to become, and the next call of that size finishes it.
expect 0 "${plain[@]}" -n 4 --out cut
rm cut/DONE cut/images/000001.png
expect 0 "${plain[@]}" -n 12 --out cut
same cut whole
expect 73 "${plain[@]}" -n 12 --seed 5 --out whole
says err seed
# Rows of --noise are those of the plan's images: the same from its first image on, others from another.
make_noise() { # FILE ROWS: [ROWS, 1, 28, 28] of safetensors
    local header="{\"noise\":{\"dtype\":\"F32\",\"shape\":[$2,1,28,28],\"data_offsets\":[0,$(($2 * 3136))]}}"
    printf '%b' "$(printf '\\x%02x\\x00\\x00\\x00\\x00\\x00\\x00\\x00' ${#header})$header" >"$1"
    seq 100000 | head -c $(($2 * 3136)) >>"$1"
}
make_noise noise.safetensors 8
expect 0 "${plain[@]}" --noise noise.safetensors -n 8 --out noisy
expect 0 "${plain[@]}" --noise noise.safetensors -n 4 --out noisy
says err "4 more, which stay"
[ "$(grep -c '"file_name"' noisy/metadata.jsonl)" = 8 ] || fail "a smaller -n with --noise took images out of the set"
expect 0 "${plain[@]}" --noise noise.safetensors -n 3 --out noisier
expect 0 "${plain[@]}" --noise noise.safetensors -n 8 --out noisier
same noisy noisier
expect 73 "${plain[@]}" --noise noise.safetensors --seeds 8-11 --out noisy
[ "$(grep -c '"file_name"' noisy/metadata.jsonl)" = 8 ] || fail "other rows of --noise took images out of the set"
# Two shards, one after the other, make the larger set of a smaller one.
expect 0 "${plain[@]}" -n 4 --out shards
expect 0 "${plain[@]}" -n 12 --shard 0/2 --out shards
[ ! -e shards/DONE ] || fail "half of the larger set counts as done"
expect 0 "${plain[@]}" -n 12 --shard 1/2 --out shards
diff -r --exclude '.lock*' --exclude 'manifest.*-of-*.json' shards whole >diff.txt || fail "shards of a larger set differ"

# --- classes are numbered through: that is said, and a single class can be added to

expect 0 "${classes[@]}" -n 4 --out both
before=$(find both -type f ! -name .lock -exec sha256sum {} + | sort)
expect 73 "${classes[@]}" -n 8 --out both
says err "counts its images through all classes"
[ "$before" = "$(find both -type f ! -name .lock -exec sha256sum {} + | sort)" ] || fail "a refused call changed the folder"
expect 0 "${classes[@]}" --class coat -n 3 --out one
expect 0 "${classes[@]}" --class coat -n 5 --out one
expect 0 "${classes[@]}" --class bag -n 2 --out one
[ "$(images_in one/coat) $(images_in one/bag)" = "5 2" ] || fail "5 of one class and 2 of another were asked for"

# --- a stopped run can be drawn from

"$program" "${train[@]}" --steps 100000 --checkpoint-every 1 --keep 2 --out runs/stopped >out 2>err </dev/null &
pid=$!
for ((i = 0; i < 6000; i++)); do
    ls runs/stopped/checkpoints/step-*[0-9] >list 2>/dev/null && break
    sleep 0.01
done
kill -TERM $pid
wait $pid
expect 0 sample --model runs/stopped --steps 2 -n 2 --out early
says err "has not finished"
last=$(basename "$(find runs/stopped/checkpoints -mindepth 1 -maxdepth 1 -name 'step-*' | sort | tail -1)")
says err "after step $((10#${last#step-}))"
[ "$(images_in early)" = 2 ] || fail "no images of a stopped run"
expect 0 sample --model "runs/stopped/checkpoints/$last" --steps 2 -n 2 --out named
same early named
expect 0 sample --model runs/stopped --weights raw --steps 2 -n 2 --out raw
expect 0 info runs/stopped
says out "$last"
says out "num classes"
# A finished run that goes on and is stopped has newer weights than its model.
cp -r runs/classes runs/longer
rm runs/longer/DONE
mv "runs/longer/checkpoints/step-000000002" runs/longer/checkpoints/step-000000009
expect 0 sample --model runs/longer --steps 2 -n 2 --out longer
says err "first end at step 2"
says err "after step 9"
mkdir alone && mv runs/stopped alone/stopped
expect 66 sample --model alone -n 2 --out no
says err "--model alone/stopped"

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
