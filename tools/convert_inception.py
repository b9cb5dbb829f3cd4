#!/usr/bin/env python3
"""Inception-2015 weights as pytorch-fid or torch-fidelity have them, for `diffgen evaluate --extractor`.

    convert_inception.py pt_inception-2015-12-05-6726825d.pth inception.safetensors

The input is pytorch-fid's pt_inception-2015-12-05-6726825d.pth or torch-fidelity's
weights-inception-2015-12-05-6726825d.pth (the same numbers). Needs torch and safetensors. Batch norms (eps 0.001) are
folded into the convolutions before them: of "<name>.conv" and "<name>.bn" come "<name>.weight" [out, in, kh, kw] and
"<name>.bias" [out], float32. The classifier's last layer is left out.
"""

import sys

import torch
from safetensors.torch import save_file

EPS = 0.001


def convert(state):
    out = {}
    for key in state:
        if not key.endswith(".conv.weight"):
            continue
        name = key[:-len(".conv.weight")]
        weight = state[key].double()
        scale = state[name + ".bn.weight"].double() if name + ".bn.weight" in state else torch.ones(len(weight))
        scale = scale / torch.sqrt(state[name + ".bn.running_var"].double() + EPS)
        bias = state[name + ".bn.bias"].double() - scale * state[name + ".bn.running_mean"].double()
        out[name + ".weight"] = (weight * scale.view(-1, 1, 1, 1)).float().contiguous()
        out[name + ".bias"] = bias.float().contiguous()
    return out


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
    tensors = convert(state)
    if len(tensors) != 2 * 94:
        sys.exit(f"{sys.argv[1]}: {len(tensors) // 2} convolutions, Inception-2015 has 94: not the file this is for")
    save_file(tensors, sys.argv[2], metadata={"format": "pt", "network": "inception-2015-12-05"})


if __name__ == "__main__":
    main()
