"""Sampling trajectories along sigma: diffusers' EDM and Heun schedulers, and Karras et al. 2022 in double precision.

States are what the network sees, c_in times the noisy image, as scale_model_input gives it; the last is the image.
"""

import math

import diffusers
import numpy as np
import torch
from diffusers.schedulers import scheduling_edm_dpmsolver_multistep, scheduling_edm_euler

import fill
import store
from golden_schedulers import SHAPE, _Draws, _toy_model

EDM, VP = "EDMEulerScheduler", "DDPMScheduler"
_COSINE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}

# name, diffgen's sampler, the model's scheduler, its config, steps, the sampler's options, what computes it
CASES = [
    ("edm_euler", "euler", EDM, {}, 8, {}, "EDMEulerScheduler"),
    ("edm_euler_v", "euler", EDM, {"prediction_type": "v_prediction", "sigma_data": 1.0}, 8, {}, "EDMEulerScheduler"),
    ("edm_euler_range", "euler", EDM, {"sigma_min": 0.01, "sigma_max": 20.0, "rho": 5.0}, 12, {}, "EDMEulerScheduler"),
    ("edm_dpmpp_2m", "dpmsolver++", EDM, {}, 8, {}, "EDMDPMSolverMultistepScheduler"),
    ("edm_dpmpp_3m", "dpmsolver++", EDM, {"solver_order": 3, "sigma_data": 0.6}, 20, {},
     "EDMDPMSolverMultistepScheduler"),
    ("edm_dpmpp_2m_sde", "dpmsolver++", EDM, {"algorithm_type": "sde-dpmsolver++"}, 10, {},
     "EDMDPMSolverMultistepScheduler"),
    ("vp_heun_karras", "heun", VP, {}, 8, {"sigma_max": 157.407}, "HeunDiscreteScheduler"),
    ("vp_heun_karras_v", "heun", VP, {"prediction_type": "v_prediction"}, 18, {"sigma_max": 157.407},
     "HeunDiscreteScheduler"),
    ("edm_heun", "heun", EDM, {}, 18, {}, "reference"),
    ("edm_heun_data", "heun", EDM, {"sigma_data": math.sqrt(1 / 3)}, 5, {"sigma_max": 50.0, "rho": 3.0}, "reference"),
    ("edm_churn", "churn", EDM, {}, 32, {}, "reference"),
    ("edm_churn_most", "churn", EDM, {"prediction_type": "v_prediction"}, 12,
     {"churn": 100.0, "churn_min": 0.01, "churn_max": 10.0, "churn_noise": 1.003}, "reference"),
    ("vp_churn", "churn", VP, _COSINE, 24, {"churn": 6.0, "sigma_min": 0.02}, "reference"),
]


def _diffusers(kind, config, steps):
    extra = {"use_karras_sigmas": True, "beta_start": 1e-4, "beta_end": 0.02} if kind == "HeunDiscreteScheduler" else {}
    scheduler = getattr(diffusers, kind)(**{**extra, **config})
    scheduler.set_timesteps(steps)
    draws = _Draws()
    for module in (scheduling_edm_euler, scheduling_edm_dpmsolver_multistep):
        module.randn_tensor = draws
    data = config.get("sigma_data", 0.5 if kind.startswith("EDM") else 1.0)
    # diffusers starts from sqrt(sigma_max^2 + 1), whatever sigma_data: here the network sees unit variance
    x = torch.from_numpy(fill.data("xT", SHAPE)) * math.sqrt(float(scheduler.sigmas[0]) ** 2 + data**2)
    states, timesteps = [], []
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, t)
        states.append(seen)
        timesteps.append(float(t))
        x = scheduler.step(_toy_model(seen, t), t, x).prev_sample
    states.append(x)
    return torch.stack(states).numpy().astype(np.float32), timesteps, draws.count


class _Denoiser:
    """D(x, sigma) of an EDM or a variance-preserving model, with the toy network, in double precision."""

    def __init__(self, scheduler, config):
        self.edm = scheduler == EDM
        self.data = config.get("sigma_data", 0.5) if self.edm else 1.0
        self.v = config.get("prediction_type") == "v_prediction"
        if not self.edm:
            abar = diffusers.DDPMScheduler(**config).alphas_cumprod.double().numpy()
            self.log_sigmas = np.log(np.sqrt((1 - abar) / abar).astype(np.float32).astype(np.float64))

    def c_in(self, sigma):
        return 1 / math.sqrt(sigma**2 + self.data**2)

    def timestep(self, sigma):
        if self.edm:
            return math.log(sigma) / 4
        return float(np.interp(math.log(sigma), self.log_sigmas, np.arange(len(self.log_sigmas))))

    def __call__(self, x, sigma):
        seen, t = self.c_in(sigma) * x, self.timestep(sigma)
        f = 0.3 * seen + 0.05 * np.cos(0.01 * t + np.arange(x.size).reshape(x.shape))
        c_skip, c_out = self.data**2 * self.c_in(sigma) ** 2, sigma * self.data * self.c_in(sigma)
        if not self.edm and not self.v:
            return seen, t, x - sigma * f
        return seen, t, c_skip * x + (-c_out if self.v else c_out) * f


def _reference(scheduler, config, sampler, steps, options):
    """Karras et al. 2022, algorithm 2, line by line; without churn it is algorithm 1."""
    denoise = _Denoiser(scheduler, config)
    edm = scheduler == EDM
    smallest = options.get("sigma_min", config.get("sigma_min", 0.002 if edm else 0))
    largest = options.get("sigma_max", config.get("sigma_max", 80.0))
    rho = options.get("rho", config.get("rho", 7.0))
    churn, low, high, s_noise = (options.get(k, v) for k, v in
                                 (("churn", 50.0), ("churn_min", 0.05), ("churn_max", 50.0), ("churn_noise", 1.0)))
    ramp = np.arange(steps) / (steps - 1)
    t = (largest ** (1 / rho) + ramp * (smallest ** (1 / rho) - largest ** (1 / rho))) ** rho
    t = np.append(t, 0.0)
    x = fill.data("xT", SHAPE).astype(np.float64) / denoise.c_in(t[0])
    states, timesteps, draws = [], [], 0
    for i in range(steps):
        gamma = min(churn / steps, math.sqrt(2) - 1) if sampler == "churn" and low <= t[i] <= high else 0
        lifted = t[i] + gamma * t[i]
        if gamma > 0:
            x = x + math.sqrt(lifted**2 - t[i] ** 2) * s_noise * fill.data(f"noise{draws}", SHAPE).astype(np.float64)
            draws += 1
        seen, time, d = denoise(x, lifted)
        states.append(seen), timesteps.append(time)
        slope = (x - d) / lifted
        ahead = x + (t[i + 1] - lifted) * slope
        if t[i + 1] != 0:
            seen, time, d = denoise(ahead, t[i + 1])
            states.append(seen), timesteps.append(time)
            ahead = x + (t[i + 1] - lifted) * (slope + (ahead - d) / t[i + 1]) / 2
        x = ahead
    states.append(x)
    return np.stack(states).astype(np.float32), timesteps, draws


def make(out, save_json):
    tensors, cases = {}, []
    for name, sampler, scheduler, config, steps, options, by in CASES:
        made = _reference(scheduler, config, sampler, steps, options) if by == "reference" else _diffusers(by, config,
                                                                                                          steps)
        states, timesteps, draws = made
        tensors["trajectory." + name] = states
        cases.append({"name": name, "sampler": sampler, "class": scheduler, "config": config,
                      "num_inference_steps": steps, "options": options, "computed_by": by, "timesteps": timesteps,
                      "noise_draws": draws})
    print(f"  {len(cases)} trajectories")
    store.save_tensors(tensors, out / "sigmas.safetensors")
    save_json(out / "sigmas.json", {"cases": cases})
