#!/usr/bin/env bash
# --dry-run refuses what the real call refuses, with the same exit code, and changes nothing; and the names that run
# folders get when nobody names them.
# usage: test_dry_run.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"
export DIFFGEN_LEDGER=$work/ledger.sqlite

copy_images() { # FOLDER FIRST: twelve images of two classes
    for class in bag coat; do
        mkdir -p "$1/$class"
        find "$source/samples/fashion/$class" -name '*.png' | sort | tail -n +"$2" | head -12 | while IFS= read -r image; do
            cp "$image" "$1/$class/"
        done
    done
}
copy_images a/train 1
copy_images b/train 20
copy_images a/cats 40
copy_images b/cats 60
train=(train --preset tiny --threads 1 --batch 4 --warmup 1 --steps 2 --grid-every never --quiet)

# refused CODE ARGUMENT...: by the real call and by the rehearsal, which leaves everything as it is
refused() {
    local wanted=$1
    shift
    local before
    before=$(find . -type f ! -name out ! -name err -exec sha256sum {} + | sort)
    expect "$wanted" "${train[@]}" "$@" --dry-run
    [ "$before" = "$(find . -type f ! -name out ! -name err -exec sha256sum {} + | sort)" ] || fail "--dry-run $* changed files"
    expect "$wanted" "${train[@]}" "$@"
}

# --- names

expect 0 "${train[@]}" --images a/train
expect 0 "${train[@]}" --images b/train
expect 0 "${train[@]}" --images a/cats
expect 0 "${train[@]}" --images b/cats
[ "$(ls runs | tr '\n' ' ')" = "a-train b-cats b-train cats latest " ] || fail "run folders: $(ls runs)"
expect 0 "${train[@]}" --images b/cats # finds its own again
(cd a/cats && expect 0 "${train[@]}" --images . --out ../../here)
[ "$(ls runs | wc -l)" = 5 ] || fail "the same command made another run folder"

# --- refusals

refused 78 --images a/cats --lr 0.5
refused 73 --images a/cats --resume never
refused 66 --images a/cats --resume must --out fresh
echo text >file
refused 73 --images a/cats --out file
refused 73 --images a/cats --out file/below
refused 2 --images a/cats --out a/cats/run
refused 2 --images a/cats --resolution 30
refused 66 --images nowhere
if [ "$(id -u)" != 0 ]; then
    mkdir closed && chmod a-w closed
    refused 73 --images a/cats --out closed/run
fi
refused 73 --images a/cats --out /proc/run
ln -s nowhere dangling
refused 73 --images a/cats --out dangling
refused 73 --images a/cats --out "$(printf 'x%.0s' {1..300})"
for name in grids checkpoints; do
    mkdir "no-$name" && echo text >"no-$name/$name"
    refused 73 --images a/cats --out "no-$name"
done
mkdir -p no-log/log.txt
refused 73 --images a/cats --out no-log
cp -r runs/cats/model nan
printf '\377\377\377\377' | dd of=nan/unet/diffusion_pytorch_model.safetensors bs=1 conv=notrunc status=none \
    seek=$(($(stat -c %s nan/unet/diffusion_pytorch_model.safetensors) - 4))
refused 65 --images a/cats --init nan --out from-nan
mkdir trap && ln -s ../file trap/.lock
refused 73 --images a/cats --out trap

# A budget that is spent, by this run and before it.
private=(--dp --noise-multiplier 1 --noise-multiplicity 1 --delta 1e-3)
expect 0 "${train[@]}" --images a/cats "${private[@]}" --out spent
refused 21 --images a/cats "${private[@]}" --out more --epsilon-total 0.1
says err "--epsilon-total 0.1"
DIFFGEN_LEDGER=/proc/nowhere/ledger.sqlite refused 73 --images a/cats "${private[@]}" --out unbooked
[ -e more/model ] && fail "a run beyond the budget was made"

# A run folder that another process holds.
"$program" "${train[@]}" --steps 100000 --images a/cats --out held >held.txt 2>&1 </dev/null &
pid=$!
for ((i = 0; i < 6000; i++)); do
    [ -e held/config.json ] && break
    sleep 0.01
done
expect 75 "${train[@]}" --images a/cats --out held --dry-run
says err "$pid"
kill -TERM $pid
wait $pid

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
