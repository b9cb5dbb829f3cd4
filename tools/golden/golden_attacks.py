#!/usr/bin/env python3
"""Makes tests/golden/attacks.json: membership scores of the fixture model, computed with diffusers in float64.

Needs torch, diffusers, numpy in a virtual environment of your own; --verify fails if a number would change. The formulas
are those of src/audit/attack.h: of the model as it is, which predicts v and has 100 timesteps, and of the same network
taken for an EDM model.
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fill

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "golden" / "attacks.json"
COUNT, SIDE, CLASSES = 20, 8, 4


def main():
    folder = ROOT / "tests" / "fixtures" / "io" / "tiny"
    unet = UNet2DModel.from_pretrained(folder, subfolder="unet").double().eval()
    scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    abar = scheduler.alphas_cumprod.double()
    pixels = np.array(fill.integers("attack.pixels", COUNT * SIDE * SIDE, 256)).reshape(COUNT, 1, SIDE, SIDE)
    labels = torch.tensor(fill.integers("attack.labels", COUNT, CLASSES))
    x0 = torch.from_numpy(pixels / 255.0 * 2 - 1)

    def scaled(t, steps):
        return min((t * steps + 500) // 1000, steps - 1)

    def ask_v(x, t, abar):
        with torch.no_grad():
            v = unet(x, t, class_labels=labels).sample
        return abar[t].sqrt() * v + (1 - abar[t]).sqrt() * x  # v-prediction to epsilon

    def ask_edm(x, t, abar):  # Karras et al. 2022, eq. 7, sigma_data 0.5
        sigma, data = ((1 - abar[t]) / abar[t]).sqrt(), 0.5
        noisy, total = x / abar[t].sqrt(), sigma ** 2 + data ** 2
        with torch.no_grad():
            out = unet(noisy / total.sqrt(), 0.25 * sigma.log(), class_labels=labels).sample
        return (noisy - (data ** 2 / total * noisy + sigma * data / total.sqrt() * out)) / sigma

    def attack(noise, abar):
        def at(t):
            return scaled(t, len(abar))

        def ddim(x, t, to):
            e = noise(x, t, abar)
            clean = (x - (1 - abar[t]).sqrt() * e) / abar[t].sqrt()
            return abar[to].sqrt() * clean + (1 - abar[to]).sqrt() * e

        x = x0
        for t in range(0, 100, 10):
            x = ddim(x, at(t), at(t + 10))
        back = ddim(ddim(x, at(100), at(110)), at(110), at(100))
        first, t = noise(x0, 0, abar), at(200)
        second = noise(abar[t].sqrt() * x0 + (1 - abar[t]).sqrt() * first, t, abar)
        clean, image = noise(x0, at(100), abar), (1, 2, 3)
        return {"secmi": (-((x - back) ** 2).sum(image)).tolist(),
                "pia": (-((first - second) ** 4).sum(image)).tolist(),
                "sima": (-((clean ** 4).sum(image) ** 0.25)).tolist()}

    linear = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    new = {"made_by": "tools/golden/golden_attacks.py",
           "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__}, "count": COUNT,
           "v": attack(ask_v, abar), "edm": attack(ask_edm, linear)}
    if "--verify" in sys.argv:
        old = json.loads(OUT.read_text())
        same = all(np.allclose(old[m][k], new[m][k], rtol=1e-6) for m in ("v", "edm") for k in ("secmi", "pia", "sima"))
        sys.exit(0 if same else "attacks.json would change")
    OUT.write_text(json.dumps(new, indent=1) + "\n")


main()
