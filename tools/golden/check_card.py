#!/usr/bin/env python3
"""Runs the Python lines of a model's README.md, as a reader would, in the model's folder.

    tools/golden/check_card.py MODEL_FOLDER...

Needs a virtual environment with torch and diffusers; see tools/golden/make_golden.py. Exit status 0 if the lines of
every folder draw eight finite images.
"""
import os
import pathlib
import re
import sys

import numpy as np


def main():
    for folder in sys.argv[1:]:
        card = pathlib.Path(folder, "README.md").read_text()
        code = re.search(r"```python\n(.*?)```", card, re.S).group(1)
        before, names = os.getcwd(), {}
        os.chdir(folder)
        exec(re.sub(r"\b250\b", "5", code), names)  # fewer steps: whether they run, not what they draw
        os.chdir(before)
        images = [np.asarray(image, dtype=float) for image in names["images"]]
        if len(images) != 8 or not all(np.isfinite(image).all() for image in images):
            sys.exit(f"{folder}: the card's lines gave no eight finite images")
        print(f"{folder}: {len(images)} images of {images[0].shape}")


if __name__ == "__main__":
    main()
