#!/usr/bin/env python3
"""Makes tests/golden/: what PyTorch and diffusers compute, for the C tests to compare with.

Only developers who change the golden files run this; building, testing and using diffgen needs no Python.
Needs torch (CPU is enough), diffusers, numpy, safetensors, in a virtual environment of your own:

    python3 -m venv venv && venv/bin/pip install torch diffusers numpy safetensors
    venv/bin/python tools/golden/make_golden.py            # writes tests/golden/
    venv/bin/python tools/golden/make_golden.py --verify   # writes nothing, fails if a file would change

The reference numbers are computed in float64 (where the upstream code allows) and stored as float32; the difference
to upstream's own float32 run is stored beside them, as the scale a tolerance can be judged by.
"""

import argparse
import json
import math
import platform
import sys
import tempfile
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel, compute_snr
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fill
import golden_schedulers
import golden_sigmas
import store
from unet_cases import TRAIN_CASE, UNET_CASES

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "tools/golden/make_golden.py"


def versions():
    return {"torch": torch.__version__, "diffusers": diffusers.__version__, "numpy": np.__version__,
            "python": platform.python_version()}


def save_json(path, value):
    path.write_text(json.dumps({"made_by": COMMAND, "versions": versions(), **value}, indent=1) + "\n")


def make_unet(config, dtype):
    model = UNet2DModel(sample_size=8, **config).to(dtype)
    model.load_state_dict({name: torch.from_numpy(fill.parameter(name, tuple(p.shape))).to(dtype)
                           for name, p in model.state_dict().items()})
    if model.config.class_embed_type == "timestep":  # upstream hands this layer float32 whatever the model's type
        model.class_embedding.register_forward_pre_hook(lambda module, args: (args[0].to(dtype),))
    return model.eval()


def run_unet(case, dtype):
    """Output, loss and gradients of one case in one precision."""
    model = make_unet(case["config"], dtype)
    shape = (case["batch"], model.config.in_channels, case["height"], case["width"])
    x = torch.from_numpy(fill.data("input", shape)).to(dtype)
    labels = case.get("labels")
    if labels == "data":
        labels = torch.from_numpy(fill.data("labels", (shape[0], model.time_embedding.linear_1.out_features))).to(dtype)
    elif labels is not None:
        labels = torch.tensor(labels)
    y = model(x, torch.tensor(case["t"]), class_labels=labels).sample
    target = torch.from_numpy(fill.data("target", tuple(y.shape))).to(dtype)
    loss = torch.nn.functional.mse_loss(y, target)
    loss.backward()
    grads = {name: p.grad.double().numpy() for name, p in model.named_parameters()}
    return y.detach().double().numpy(), loss.item(), grads


def relative(a, b):
    """Largest difference over the reference's root mean square."""
    return float(np.abs(a - b).max() / max(np.sqrt(np.mean(np.square(b))), 1e-30))


def check_values(name, grad):
    """[sum, sum of squares, dot product with the data tensor "check.<name>"]."""
    c = fill.data("check." + name, grad.shape).astype(np.float64)
    return np.array([grad.sum(), np.square(grad).sum(), (grad * c).sum()], dtype=np.float32)


def check_against_known(case, y):
    """The values measured earlier with torch 1.13 and an older diffusers, where there are any."""
    known = case.get("known")
    if known is None:
        return
    flat = y.ravel()
    got = list(flat[:6]) + list(flat[-3:]) + [flat.mean(), math.sqrt(np.mean(flat**2))]
    worst = max(abs(a - b) for a, b in zip(got, known["values"]))
    print(f"  {case['id']}: differs from the earlier record by {worst:.1e} at most")
    assert worst < 5e-6, (case["id"], got)


def golden_unet(out):
    cases = []
    for case in UNET_CASES:
        y, loss, grads = run_unet(case, torch.float64)
        y32, loss32, grads32 = run_unet(case, torch.float32)
        check_against_known(case, y)
        count = sum(g.size for g in grads.values())
        assert "known" not in case or [count, len(grads)] == case["known"]["counts"], (case["id"], count, len(grads))
        tensors = {"output": y.astype(np.float32)}
        for name, g in grads.items():
            if case["gradients"] == "full":
                tensors["grad." + name] = g.astype(np.float32)
            else:
                tensors["check." + name] = check_values(name, g)
        file = f"unet_{case['id']}.safetensors"
        store.save_tensors(tensors, out / file)
        norms = {n: float(np.sqrt(np.mean(g**2))) for n, g in grads.items()}
        noise = max(relative(grads32[n], g) for n, g in grads.items() if norms[n] > 1e-9)
        cases.append({**{k: v for k, v in case.items() if k != "known"}, "file": file, "parameters": count,
                      "tensors": len(grads), "loss": loss,
                      "float32_differs": {"output": relative(y32, y), "loss": abs(loss32 - loss), "gradients": noise},
                      "zero_gradients": [n for n in grads if norms[n] <= 1e-9]})
        print(f"  {case['id']}: {count} parameters, loss {loss:.9f}, f32 gradients differ by {noise:.1e} of their rms")
    save_json(out / "unet.json", {"cases": cases})


def run_training(case, dtype):
    model = make_unet(case["config"], dtype).train()
    opt = case["optimizer"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=opt["lr"], betas=(opt["beta1"], opt["beta2"]),
                                  weight_decay=opt["weight_decay"], eps=opt["eps"])
    lr_scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=opt["warmup_steps"],
                                 num_training_steps=case["steps"])
    ema = EMAModel(model.parameters(), decay=case["ema"]["max_decay"], use_ema_warmup=True,
                   inv_gamma=case["ema"]["inv_gamma"], power=case["ema"]["power"])
    noise_scheduler = diffusers.DDPMScheduler(**case["scheduler"])
    record = {"loss": [], "grad_norm": [], "lr": []}
    shape = (case["batch"], model.config.in_channels, case["height"], case["width"])
    for k in range(case["steps"]):
        x0 = torch.from_numpy(fill.data(f"x0.{k}", shape)).to(dtype)
        noise = torch.from_numpy(fill.data(f"noise.{k}", shape)).to(dtype)
        t = torch.tensor(case["t"][k])
        xt = noise_scheduler.add_noise(x0, noise, t)
        y = model(xt, t, class_labels=torch.tensor(case["labels"][k])).sample
        loss = torch.nn.functional.mse_loss(y, noise)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), opt["max_grad_norm"])
        record["loss"].append(loss.item())
        record["grad_norm"].append(norm.item())
        record["lr"].append(lr_scheduler.get_last_lr()[0])
        optimizer.step()
        lr_scheduler.step()
        optimizer.zero_grad()
        ema.step(model.parameters())
    names = [n for n, _ in model.named_parameters()]
    weights = {n: p.detach().double().numpy() for n, p in model.named_parameters()}
    shadow = {n: p.double().numpy() for n, p in zip(names, ema.shadow_params)}
    return record, weights, shadow


def golden_training(out):
    case = dict(TRAIN_CASE)
    case["t"] = [fill.integers(f"t.{k}", case["batch"], 1000) for k in range(case["steps"])]
    classes = case["config"]["num_class_embeds"]
    case["labels"] = [fill.integers(f"label.{k}", case["batch"], classes) for k in range(case["steps"])]
    record, weights, shadow = run_training(case, torch.float64)
    record32, weights32, shadow32 = run_training(case, torch.float32)
    tensors = {"weights." + n: w.astype(np.float32) for n, w in weights.items()}
    tensors |= {"ema." + n: w.astype(np.float32) for n, w in shadow.items()}
    store.save_tensors(tensors, out / "train.safetensors")
    # The gradient of a key's bias is zero in exact arithmetic (softmax does not see a shift), and Adam turns its
    # rounding noise into steps as long as the learning rate.
    meaningless = [n for n in weights if n.endswith("to_k.bias")]
    kept = [n for n in weights if n not in meaningless]
    save_json(out / "train.json", {**case, **record, "file": "train.safetensors", "zero_gradients": meaningless,
              "float32_differs": {
                  "loss": max(abs(a - b) for a, b in zip(record["loss"], record32["loss"])),
                  "grad_norm": max(abs(a - b) for a, b in zip(record["grad_norm"], record32["grad_norm"])),
                  "weights": max(float(np.abs(weights[n] - weights32[n]).max()) for n in kept),
                  "ema": max(float(np.abs(shadow[n] - shadow32[n]).max()) for n in kept)}})
    print(f"  losses {record['loss'][0]:.6f} .. {record['loss'][-1]:.6f}")


def golden_curves(out):
    """EMA decays, learning-rate multipliers, min-SNR weights."""
    zero = [torch.nn.Parameter(torch.zeros(1))]
    ema = []
    for warmup, power, decay in ((True, 0.75, 0.9999), (True, 2 / 3, 0.9999), (True, 0.75, 0.95),
                                 (False, 0.75, 0.9999)):
        model = EMAModel(zero, decay=decay, use_ema_warmup=warmup, inv_gamma=1.0, power=power)
        ema.append({"use_ema_warmup": warmup, "inv_gamma": 1.0, "power": power, "max_decay": decay,
                    "decay": [model.get_decay(k) for k in range(1, 201)]})
    lr = []
    for name, warmup, total in (("constant", 0, 40), ("constant_with_warmup", 7, 40), ("cosine", 7, 40),
                                ("cosine", 0, 40), ("linear", 7, 40)):
        optimizer = torch.optim.SGD(zero, lr=1.0)
        scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total)
        values = []
        for _ in range(total + 3):
            values.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        lr.append({"schedule": name, "warmup_steps": warmup, "total_steps": total, "multiplier": values})
    noise_scheduler = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    t = list(range(0, 1000, 37)) + [998]
    snr = compute_snr(noise_scheduler, torch.tensor(t)).double()
    clipped = torch.clamp(snr, max=5.0)
    save_json(out / "curves.json", {"ema": ema, "lr": lr, "min_snr": {
        "beta_schedule": "squaredcos_cap_v2", "gamma": 5.0, "t": t, "snr": snr.tolist(),
        "weight_epsilon": (clipped / snr).tolist(), "weight_v_prediction": (clipped / (snr + 1)).tolist(),
        "weight_sample": clipped.tolist()}})


def same(made, kept):
    if made.suffix == ".json":
        a, b = (json.loads(p.read_text()) for p in (made, kept))
        a.pop("versions"), b.pop("versions")
        return a == b
    a, b = load_file(made), load_file(kept)
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "golden")
    parser.add_argument("--verify", action="store_true", help="compare with --out instead of writing it")
    args = parser.parse_args()
    diffusers.logging.set_verbosity_error()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    fill.check()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) if args.verify else args.out
        out.mkdir(parents=True, exist_ok=True)
        for name, make in (("unet", golden_unet), ("train", golden_training), ("curves", golden_curves),
                           ("schedulers", lambda o: golden_schedulers.make(o, save_json)),
                           ("sigmas", lambda o: golden_sigmas.make(o, save_json))):
            print(name)
            make(out)
        files = sorted(p for p in out.iterdir() if p.suffix in (".json", ".safetensors"))
        for path in files:
            path.chmod(0o644)
        if args.verify:
            changed = [p.name for p in files if not same(p, args.out / p.name)]
            if changed:
                sys.exit("would change: " + " ".join(changed))
        print(f"{len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
