"""Learning to reverse: schedules, losses, samplers, networks and training."""

from diffbook.generative.annealed import annealed_langevin
from diffbook.generative.flow_samplers import (
    ddim,
    ddpm,
    dpm_solver_pp_2m,
    heun,
    sample_flow,
    sde_dpm_solver_pp_2m,
)
from diffbook.generative.generate import generate
from diffbook.generative.grids import edm_sigmas, times_of_noise
from diffbook.generative.guidance import classifier_free, observed
from diffbook.generative.likelihood import log_likelihood
from diffbook.generative.losses import denoising_loss, hyvarinen_loss, sliced_loss
from diffbook.generative.mixtures import GaussianMixture, empirical_denoiser
from diffbook.generative.networks import MLP
from diffbook.generative.preconditioning import edm_coefficients
from diffbook.generative.pretrained import pretrained
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
from diffbook.generative.training import fit
from diffbook.generative.unet import UNet

__all__ = [
    "MLP",
    "TARGETS",
    "GaussianMixture",
    "Schedule",
    "UNet",
    "alpha_bars",
    "annealed_langevin",
    "classifier_free",
    "clip_eps",
    "convert",
    "ddim",
    "ddim_step",
    "ddpm",
    "ddpm_betas",
    "ddpm_step",
    "denoised",
    "denoising_loss",
    "dpm_solver_pp_2m",
    "edm_coefficients",
    "edm_sigmas",
    "empirical_denoiser",
    "fit",
    "forward_sde",
    "from_betas",
    "generate",
    "heun",
    "hyvarinen_loss",
    "log_likelihood",
    "observed",
    "perturb",
    "pretrained",
    "respace",
    "sample",
    "sample_flow",
    "sde_dpm_solver_pp_2m",
    "sliced_loss",
    "straight",
    "times_of_noise",
    "ve",
    "vp_cosine",
    "vp_linear",
]
