"""The networks whose numbers are kept. `known`: output recorded with torch 1.13 and diffusers 0.40.0.dev0
(first six values, last three, mean, root mean square) and the number of parameters and tensors."""

_D, _AD, _RD = "DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"
_U, _AU, _RU = "UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"


def _config(channels, down, up, layers=1, groups=4, **more):
    return {"block_out_channels": list(channels), "down_block_types": list(down), "up_block_types": list(up),
            "layers_per_block": layers, "norm_num_groups": groups, **more}


def _case(name, config, t, gradients="checks", batch=2, height=8, width=8, **more):
    return {"id": name, "config": config, "batch": batch, "height": height, "width": width, "t": t,
            "gradients": gradients, **more}


_CLASS_TABLE = _config((8, 16), (_D, _AD), (_AU, _U), num_class_embeds=5)

UNET_CASES = [
    # The three whose every gradient is kept in full.
    _case("class_table", _CLASS_TABLE, [7, 500], "full", labels=[4, 0]),
    _case("asymmetric_pad",
          _config((8, 16, 16), (_D, _AD, _D), (_U, _AU, _U), layers=2, downsample_padding=0, flip_sin_to_cos=False,
                  freq_shift=1, norm_eps=1e-6, attention_head_dim=None), [0, 999], "full",
          known={"counts": [103875, 268],
                 "values": [-0.161453, -0.530207, 0.426994, 0.459936, -0.121853, -0.215116, 0.172917, 0.154878,
                            -0.319707, -0.047399, 0.586886]}),
    _case("scale_shift",
          _config((8, 16), (_RD, _AD), (_AU, _RU), layers=2, downsample_type="resnet", upsample_type="resnet",
                  resnet_time_scale_shift="scale_shift", num_class_embeds=5, mid_block_scale_factor=1.4142135),
          [3, 250], "full", labels=[4, 1],
          known={"counts": [74211, 223],
                 "values": [0.004449, 0.036152, 0.086226, 0.371527, 0.153124, -0.416095, -0.140634, 0.246311,
                            -0.141053, -0.012180, 0.553593]}),
    # Output in full, of the gradients three sums each.
    _case("plain", _config((8, 16), (_D, _AD), (_AU, _U)), [7, 500],
          known={"counts": [45259, 144],
                 "values": [-0.282693, -0.399532, -0.429811, -0.077112, -0.232883, -0.244035, 0.742993, -0.034614,
                            -0.942952, -0.057303, 0.775375]}),
    _case("class_timestep",
          _config((8, 16), (_D, _D), (_U, _U), in_channels=1, out_channels=2, class_embed_type="timestep",
                  time_embedding_dim=24, center_input_sample=True, add_attention=False, act_fn="gelu"),
          [10, 20], labels=[2, 0],
          known={"counts": [40018, 108],
                 "values": [-0.505803, -0.437526, -0.204361, -0.085936, -0.379769, 0.108982, 0.258805, -0.661476,
                            -0.016921, -0.023840, 0.616287]}),
    _case("class_identity",
          _config((8, 16), (_D, _AD), (_AU, _U), class_embed_type="identity", mid_block_type=None), [10, 20],
          labels="data",
          known={"counts": [33675, 114],
                 "values": [-0.462901, -0.423369, -0.092343, -0.140320, -0.153482, -0.145182, 0.003028, -0.148060,
                            -0.714833, -0.075838, 0.720954]}),
    _case("attention_groups",
          _config((8, 8, 16), (_AD, _RD, _AD), (_RU, _AU, _U), downsample_type="resnet", upsample_type="resnet",
                  attn_norm_num_groups=2, attention_head_dim=4), [3, 250],
          known={"counts": [56499, 224],
                 "values": [-0.138649, -0.290222, -0.300517, -0.067253, -0.245646, 0.164366, 0.759160, 0.945666,
                            -0.977400, 0.051211, 0.701509]}),
    # Odd channel counts, heads narrower than the channels, a fractional frequency shift, higher than wide.
    _case("odd_sizes",
          _config((9, 12), (_AD, _AD), (_AU, _AU), groups=3, in_channels=2, out_channels=2, attention_head_dim=5,
                  freq_shift=0.5, act_fn="mish"), [1, 640, 998], batch=3, height=12, width=8),
]

TRAIN_CASE = {
    "config": _CLASS_TABLE, "batch": 4, "height": 8, "width": 8, "steps": 10,
    "scheduler": {"num_train_timesteps": 1000, "beta_schedule": "linear", "prediction_type": "epsilon"},
    "optimizer": {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 1e-2, "eps": 1e-8, "max_grad_norm": 1.0,
                  "lr_schedule": "cosine", "warmup_steps": 3},
    "ema": {"max_decay": 0.9999, "inv_gamma": 1.0, "power": 0.75},
}
