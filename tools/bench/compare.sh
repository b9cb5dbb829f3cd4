#!/usr/bin/env bash
# Speed of diffgen and of PyTorch + diffusers on this machine in one run; see compare_torch.py --help for the options.
# Needs Python with torch and diffusers: named by PYTHON, else the active virtual environment's, else python3.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python3}
if ! "$python" -c 'import torch, diffusers' 2>/dev/null; then
    echo "compare.sh: $python lacks torch or diffusers; make an environment that has them and name its interpreter:" >&2
    echo "    python3 -m venv venv && venv/bin/pip install torch diffusers" >&2
    echo "    PYTHON=venv/bin/python tools/bench/compare.sh" >&2
    exit 69
fi
for argument in "$@"; do
    case $argument in --diffgen | --diffgen=*) own_program=1 ;; esac
done
if [ -z "${own_program:-}" ]; then
    cmake --preset release >/dev/null
    cmake --build --preset release --target diffgen >/dev/null
fi
exec "$python" tools/bench/compare_torch.py "$@"
