r"""What to feed a network, and what to make of its answer, so that both are of size one at every noise level."""

import jax.numpy as jnp

from diffbook._checks import require_positive


def edm_coefficients(sigma, sigma_data=0.5):
    r"""$(c_{\rm skip}, c_{\rm out}, c_{\rm in}, c_{\rm noise})$ of the denoiser
    $D(x, \sigma) = c_{\rm skip}\,x + c_{\rm out}\,F(c_{\rm in}\,x,\, c_{\rm noise})$ for $x = x_0 + \sigma\varepsilon$.

    They follow from three wishes: input of variance 1, target $(x_0 - c_{\rm skip}\,x)/c_{\rm out}$ of variance 1, and
    $c_{\rm out}$ as small as possible, so that errors of the network are magnified least.

    Args:
      sigma: noise amplitude, > 0, any shape, in units of the data.  sigma_data: standard deviation of the data.
    Returns: four arrays like sigma; the last, log(sigma)/4, only keeps the network's input moderate.
    Raises: ValueError: for a sigma or sigma_data that is not above zero.
    References: Karras et al. 2022, table 1 and appendix B.6.

    >>> [f"{c:.3f}" for c in edm_coefficients(jnp.asarray(0.5))]
    ['0.500', '0.354', '1.414', '-0.173']
    """
    require_positive(sigma, "sigma", "edm_coefficients")
    require_positive(sigma_data, "sigma_data", "edm_coefficients")
    sigma = jnp.asarray(sigma, jnp.result_type(float, sigma))
    total = jnp.sqrt(sigma**2 + sigma_data**2)
    return (sigma_data / total) ** 2, sigma * sigma_data / total, 1 / total, jnp.log(sigma) / 4
