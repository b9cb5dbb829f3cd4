"""Writes golden tensors."""

import numpy as np
from safetensors.numpy import save_file


def save_tensors(tensors, path):
    # save_file writes an array's memory whatever its strides: channels-last results would be stored transposed.
    save_file({name: np.ascontiguousarray(a) for name, a in tensors.items()}, path, metadata={"format": "pt"})
