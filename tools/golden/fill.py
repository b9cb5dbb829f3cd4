"""Deterministic tensors out of a name and a shape, so that golden files need to hold neither weights nor inputs.

The same fill in C: FNV-1a-32 of the name starts a counter, an integer finaliser (xor-shift and multiply) mixes it,
and the 32-bit result x becomes r = 2 x / 2^32 - 1. tests/golden/README.md has the formula and check values.
"""

import numpy as np


def fnv1a(name):
    h = 2166136261
    for byte in name.encode("utf-8"):
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    return h


def unit(name, count):
    """u in [0, 1), float64, `count` of them."""
    k = np.arange(count, dtype=np.uint64)
    x = (np.uint64(fnv1a(name)) + k * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    mask = np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x85EBCA6B)) & mask
    x ^= x >> np.uint64(13)
    x = (x * np.uint64(0xC2B2AE35)) & mask
    x ^= x >> np.uint64(16)
    return x.astype(np.float64) / 4294967296.0


def signed(name, shape):
    """r in [-1, 1), float64."""
    return (2.0 * unit(name, int(np.prod(shape, dtype=np.int64))) - 1.0).reshape(shape)


def data(name, shape):
    """An input of the network or the sampler: 1.7 r, float32."""
    return (1.7 * signed(name, shape)).astype(np.float32)


def integers(name, count, limit):
    """Timesteps and labels: floor(u * limit)."""
    return [int(v) for v in np.floor(unit(name, count) * limit)]


def parameter(name, shape):
    """A network parameter under its state-dict name, float32."""
    r = signed(name, shape)
    if len(shape) >= 2:
        if name == "class_embedding.weight":
            return r.astype(np.float32)
        fan_in = int(np.prod(shape)) // shape[0]
        return (r * np.sqrt(3.0 / fan_in)).astype(np.float32)
    if name.endswith("weight") and "norm" in name:
        return (1.0 + 0.2 * r).astype(np.float32)
    return (0.1 * r).astype(np.float32)


def check():
    assert fnv1a("conv_in.weight") == 0xB1E79747
    assert np.allclose(unit("conv_in.weight", 4), [0.42552419, 0.09933364, 0.02418331, 0.77248329], atol=1e-8)
    assert np.allclose(data("input", (4,)), [1.0167, -1.3205, -1.4874, -0.3950], atol=1e-4)
