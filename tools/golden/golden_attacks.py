#!/usr/bin/env python3
"""Makes tests/golden/attacks.json: membership scores of the fixture model, computed with diffusers in float64.

Needs torch, diffusers, numpy in a virtual environment of your own; --verify fails if a number would change. The formulas
are those of src/audit/attack.h; the model predicts v and has 100 timesteps, so that both are exercised.
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
    steps = len(abar)
    pixels = np.array(fill.integers("attack.pixels", COUNT * SIDE * SIDE, 256)).reshape(COUNT, 1, SIDE, SIDE)
    labels = torch.tensor(fill.integers("attack.labels", COUNT, CLASSES))
    x0 = torch.from_numpy(pixels / 255.0 * 2 - 1)

    def scaled(t):
        return min((t * steps + 500) // 1000, steps - 1)

    def noise(x, t):
        with torch.no_grad():
            v = unet(x, t, class_labels=labels).sample
        return abar[t].sqrt() * v + (1 - abar[t]).sqrt() * x  # v-prediction to epsilon

    def ddim(x, t, to):
        e = noise(x, t)
        clean = (x - (1 - abar[t]).sqrt() * e) / abar[t].sqrt()
        return abar[to].sqrt() * clean + (1 - abar[to]).sqrt() * e

    x = x0
    for t in range(0, 100, 10):
        x = ddim(x, scaled(t), scaled(t + 10))
    back = ddim(ddim(x, scaled(100), scaled(110)), scaled(110), scaled(100))
    first, t = noise(x0, 0), scaled(200)
    second = noise(abar[t].sqrt() * x0 + (1 - abar[t]).sqrt() * first, t)
    clean = noise(x0, scaled(100))
    sum_image = (1, 2, 3)
    new = {"made_by": "tools/golden/golden_attacks.py",
           "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__}, "count": COUNT,
           "secmi": (-((x - back) ** 2).sum(sum_image)).tolist(),
           "pia": (-((first - second) ** 4).sum(sum_image)).tolist(),
           "sima": (-((clean ** 4).sum(sum_image) ** 0.25)).tolist()}
    if "--verify" in sys.argv:
        old = json.loads(OUT.read_text())
        same = all(np.allclose(old[k], new[k], rtol=1e-6) for k in ("secmi", "pia", "sima"))
        sys.exit(0 if same else "attacks.json would change")
    OUT.write_text(json.dumps(new, indent=1) + "\n")


main()
