"""Learning to reverse: schedules, losses, samplers, networks and training."""

from diffbook.generative.losses import denoising_loss
from diffbook.generative.mixtures import GaussianMixture
from diffbook.generative.samplers import (
    alpha_bars,
    clip_eps,
    ddim_step,
    ddpm_betas,
    ddpm_step,
    denoised,
    respace,
    sample,
)
from diffbook.generative.schedules import (
    Schedule,
    forward_sde,
    from_betas,
    perturb,
    straight,
    ve,
    vp_cosine,
    vp_linear,
)
from diffbook.generative.targets import TARGETS, convert

__all__ = [
    "TARGETS",
    "GaussianMixture",
    "Schedule",
    "alpha_bars",
    "clip_eps",
    "convert",
    "ddim_step",
    "ddpm_betas",
    "ddpm_step",
    "denoised",
    "denoising_loss",
    "forward_sde",
    "from_betas",
    "perturb",
    "respace",
    "sample",
    "straight",
    "ve",
    "vp_cosine",
    "vp_linear",
]
