#!/usr/bin/env python3
"""Makes tests/golden/inception.safetensors: pool3 features of pytorch-fid's Inception with made-up weights.

Needs torch, torchvision, pytorch-fid, torch-fidelity, safetensors. The weights are the fill of tests/golden/README.md:
"<name>.weight" r * sqrt(6 / fan_in), "<name>.bias" 0.1 r, put into the network as a batch norm that does nothing else, and
taken out again by tools/convert_inception.py, which is tested on the way. Images: integers "inception.NAME" below 256.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_fid import inception as fid
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torchvision.models import Inception3

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import fill
import store
from convert_inception import convert

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "inception.safetensors"


def network():
    net = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    net.Mixed_5b = fid.FIDInceptionA(192, pool_features=32)
    net.Mixed_5c = fid.FIDInceptionA(256, pool_features=64)
    net.Mixed_5d = fid.FIDInceptionA(288, pool_features=64)
    net.Mixed_6b = fid.FIDInceptionC(768, channels_7x7=128)
    net.Mixed_6c = fid.FIDInceptionC(768, channels_7x7=160)
    net.Mixed_6d = fid.FIDInceptionC(768, channels_7x7=160)
    net.Mixed_6e = fid.FIDInceptionC(768, channels_7x7=192)
    net.Mixed_7b = fid.FIDInceptionE_1(1280)
    net.Mixed_7c = fid.FIDInceptionE_2(2048)
    state = net.state_dict()
    wanted = {}
    for key in [k for k in state if k.endswith(".conv.weight")]:
        name, shape = key[:-len(".conv.weight")], tuple(state[key].shape)
        weight = (fill.signed(name + ".weight", shape) * np.sqrt(6.0 * shape[0] / np.prod(shape))).astype(np.float32)
        bias = (0.1 * fill.signed(name + ".bias", shape[:1])).astype(np.float32)
        # A batch norm of scale 2 and mean m, which the converter has to fold.
        mean = 0.05 * fill.signed(name + ".mean", shape[:1])
        state[key] = torch.from_numpy(weight) / 2
        state[name + ".bn.weight"] = torch.full(shape[:1], 2.0)
        state[name + ".bn.running_var"] = torch.full(shape[:1], 1 - 0.001)
        state[name + ".bn.running_mean"] = torch.from_numpy(mean).float()
        state[name + ".bn.bias"] = torch.from_numpy(bias + 2 * mean).float()
        wanted[name + ".weight"], wanted[name + ".bias"] = weight, bias
    net.load_state_dict(state)
    converted = convert(net.state_dict())
    assert converted.keys() == wanted.keys()
    for key, value in wanted.items():
        assert np.allclose(converted[key].numpy(), value, atol=1e-6), key
    return net.double().eval()


def features(net, x):
    stages = [net.Conv2d_1a_3x3, net.Conv2d_2a_3x3, net.Conv2d_2b_3x3, net.maxpool1, net.Conv2d_3b_1x1, net.Conv2d_4a_3x3,
              net.maxpool2, net.Mixed_5b, net.Mixed_5c, net.Mixed_5d, net.Mixed_6a, net.Mixed_6b, net.Mixed_6c,
              net.Mixed_6d, net.Mixed_6e, net.Mixed_7a, net.Mixed_7b, net.Mixed_7c]
    with torch.no_grad():
        for stage in stages:
            x = stage(x)
    return x.mean((2, 3)).numpy().astype(np.float32)


def main():
    net, out = network(), {}
    for name, side, channels in (("colour", 32, 3), ("grey", 28, 1)):
        pixels = np.array(fill.integers("inception." + name, 2 * side * side * channels, 256))
        x = torch.from_numpy(pixels.reshape(2, side, side, channels).transpose(0, 3, 1, 2).astype(np.float64))
        x = x.expand(-1, 3, -1, -1)
        tf = interpolate_bilinear_2d_like_tensorflow1x(x.float(), size=(299, 299), align_corners=False).double()
        out[name + ".torch_fidelity"] = features(net, (tf - 128) / 128)
        half = F.interpolate(x / 255, size=(299, 299), mode="bilinear", align_corners=False)
        out[name + ".pytorch_fid"] = features(net, 2 * half - 1)
    if "--verify" in sys.argv:
        from safetensors.numpy import load_file
        old = load_file(OUT)
        sys.exit(0 if all(np.allclose(old[k], out[k], rtol=1e-5) for k in out) else "inception.safetensors would change")
    store.save_tensors(out, OUT)


main()
