#!/usr/bin/env bash
# The program on a GPU, or on the simulator's, against the program on the CPU: training, resuming, sampling, refusals.
# Skipped (77) where there is no GPU.
# usage: test_cuda.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

expect 69 train --images "$source/samples/fashion" --device cuda --steps 1 --out none
says err "--device cuda"
[ ! -e none/model ] || fail "a model was trained without a GPU"
expect 0 devices
says out "auto device     cpu"

# Libraries that compute on a GPU alone are refused on the CPU, and ignored by a choice that may find nothing.
train_on_cpu=(train --images "$source/samples/fashion" --preset tiny --device cpu --dry-run --out none)
expect 69 "${train_on_cpu[@]}" --libraries always
says err "--libraries always"
expect 0 "${train_on_cpu[@]}" --libraries auto
expect 2 "${train_on_cpu[@]}" --libraries sometimes
expect 2 "${train_on_cpu[@]}" --libraries auto --dp --epsilon 8
says err "--dp counts on"

unset CUDA_VISIBLE_DEVICES
export XDG_CACHE_HOME=$PWD/cache
expect 0 devices
if ! grep -q "auto device *cuda" out; then
    [ "$failures" = 0 ] || exit 1
    echo "skipped: no GPU"
    exit 77
fi

# A network so small that the simulator is done with it soon.
cat >small.json <<'JSON'
{"name": "small", "resolution": [8, 8],
 "unet": {"_class_name": "UNet2DModel", "act_fn": "silu", "add_attention": true, "attention_head_dim": 8,
  "block_out_channels": [8, 16], "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
  "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "downsample_padding": 1, "dropout": 0.0, "flip_sin_to_cos": true,
  "freq_shift": 0, "in_channels": 1, "layers_per_block": 1, "mid_block_type": "UNetMidBlock2D", "norm_eps": 1e-05,
  "norm_num_groups": 4, "out_channels": 1, "resnet_time_scale_shift": "default", "sample_size": 8,
  "time_embedding_type": "positional"},
 "scheduler": {"_class_name": "DDPMScheduler", "beta_schedule": "squaredcos_cap_v2", "clip_sample": true,
  "num_train_timesteps": 1000, "prediction_type": "v_prediction", "timestep_spacing": "trailing",
  "variance_type": "fixed_small"},
 "training": {"batch": 8, "steps": 4, "lr": 0.001, "lr_schedule": "cosine", "warmup": 2, "weight_decay": 0.01,
  "ema": 0.9}}
JSON
for class in bag coat; do
    mkdir -p "images/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -6 | while IFS= read -r image; do
        cp "$image" "images/$class/"
    done
done
# So many images at a time that a convolution could not count them: fewer are taken.
expect 0 train --images "$source/samples/fashion" --preset tiny --resolution 128 --device cuda --dry-run --out none \
    --dp --epsilon 8 --batch 2000 --noise-multiplicity 64

train=(train --images images --preset small.json --resolution 8 --micro-batch 4 --seed 7 --log-every 1 --grid-every never)

# close FILE FILE TOLERANCE: the losses of two runs
close() {
    paste <(grep -o '"loss": *[0-9.e-]*' "$1/metrics.jsonl" | grep -o '[0-9.e-]*$') \
        <(grep -o '"loss": *[0-9.e-]*' "$2/metrics.jsonl" | grep -o '[0-9.e-]*$') |
        awk -v t="$3" '{ d = $1 - $2; if (d < 0) d = -d; if (!(d <= t * $2)) exit 1; n++ } END { exit !(n == 4) }' ||
        fail "the losses of $1 are not those of $2"
}
expect 0 "${train[@]}" --device cpu --out cpu
expect 0 "${train[@]}" --device cuda --precision fp32 --out fp32
says err "on cuda"
close fp32 cpu 1e-4
expect 0 "${train[@]}" --device auto --out auto
says err "on cuda"
close auto cpu 5e-2

# Interrupted and resumed: the same bytes.
expect 0 "${train[@]}" --device cuda --precision fp32 --out resumed --checkpoint-every 2 --keep 9
rm -rf resumed/model resumed/DONE resumed/checkpoints/*4*
expect 0 "${train[@]}" --device cuda --precision fp32 --out resumed --checkpoint-every 2 --keep 9
cmp -s fp32/model/unet/diffusion_pytorch_model.safetensors resumed/model/unet/diffusion_pytorch_model.safetensors ||
    fail "a resumed run ends with other weights"

# The same model, drawn from on both; and twice on the GPU, in shards.
sample=(sample --model cpu --class coat:5 --sampler ddim --steps 3 --quiet)
expect 0 "${sample[@]}" --device cpu --out by-cpu
expect 0 "${sample[@]}" --device cuda --precision fp32 --out by-cuda
expect 0 "${sample[@]}" --device cuda --precision fp32 --out by-shards --shard 0/2
expect 0 "${sample[@]}" --device cuda --precision fp32 --out by-shards --shard 1/2
[ "$(find by-cuda -name '*.png' | wc -l)" = 5 ] || fail "five images were asked for"
diff -rq --exclude '*.json*' --exclude '*.csv' --exclude '.lock*' by-cuda by-shards >/dev/null ||
    fail "shards draw other images"
for image in by-cpu/coat/*.png; do
    cmp -s <(tail -c +1 "$image") "by-cuda/coat/$(basename "$image")" || different=$((${different:-0} + 1))
done
echo "images that differ from the CPU's in any bit: ${different:-0} of 5"

# With cuDNN and cuBLASLt, if they are there: near the CPU, kept by a run, in another folder than images without them.
if "$program" devices --json | grep -q '"version": *"'; then
    expect 2 "${train[@]}" --device cuda --precision fp32 --libraries always --out refused
    says err "--precision bf16"
    expect 0 "${train[@]}" --device cuda --libraries always --out libraries
    close libraries cpu 5e-2
    grep -q '"libraries": *"always"' libraries/config.json || fail "the run does not say that libraries computed it"
    expect 78 "${train[@]}" --device cuda --out libraries
    says err "libraries"
    expect 0 "${train[@]}" --device cuda --libraries auto --steps 1 --out by-table
    ls cache/diffgen/libraries-*.json >/dev/null || fail "no table of timings was kept"
    expect 0 "${sample[@]}" --device cuda --libraries always --out by-libraries
    grep -q '"libraries": *"always"' by-libraries/manifest.json || fail "the manifest does not name the libraries"
    expect 73 "${sample[@]}" --device cuda --out by-libraries
    says err "another job"
fi

if "$program" devices | grep -q simulated; then
    export CUDASIM_LIBRARIES=none
    expect 69 "${train[@]}" --device cuda --libraries always --out none
    says err "neither is to be had"
    expect 0 "${train[@]}" --device cuda --libraries auto --dry-run --out none
    unset CUDASIM_LIBRARIES
fi

# The simulator would measure a convolution peak for hours.
"$program" devices | grep -q simulated ||
    expect 0 bench --device cuda --preset small.json --resolution 8 --batch 8 --seconds 0.1 --json
exit $((failures > 0))
