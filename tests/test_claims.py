"""claims: what is checked, what is refused, what a notebook receives."""

import contextlib
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from diffbook import claims


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(claims, "_collected", {})


@contextlib.contextmanager
def kernel():
    """An IPython shell as a kernel has one; yields the list of what is displayed."""
    shell = InteractiveShell.instance()
    published = []
    shell.display_pub.publish = lambda data, **kwargs: published.append(data)
    try:
        yield published
    finally:
        InteractiveShell.clear_instance()


def test_line_as_printed(capsys):
    claims.check("msd-grows-linearly", 2.0031, 2, standard_error=0.003)
    claims.check("as-published", np.float32(0.5), 0.50001, rtol=1e-4, against="Ho et al. 2020")
    claims.check("counts", 1797, 1797, atol=0)
    claims.bound("stays-positive", 0.25, above=0)
    assert capsys.readouterr().out.splitlines() == [
        "✓ msd-grows-linearly   measured 2.0031   expected 2   within ± 0.012 (4 standard errors)",
        "✓ as-published   measured 0.5   expected 0.50001 (Ho et al. 2020)   within ± 0.0001 relative",
        "✓ counts   measured 1797   expected 1797   exactly",
        "✓ stays-positive   measured 0.25   at least 0",
    ]


@pytest.mark.parametrize(
    ("measured", "expected", "tolerance"),
    [
        (2.02, 2, {"atol": 0.01}),
        (2.02, 2, {"rtol": 0.005}),
        (2.02, 2, {"standard_error": 0.004}),
        (2.0000000001, 2, {"atol": 0}),
        (np.nan, 2, {"atol": 1e9}),
        (np.inf, 2, {"atol": 1e9}),
        ([1.0, np.nan], 1, {"atol": 1}),
        (jnp.array([1.0, 1.0, 1.3]), 1, {"atol": 0.2}),
        ([1.0, 2.0], [1.0, 2.1], {"atol": [1.0, 0.05]}),
    ],
)
def test_false_claims_raise_and_are_kept(measured, expected, tolerance, capsys):
    with pytest.raises(claims.ClaimError, match="✗ wrong   measured"):
        claims.check("wrong", measured, expected, **tolerance)
    assert [claim.passed for claim in claims.collected()] == [False]
    assert not capsys.readouterr().out


@pytest.mark.parametrize("limits", [{"below": 1}, {"above": 3}, {"above": 0, "below": 1}])
@pytest.mark.parametrize("measured", [2.0, np.nan, [0.5, 3.5, 2.0]])
def test_false_bounds_raise(measured, limits):
    with pytest.raises(claims.ClaimError):
        claims.bound("wrong", measured, **limits)


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_an_infinite_value_satisfies_no_bound(infinite):
    with pytest.raises(claims.ClaimError):
        claims.bound("wrong", infinite, above=0)
    with pytest.raises(claims.ClaimError):
        claims.bound("wrong", infinite, below=0)


def test_bounds_include_their_ends():
    claims.bound("ends", [0.0, 1.0], above=0, below=1)
    assert claims.collected()[0].deviation == 0


def test_an_array_reports_its_worst_element():
    claims.check("field", jnp.array([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [3.1, 4.05]], atol=[[1, 1], [1, 0.1]])
    (claim,) = claims.collected()
    assert (claim.measured, claim.expected, claim.tolerance, claim.size) == (4, 4.05, 0.1, 4)
    assert "measured 4, worst of 4" in str(claim)
    claims.bound("field-bound", [0.1, 0.9, 0.5], below=[1, 1, 0.55])
    assert claims.collected()[1].measured == 0.5


@pytest.mark.parametrize(
    ("arguments", "tolerance", "message"),
    [
        (("Not-Kebab", 1, 1), {"atol": 0}, "kebab-case"),
        (("two--hyphens", 1, 1), {"atol": 0}, "kebab-case"),
        (("x", 1, 1), {}, "takes one of atol"),
        (("x", 1, 1), {"atol": 1, "rtol": 1}, "takes one of atol"),
        (("x", 1, 1), {"rtol": 0}, "exact equality is atol=0"),
        (("x", 1, 1), {"standard_error": 0}, "exact equality is atol=0"),
        (("x", 1, 1), {"atol": -1}, "must be positive"),
        (("x", 1, 1), {"atol": np.nan}, "finite"),
        (("x", 1, np.nan), {"atol": 1}, "expected must be finite"),
        (("x", 1, 0), {"rtol": 1}, "relative to an expected 0"),
        (("x", [1, 2], [1, 2, 3]), {"atol": 1}, r"shape \(2,\)"),
        (("x", 1, [1, 2]), {"atol": 1}, r"shape \(\)"),
        (("x", [], 1), {"atol": 1}, "one or more real numbers"),
        (("x", 1j, 1), {"atol": 1}, "one or more real numbers"),
    ],
)
def test_ill_posed_claims_are_refused(arguments, tolerance, message):
    with pytest.raises(ValueError, match=message):
        claims.check(*arguments, **tolerance)
    assert not claims.collected()


def test_a_bound_needs_a_limit():
    with pytest.raises(ValueError, match="below, above or both"):
        claims.bound("x", 1)


def test_checking_again_replaces():
    claims.check("first", 1, 1, atol=0)
    claims.check("second", 2, 2, atol=0)
    claims.check("first", 3, 3, atol=0)
    assert [(claim.name, claim.measured) for claim in claims.collected()] == [("first", 3), ("second", 2)]


def test_a_notebook_receives_text_html_and_the_record(capsys):
    with kernel() as published:
        claims.check("kept", 1.5, 1.25, atol=0.25, against="<Fick & Fourier>")
        claims.bound("bounded", 1.5, below=2)
    assert not capsys.readouterr().out
    data, bounded = published
    assert json.loads(json.dumps(data[claims.MIME], allow_nan=False)) == {
        "name": "kept",
        "kind": "check",
        "measured": 1.5,
        "expected": 1.25,
        "tolerance": 0.25,
        "tolerance_kind": "atol",
        "deviation": 0.25,
        "against": "<Fick & Fourier>",
        "passed": True,
        "size": 1,
    }
    assert {"below": 2.0, "tolerance_kind": "bound", "deviation": -0.5}.items() <= bounded[claims.MIME].items()
    assert "expected" not in bounded[claims.MIME]
    assert data["text/plain"] == str(claims.collected()[0])
    assert 'id="claim-kept"' in data["text/html"]
    assert "&lt;Fick &amp; Fourier&gt;" in data["text/html"]
    seen = re.sub(r"<[^>]+>", "", data["text/html"])
    assert "✓ kept measured 1.5 expected 1.25" in seen
