#!/usr/bin/env bash
# From a fresh Debian 12 or Ubuntu 24.04 to a picture: installs the packages, builds diffgen, trains a small model on
# the images in samples/, samples a labelled grid of every class. About five minutes on two cores.
#
#   tools/quickstart.sh [TRAINING TIME]      such as 150s (the default) or 15m; more time gives better pictures
#
# Run again with a longer time, it trains on from where it stood.
set -euo pipefail
cd "$(dirname "$0")/.."
time_limit=${1:-150s}

step() { printf '\n== %s\n' "$*"; }

step "packages"
tools/install-packages.sh build

step "build"
# The tests need one package more; who has it keeps them configured.
tests=OFF
if pkg-config --exists check; then tests=ON; fi
# Kernels for every GPU take minutes to compile: here only for the one that is there.
cuda=(-DDIFFGEN_CUDA=off)
if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
    cuda=(-DDIFFGEN_CUDA=auto -DDIFFGEN_CUDA_ARCHITECTURES=native)
fi
cmake --preset release -DDIFFGEN_BUILD_TESTS=$tests "${cuda[@]}" >/dev/null
cmake --build --preset release --target diffgen
diffgen=build/release/diffgen

step "train on samples/fashion for $time_limit"
"$diffgen" train --images samples/fashion --preset tiny --time-limit "$time_limit" --checkpoint-every 1m \
    --out runs/fashion

step "sample every class"
# Of an earlier call's pictures those of an older model are in the way: each model gets a folder of its own.
model=$(cksum <runs/fashion/model/unet/diffusion_pytorch_model.safetensors | cut -d ' ' -f 1)
out=synthetic/quickstart-$model
"$diffgen" sample --model runs/fashion --all-classes -n 80 --guidance 2 --grid --out "$out"

step "done"
cat <<END
the picture          $out-grid.png   one row for each class
the images           $out/<class>/<index>.png
the model            runs/fashion/model    a diffusers pipeline folder
loss and grids       runs/fashion/metrics.jsonl, runs/fashion/grids/

more images          $diffgen sample --class "ankle boot" -n 100
a better model       tools/quickstart.sh 15m
your own images      $diffgen train --images FOLDER    one subfolder for each class
END
