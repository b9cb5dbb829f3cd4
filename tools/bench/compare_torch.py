#!/usr/bin/env python3
"""diffgen against PyTorch + diffusers on this machine: the same network, batch and threads, one run; float32 on the
CPU, bf16 (PyTorch: autocast) with --device cuda.

    tools/bench/compare.sh [--preset tiny] [--batch 64] [--threads 2] [--device cuda] ...

Needs torch and diffusers in a virtual environment of your own, and a built diffgen; nothing else of diffgen needs
Python. Each PyTorch variant has a process of its own, which gets ready (torch.compile takes minutes) and then waits for
its turn; all get ready at once. Then rounds of diffgen and of each variant alternate, so that a machine that slows down
slows everyone; the table shows the median round. Several presets, with a batch each, are measured one after the other.

A training step is what diffusers' train_unconditional.py does: draw noise and timesteps, add the noise, forward, mean
squared error, backward, clip the gradient norm, AdamW, learning rate, EMA. Images lie ready in memory. Sampling is DDIM
in a plain loop. PyTorch's variants: eager as a user writes it; eager with channels-last memory and the fused optimiser,
whichever is faster; torch.compile with both of these on a GPU, and elsewhere on request (--variants
eager,channels_last,compile).
"""

import argparse
import json
import os
import select
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

    def warm_up(self):
        self.model.train()
        for _ in range(3):
            loss = self.train_step()
        assert self.torch.isfinite(loss)
        self.train_bytes = self.torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None
        self.model.eval()
        with self.torch.inference_mode():
            self.sample(2)

    def measure(self):
        self.model.train()
        self.train_step()
        train = self.timed(self.train_step, self.args.seconds, 3) * self.args.batch
        self.model.eval()
        with self.torch.inference_mode():
            self.sample(1)
            short = min(self.args.sample_steps, 10)  # every step costs the same; a whole run can take minutes
            per_second = self.timed(lambda: self.sample(short), self.args.seconds, 1)
        return {"train": train, "sample": per_second * self.args.batch * short / self.args.sample_steps,
                "train_bytes": self.train_bytes}


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}")
    lines = done.stdout.strip()
    try:
        return json.loads(lines)
    except json.JSONDecodeError:
        return json.loads(lines.splitlines()[-1])


def network_arguments(args):
    arguments = ["--preset", args.preset, "--batch", str(args.batch), "--threads", str(args.threads), "--seconds",
                 str(args.seconds), "--device", args.device]
    return arguments + (["--resolution", str(args.resolution)] if args.resolution else [])


def run_diffgen(args):
    result = run_json([args.diffgen, "bench", *network_arguments(args), "--json"])
    return {"train": result["train"]["images_per_second"], "sample": result["sample"]["images_per_second"],
            "steps": result["sample"]["steps"], "train_bytes": result["train"]["planned_bytes"]}


class Worker:
    """A PyTorch variant in a process of its own: says a line when it is ready, and for every line a round's result."""

    def __init__(self, args, variant):
        self.process = subprocess.Popen([sys.executable, __file__, "--worker", variant, *network_arguments(args),
                                         "--sample-steps", str(args.sample_steps)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def line(self, until=None):
        """The next line, or an error once the process has ended or `until` has passed."""
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([self.process.stdout], [], [], left)[0]:
            raise RuntimeError("was not ready in time")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"ended with exit code {self.process.wait()}")
        return line

    def measure(self):
        self.process.stdin.write("measure\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def stop(self):
        self.process.kill()
        self.process.wait()


def serve(args):
    side = TorchSide(args, **VARIANTS[args.worker])
    side.warm_up()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(side.measure()), flush=True)


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


def one_preset(args, preset, batch):
    return argparse.Namespace(**{**vars(args), "preset": preset, "batch": batch})


def compare(args, workers):
    """The rounds of one preset. workers: those that are ready, by variant."""
    rounds = {name: [] for name in (["diffgen"] if args.diffgen != "none" else []) + list(workers)}
    steps = args.sample_steps
    for number in range(args.rounds):
        if "diffgen" in rounds:
            rounds["diffgen"].append(run_diffgen(args))
            steps = rounds["diffgen"][-1]["steps"]
        for variant, worker in workers.items():
            rounds[variant].append(worker.measure())
        done = ", ".join(f"{n} {r[-1]['train']:.1f}" for n, r in rounds.items() if r)
        print(f"round {number + 1} of {args.rounds}, training images/s: {done}", file=sys.stderr)
    return rounds, steps


def get_ready(workers, until):
    """Waits for them; those that fail are left out, and said to be."""
    for key, worker in list(workers.items()):
        try:
            worker.line(until)
        except RuntimeError as error:
            print(f"{key[0]}: PyTorch {key[1]} is left out: it {error}", file=sys.stderr)
            workers.pop(key).stop()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diffgen", default=str(ROOT / "build/release/diffgen"), help="program, or 'none'")
    parser.add_argument("--preset", default="tiny", help="names or files of presets, with commas")
    parser.add_argument("--resolution", type=int, default=0)
    parser.add_argument("--batch", default="64", help="one, or one for each preset, with commas")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=6, help="to measure each part of each round for")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample-steps", type=int, default=50, help="that sampling speed is told for")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--variants", help="of eager,channels_last,compile; on a GPU all, else the first two")
    parser.add_argument("--ready-within", type=float, metavar="SECONDS", help="leave out variants that take longer")
    parser.add_argument("--start-when", metavar="FILE", help="get ready, but measure only once this file exists")
    parser.add_argument("--json", metavar="FILE", help="write all rounds here")
    parser.add_argument("--worker", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse_arguments()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    if args.worker:
        serve(one_preset(args, args.preset, int(args.batch)))
        return
    presets, batches = args.preset.split(","), [int(batch) for batch in args.batch.split(",")]
    batches *= len(presets) if len(batches) == 1 else 1
    variants = (args.variants or ("eager,channels_last,compile" if args.device == "cuda" else "eager,channels_last"))
    cases = [one_preset(args, preset, batch) for preset, batch in zip(presets, batches, strict=True)]
    workers = {(case.preset, variant): Worker(case, variant) for case in cases for variant in variants.split(",")}
    results = {}
    try:
        get_ready(workers, args.ready_within and time.monotonic() + args.ready_within)
        while args.start_when and not os.path.exists(args.start_when):
            time.sleep(0.2)
        for case in cases:
            own = {variant: worker for (preset, variant), worker in workers.items() if preset == case.preset}
            rounds, steps = compare(case, own)
            results[case.preset] = {"rounds": rounds, "median": report(case, rounds, steps)}
            for worker in own.values():
                worker.stop()
    finally:
        for worker in workers.values():
            worker.stop()
    if args.json:
        Path(args.json).write_text(json.dumps({"arguments": vars(args), "results": results}, indent=1))


if __name__ == "__main__":
    main()
