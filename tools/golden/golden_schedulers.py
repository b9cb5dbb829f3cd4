"""Noise schedules, timestep lists and whole sampling trajectories of diffusers' schedulers on a toy model."""

import math

import diffusers
import numpy as np
import torch
from diffusers.schedulers import scheduling_ddim, scheduling_ddpm, scheduling_dpmsolver_multistep

import fill
import store

SHAPE = (1, 3, 4, 4)

# name, class, config, inference steps, arguments of step(); known: final x[0..3], x[47] and the sum as recorded with
# torch 1.13 and diffusers 0.40.0.dev0, None where there is no such record.
CASES = [
    ("ddpm", "DDPM", {}, 10, {}, (0.811725, 0.925857, 0.712197, 0.506277, 0.718779, 5.570811)),
    ("ddpm_fixed_large", "DDPM", {"variance_type": "fixed_large"}, 10, {},
     (0.896548, 0.778356, 0.649702, 1.0, 1.0, 6.929177)),
    ("ddpm_v_squaredcos_trailing", "DDPM",
     {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "timestep_spacing": "trailing",
      "clip_sample_range": 0.5}, 10, {}, (0.484629, 0.486601, 0.203755, 0.313155, 0.5, 2.902924)),
    ("ddpm_sample_linspace_noclip", "DDPM",
     {"prediction_type": "sample", "timestep_spacing": "linspace", "clip_sample": False}, 7, {},
     (0.111263, 0.030782, -0.016371, -0.011653, 0.008854, -0.002861)),
    ("ddpm_thresholding", "DDPM",
     {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}, 10, {},
     (0.574198, 0.858126, 0.344394, 0.273421, 0.586702, 2.748683)),
    ("ddim", "DDIM", {}, 10, {}, (-0.581365, 0.569952, 0.462719, 0.565168, -0.217189, -4.058664)),
    ("ddim_eta1", "DDIM", {}, 10, {"eta": 1.0}, None),
    ("ddim_eta1_noclip", "DDIM", {"clip_sample": False}, 10, {"eta": 1.0},
     (-4.082762, 26.712736, 5.592626, -0.000363, 2.618680, -55.311015)),
    ("ddim_trailing", "DDIM", {"timestep_spacing": "trailing"}, 7, {},
     (-0.650192, 0.577407, 0.500400, 0.618176, -0.131006, -3.961549)),
    ("ddim_linspace_alpha0", "DDIM", {"timestep_spacing": "linspace", "set_alpha_to_one": False}, 7, {},
     (-0.544509, 0.597738, 0.477744, 0.490719, -0.197165, -3.851192)),
    ("ddim_v_zero_snr_trailing", "DDIM",
     {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 5, {},
     (-0.570404, 0.601494, 0.366767, 0.269949, -0.070784, -1.427362)),
    ("ddim_v_squaredcos", "DDIM",
     {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2"}, 20, {}, None),
    ("dpmpp_2m", "DPM", {}, 10, {}, (-44.017006, 45.376022, 27.393314, 20.769424, -5.421413, -111.622945)),
    ("dpmpp_2m_leading", "DPM", {"timestep_spacing": "leading"}, 20, {},
     (-28.277716, 29.051872, 17.924627, 13.553308, -3.106322, -70.205978)),
    ("dpmpp_2m_karras", "DPM", {"use_karras_sigmas": True}, 20, {},
     (-40.293114, 41.626743, 25.226387, 19.055506, -4.901076, -101.764682)),
    ("dpmpp_2m_v_trailing_heun", "DPM",
     {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "solver_type": "heun",
      "final_sigmas_type": "sigma_min"}, 20, {},
     (-1.161853, 1.124029, 0.715620, 0.573693, -0.088766, -2.824007)),
    ("dpmpp_2m_v_squaredcos", "DPM",
     {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "leading"}, 20, {},
     None),
    ("dpmpp_2m_thresholding", "DPM",
     {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}, 10, {}, None),
    ("dpmpp_3m", "DPM", {"solver_order": 3}, 20, {},
     (-42.601536, 43.872532, 26.535885, 20.131489, -5.189182, -107.848608)),
    ("dpmpp_2m_sde", "DPM", {"algorithm_type": "sde-dpmsolver++"}, 10, {},
     (4.836203, 26.724808, 1.443960, -4.114398, 5.284191, -47.350121)),
]
_CLASSES = {"DDPM": "DDPMScheduler", "DDIM": "DDIMScheduler", "DPM": "DPMSolverMultistepScheduler"}


class _Draws:
    """Stands in for the schedulers' normal generator: draw k is the data tensor "noise<k>"."""

    def __init__(self):
        self.count = 0

    def __call__(self, shape, generator=None, device=None, dtype=None, layout=None):
        value = torch.from_numpy(fill.data(f"noise{self.count}", tuple(shape)))
        self.count += 1
        return value


def _toy_model(x, t):
    j = np.arange(x.numel(), dtype=np.float64)
    wave = (0.05 * np.cos(0.01 * float(t) + j)).reshape(x.shape)
    return (0.3 * x.double() + torch.from_numpy(wave)).float()


def _trajectory(kind, config, steps, arguments):
    scheduler = getattr(diffusers, _CLASSES[kind])(**config)
    scheduler.set_timesteps(steps)
    draws = _Draws()
    for module in (scheduling_ddpm, scheduling_ddim, scheduling_dpmsolver_multistep):
        module.randn_tensor = draws
    x = torch.from_numpy(fill.data("xT", SHAPE)) * scheduler.init_noise_sigma
    trajectory = [x]
    for t in scheduler.timesteps:
        x = scheduler.step(_toy_model(x, t), t, x, **arguments).prev_sample
        trajectory.append(x)
    return torch.stack(trajectory).numpy().astype(np.float32), [int(t) for t in scheduler.timesteps], draws.count


def _check_against_known(name, x, known):
    if known is None:
        return
    flat = x.ravel().astype(np.float64)
    for got, want in zip((*flat[:4], flat[47], flat.sum()), known):
        assert math.isclose(got, want, rel_tol=1e-4, abs_tol=2e-5), (name, got, want)


def _schedules():
    tensors = {}
    for name in ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"):
        scheduler = diffusers.DDPMScheduler(beta_schedule=name)
        tensors["betas." + name] = scheduler.betas.numpy()
        tensors["alphas_cumprod." + name] = scheduler.alphas_cumprod.numpy()
    scheduler = diffusers.DDIMScheduler(beta_schedule="linear", rescale_betas_zero_snr=True)
    tensors["betas.linear_zero_snr"] = scheduler.betas.numpy()
    tensors["alphas_cumprod.linear_zero_snr"] = scheduler.alphas_cumprod.numpy()
    return tensors


def make(out, save_json):
    tensors, cases = _schedules(), []
    for name, kind, config, steps, arguments, known in CASES:
        x, timesteps, draws = _trajectory(kind, config, steps, arguments)
        _check_against_known(name, x[-1], known)
        tensors["trajectory." + name] = x
        cases.append({"name": name, "class": _CLASSES[kind], "config": config, "num_inference_steps": steps,
                      "eta": arguments.get("eta", 0.0), "timesteps": timesteps, "noise_draws": draws})
    print(f"  {len(cases)} trajectories, {sum(c[5] is not None for c in CASES)} agree with the earlier record")
    store.save_tensors(tensors, out / "schedulers.safetensors")
    save_json(out / "schedulers.json", {"cases": cases})
