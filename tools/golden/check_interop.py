#!/usr/bin/env python3
"""Draws the same images with diffgen and with diffusers from one trained model and one initial noise, and compares pixels.

    tools/golden/check_interop.py DIFFGEN MODEL_FOLDER CLASS_NAME

Needs a virtual environment with torch, diffusers, safetensors, numpy and pillow; see tools/golden/make_golden.py.
Exit status 0 if every image agrees to one grey level.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from diffusers import (DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EDMDPMSolverMultistepScheduler,
                       EDMEulerScheduler, UNet2DModel)
from PIL import Image
from safetensors.torch import save_file

IMAGES, STEPS = 4, 20


def draw_with_diffusers(unet, scheduler, noise, label):
    scheduler.set_timesteps(STEPS)
    # Both begin with unit variance in what the network sees; diffusers' EDM schedulers, with that of sqrt(sigma^2 + 1).
    edm = isinstance(scheduler, (EDMEulerScheduler, EDMDPMSolverMultistepScheduler))
    x = noise * (float(scheduler.sigmas[0]) ** 2 + scheduler.config.sigma_data**2) ** 0.5 if edm else noise.clone()
    labels = None if label is None else torch.full((len(x),), label)
    with torch.no_grad():
        for t in scheduler.timesteps:
            output = unet(scheduler.scale_model_input(x, t), t, class_labels=labels).sample
            x = scheduler.step(output, t, x).prev_sample
    return (x / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def draw_with_diffgen(program, model, sampler, noise_file, class_name, out):
    subprocess.run([program, "sample", "--model", model, "--sampler", sampler, "--steps", str(STEPS), "--noise", noise_file,
                    "--class", f"{class_name}:{IMAGES}", "--out", out, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    files = [image["file"] for image in json.load(open(f"{out}/manifest.json"))["images"]]
    return np.stack([np.asarray(Image.open(f"{out}/{name}")) for name in files])


def main():
    program, model, class_name = sys.argv[1:4]
    unet = UNet2DModel.from_pretrained(model, subfolder="unet")
    config = unet.config
    scheduler_config = json.load(open(pathlib.Path(model) / "scheduler" / "scheduler_config.json"))
    edm = scheduler_config["_class_name"].startswith("EDM")
    base = (EDMEulerScheduler if edm else DDPMScheduler).from_pretrained(model, subfolder="scheduler")
    samplers = ((("euler", EDMEulerScheduler), ("dpmsolver++", EDMDPMSolverMultistepScheduler)) if edm else
                (("ddim", DDIMScheduler), ("dpmsolver++", DPMSolverMultistepScheduler)))
    label = json.load(open(pathlib.Path(model) / "diffgen.json"))["classes"].index(class_name)
    noise = torch.randn(IMAGES, config.in_channels, config.sample_size, config.sample_size,
                        generator=torch.Generator().manual_seed(0))
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        save_file({"noise": noise}, f"{folder}/noise.safetensors")
        for sampler, scheduler in samplers:
            theirs = draw_with_diffusers(unet, scheduler.from_config(base.config), noise, label)
            ours = draw_with_diffgen(program, model, sampler, f"{folder}/noise.safetensors", class_name, f"{folder}/{sampler}")
            difference = np.abs(ours.reshape(theirs.shape).astype(int) - theirs.astype(int))
            print(f"{sampler}: largest difference {difference.max()} of 255, {np.mean(difference > 0):.4%} of the pixels differ")
            worst = max(worst, difference.max())
    sys.exit(0 if worst <= 1 else 1)


main()
