#!/usr/bin/env python3
"""diffgen against PyTorch + diffusers on this machine: the same network, batch and threads, one run; float32 on the
CPU, bf16 (PyTorch: autocast) with --device cuda.

    tools/bench/compare.sh [--preset tiny] [--batch 64] [--threads 2] [--device cuda] ...

Needs torch and diffusers in a virtual environment of your own, and a built diffgen; nothing else of diffgen needs
Python. Rounds of diffgen and of each PyTorch variant alternate, each in a process of its own, so that a machine that
slows down slows everyone; the table shows the median round.

A training step is what diffusers' train_unconditional.py does: draw noise and timesteps, add the noise, forward, mean
squared error, backward, clip the gradient norm, AdamW, learning rate, EMA. Images lie ready in memory. Sampling is DDIM
in a plain loop. PyTorch's variants: eager as a user writes it; eager with channels-last memory and the fused optimiser,
whichever is faster; torch.compile with both of these on a GPU, and elsewhere on request (--variants
eager,channels_last,compile), its compile time not counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = {"eager": {}, "channels_last": {"channels_last": True, "fused": True}, "compile": {"channels_last": True, "fused": True, "compile": True}}


def load_preset(name):
    path = Path(name) if name.endswith(".json") else ROOT / "models" / f"{name}.json"
    return json.loads(path.read_text())


class TorchSide:
    """PyTorch's half of the comparison, in the worker process."""

    def __init__(self, args, channels_last=False, fused=False, compile=False):
        import torch
        from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
        from diffusers.optimization import get_scheduler
        from diffusers.training_utils import EMAModel

        self.torch = torch
        torch.set_num_threads(args.threads)
        torch.manual_seed(0)
        preset = load_preset(args.preset)
        config = dict(preset["unet"])
        if args.resolution:
            config["sample_size"] = args.resolution
        self.args, self.config = args, config
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.device = torch.device(args.device)
        self.model = UNet2DModel.from_config(config).to(self.device, memory_format=self.format)
        self.call = torch.compile(self.model) if compile else self.model
        training = preset["training"]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=training["lr"], fused=fused or None,
                                           weight_decay=training["weight_decay"])
        self.lr = get_scheduler("cosine", self.optimizer, num_warmup_steps=training["warmup"],
                                num_training_steps=training["steps"])
        self.ema = EMAModel(self.model.parameters(), decay=training["ema"], use_ema_warmup=True, power=0.75,
                            foreach=fused)
        self.noise_scheduler = DDPMScheduler.from_config(preset["scheduler"])
        self.sampler = DDIMScheduler.from_config(preset["scheduler"])
        size = config["sample_size"]
        self.shape = (args.batch, config["in_channels"], size, size)
        self.images = torch.rand(self.shape, device=self.device).mul(2).sub(1).contiguous(memory_format=self.format)
        self.labels = torch.randint(config["num_class_embeds"], (args.batch,), device=self.device)

    def autocast(self):
        on_gpu = self.device.type == "cuda"
        return self.torch.autocast(self.device.type, dtype=self.torch.bfloat16, enabled=on_gpu)

    def synchronise(self):
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()

    def train_step(self):
        torch = self.torch
        noise = torch.randn(self.shape, device=self.device).contiguous(memory_format=self.format)
        t = torch.randint(self.noise_scheduler.config.num_train_timesteps, (self.args.batch,), device=self.device)
        noisy = self.noise_scheduler.add_noise(self.images, noise, t)
        if self.noise_scheduler.config.prediction_type == "v_prediction":
            target = self.noise_scheduler.get_velocity(self.images, noise, t)
        else:
            target = noise
        with self.autocast():
            out = self.call(noisy, t, class_labels=self.labels, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(out.float(), target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.lr.step()
        self.optimizer.zero_grad()
        self.ema.step(self.model.parameters())
        return loss

    def sample(self, steps):
        torch = self.torch
        self.sampler.set_timesteps(steps)
        x = torch.randn(self.shape, device=self.device).contiguous(memory_format=self.format)
        for t in self.sampler.timesteps:
            with self.autocast():
                out = self.call(x, t, class_labels=self.labels, return_dict=False)[0]
            x = self.sampler.step(out.float(), t, x).prev_sample
        return x.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)

    def timed(self, work, seconds, minimum):
        """Repetitions a second of `work`, over at least `minimum` repetitions."""
        self.synchronise()
        start, count = time.perf_counter(), 0
        while count < minimum or time.perf_counter() - start < seconds:
            work()
            count += 1
        self.synchronise()
        return count / (time.perf_counter() - start)

    def measure(self):
        self.model.train()
        for _ in range(3):
            loss = self.train_step()
        assert self.torch.isfinite(loss)
        train = self.timed(self.train_step, self.args.seconds, 3) * self.args.batch
        peak = self.torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None
        self.model.eval()
        with self.torch.inference_mode():
            self.sample(2)
            short = min(self.args.sample_steps, 10)  # every step costs the same; a whole run can take minutes
            per_second = self.timed(lambda: self.sample(short), self.args.seconds, 1)
        return {"train": train, "sample": per_second * self.args.batch * short / self.args.sample_steps,
                "train_bytes": peak}


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}")
    lines = done.stdout.strip()
    try:
        return json.loads(lines)
    except json.JSONDecodeError:
        return json.loads(lines.splitlines()[-1])


def run_diffgen(args):
    command = [args.diffgen, "bench", "--preset", args.preset, "--batch", str(args.batch),
               "--threads", str(args.threads), "--seconds", str(args.seconds), "--device", args.device, "--json"]
    if args.resolution:
        command += ["--resolution", str(args.resolution)]
    result = run_json(command)
    return {"train": result["train"]["images_per_second"], "sample": result["sample"]["images_per_second"],
            "steps": result["sample"]["steps"], "train_bytes": result["train"]["planned_bytes"]}


def run_worker(args, variant, steps):
    command = [sys.executable, __file__, "--worker", variant, "--preset", args.preset, "--batch", str(args.batch),
               "--threads", str(args.threads), "--seconds", str(args.seconds), "--sample-steps", str(steps),
               "--device", args.device]
    if args.resolution:
        command += ["--resolution", str(args.resolution)]
    return run_json(command)


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown CPU"


def report_memory(rounds, others):
    """A training step's memory: what diffgen plans, which is all it allocates, and what PyTorch's tensors take at most."""
    bytes_of = {name: rounds[name][0]["train_bytes"] for name in ["diffgen", *others]}
    if all(bytes_of.values()):
        least = min(bytes_of[name] for name in others)
        print("memory of a training step, MiB: "
              + ", ".join(f"{name} {count / 2**20:.0f}" for name, count in bytes_of.items())
              + f"; diffgen {bytes_of['diffgen'] / least:.2f} x the least")


def report(args, rounds, steps):
    """Prints the table; the median of the rounds decides, the best round shows how noisy the machine was."""
    rounds = {name: results for name, results in rounds.items() if results}
    median, best = ({name: {what: pick(r[what] for r in results) for what in ("train", "sample")}
                     for name, results in rounds.items()} for pick in (statistics.median, max))
    ours = median.get("diffgen")
    print(f"\n{args.preset}, batch {args.batch}, {args.threads} threads, {'bf16' if args.device == 'cuda' else 'float32'}, "
          f"{args.rounds} rounds; {cpu_name()}")
    print("images/s".ljust(22) + "".join(f"{title:>11}{'(best)':>10}{'ratio':>8}"
                                         for title in ("training", f"DDIM-{steps}")))
    for name in rounds:
        row = (name if name == "diffgen" else "PyTorch " + name).ljust(22)
        for what in ("train", "sample"):
            ratio = f"{ours[what] / median[name][what]:8.2f}" if ours else " " * 8
            row += f"{median[name][what]:11.2f}{best[name][what]:10.2f}{ratio}"
        print(row)
    others = [name for name in median if name != "diffgen"]
    if ours and others:
        for label, value in (("median", median), ("best round", best)):
            train, sample = (value["diffgen"][w] / max(value[n][w] for n in others) for w in ("train", "sample"))
            print(f"diffgen against the fastest variant, {label}: training {train:.2f} x, sampling {sample:.2f} x")
        report_memory(rounds, others)
    return median


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diffgen", default=str(ROOT / "build/release/diffgen"), help="program, or 'none'")
    parser.add_argument("--preset", default="tiny", help="name or file of a preset")
    parser.add_argument("--resolution", type=int, default=0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=6, help="to measure each part of each round for")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample-steps", type=int, default=50, help="with --diffgen none; else what diffgen says")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--variants", help="of eager,channels_last,compile; on a GPU all, else the first two")
    parser.add_argument("--json", metavar="FILE", help="write all rounds here")
    parser.add_argument("--worker", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    if args.worker:
        print(json.dumps(TorchSide(args, **VARIANTS[args.worker]).measure()))
        return
    default_variants = "eager,channels_last,compile" if args.device == "cuda" else "eager,channels_last"
    variants = (args.variants or default_variants).split(",")
    rounds = {name: [] for name in (["diffgen"] if args.diffgen != "none" else []) + variants}
    steps = args.sample_steps
    for number in range(args.rounds):
        if "diffgen" in rounds:
            rounds["diffgen"].append(run_diffgen(args))
            steps = rounds["diffgen"][-1]["steps"]
        for variant in list(variants):
            try:
                rounds[variant].append(run_worker(args, variant, steps))
            except RuntimeError as error:
                print(f"PyTorch {variant} left out: {error}", file=sys.stderr)
                variants.remove(variant)
        done = ", ".join(f"{n} {r[-1]['train']:.1f}" for n, r in rounds.items() if r)
        print(f"round {number + 1} of {args.rounds}, training images/s: {done}", file=sys.stderr)
    if not any(rounds.values()):
        sys.exit("nothing could be measured")
    median = report(args, rounds, steps)
    if args.json:
        Path(args.json).write_text(json.dumps({"arguments": vars(args), "rounds": rounds, "median": median}, indent=1))


if __name__ == "__main__":
    main()
