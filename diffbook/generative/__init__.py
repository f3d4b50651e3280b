"""Learning to reverse: schedules, losses, samplers, networks and training."""

from diffbook.generative.annealed import annealed_langevin
from diffbook.generative.losses import denoising_loss, hyvarinen_loss, sliced_loss
from diffbook.generative.mixtures import GaussianMixture, empirical_denoiser
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
    "annealed_langevin",
    "clip_eps",
    "convert",
    "ddim_step",
    "ddpm_betas",
    "ddpm_step",
    "denoised",
    "denoising_loss",
    "empirical_denoiser",
    "forward_sde",
    "from_betas",
    "hyvarinen_loss",
    "perturb",
    "respace",
    "sample",
    "sliced_loss",
    "straight",
    "ve",
    "vp_cosine",
    "vp_linear",
]
