"""What a field meets at the edge of its grid, in the two forms the solvers need.

Cells sit at x_0 ... x_{n-1}. A wall is stated by what stands outside, and each of the three is a symmetry that the
stencil u_{j-1} - 2 u_j + u_{j+1} respects:

- "periodic": u_{j+n} = u_j;
- "neumann": an even mirror on the cell's face, u_{-1} = u_0 -- no flux, a walker that would leave stays;
- "dirichlet": an odd mirror on the first site outside, u_{-1} = 0 -- a walker that leaves is gone.

So a field can be continued outwards as far as one likes (`extend`), and its own waves diagonalise the stencil
(`transform`, `eigenvalues`): complex exponentials, cosines (DCT-II), sines (DST-I).
"""

import jax.numpy as jnp
import numpy as np

BOUNDARIES = ("periodic", "neumann", "dirichlet")


def extend(u, width, boundary):
    """Continue `u` by `width` cells on every side, as its walls say."""
    if boundary == "periodic":
        return jnp.pad(u, width, mode="wrap")
    if boundary == "neumann":
        return jnp.pad(u, width, mode="symmetric")
    return jnp.pad(jnp.pad(u, 1), width - 1, mode="reflect", reflect_type="odd")


def eigenvalues(shape, boundary):
    """Eigenvalues of minus the stencil, 4 sin^2(k_j dx / 2), in the order of `transform`: one array per axis."""
    # In NumPy and float64 on purpose: constants of the program, exact to rounding in any dtype. As JAX expressions the
    # sines would be fused into the loop over the whole grid and cost as much as the two transforms together.
    values = []
    for axis, n in enumerate(shape):
        if boundary == "periodic":
            half_kdx = np.pi * np.arange(n // 2 + 1 if axis == len(shape) - 1 else n) / n
        elif boundary == "neumann":
            half_kdx = np.pi * np.arange(n) / (2 * n)
        else:
            half_kdx = np.pi * np.arange(1, n + 1) / (2 * (n + 1))
        values.append(4 * np.sin(half_kdx) ** 2)
    return values


def transform(u, boundary):
    """Coefficients of `u` in the waves that fit between its walls."""
    if boundary == "periodic":
        return jnp.fft.rfftn(u)
    return _each_axis(_dct if boundary == "neumann" else _dst, u)


def inverse_transform(coefficients, shape, boundary):
    """The field of the given shape whose `transform` is `coefficients`."""
    if boundary == "periodic":
        return jnp.fft.irfftn(coefficients, s=shape)
    return _each_axis(_inverse_dct if boundary == "neumann" else _inverse_dst, coefficients)


def _each_axis(transform_last, x):
    for _ in range(x.ndim):  # each turn brings the next axis to the end; after ndim turns the order is as before
        x = jnp.moveaxis(transform_last(x), -1, 0)
    return x


# jax.scipy.fft has the DCT only through complex transforms, eight times slower, and no DST.


def _twiddle(n, dtype):
    return np.exp(-0.5j * np.pi * np.arange(n // 2 + 1) / n).astype(jnp.result_type(dtype, jnp.complex64))


def _dct(x):
    """X_k = sum_j x_j cos(pi k (2j+1) / 2n), by one real FFT of the same length (Makhoul 1980)."""
    n = x.shape[-1]
    v = jnp.concatenate([x[..., ::2], x[..., 1::2][..., ::-1]], axis=-1)
    p = jnp.fft.rfft(v) * jnp.broadcast_to(_twiddle(n, x.dtype), (*x.shape[:-1], n // 2 + 1))
    return jnp.concatenate([p.real, -p.imag[..., 1 : (n + 1) // 2][..., ::-1]], axis=-1)


def _inverse_dct(x):
    n = x.shape[-1]
    half = n // 2 + 1
    mirrored = jnp.concatenate([jnp.zeros_like(x[..., :1]), x[..., 1:][..., ::-1]], axis=-1)[..., :half]
    p = (x[..., :half] - 1j * mirrored) * jnp.broadcast_to(_twiddle(n, x.dtype).conj(), (*x.shape[:-1], half))
    v = jnp.fft.irfft(p, n=n)
    even, odd = v[..., : (n + 1) // 2], v[..., (n + 1) // 2 :][..., ::-1]
    pairs = jnp.stack([even[..., : n // 2], odd], axis=-1).reshape(*x.shape[:-1], n // 2 * 2)
    return jnp.concatenate([pairs, even[..., n // 2 :]], axis=-1)


def _dst(x):
    """X_k = 2 sum_j x_j sin(pi (j+1) (k+1) / (n+1)), by a real FFT of the odd continuation.

    Twice the length, as in FFTW: the method without the doubling loses accuracy as n grows.
    """
    zero = jnp.zeros_like(x[..., :1])
    odd = jnp.concatenate([zero, x, zero, -x[..., ::-1]], axis=-1)
    return -jnp.fft.rfft(odd).imag[..., 1:-1]


def _inverse_dst(x):
    return _dst(x) / (2 * (x.shape[-1] + 1))
