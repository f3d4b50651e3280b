"""Claims: every quantitative statement of the book, checked where it is made and listed on one page.

A check prints one quiet line, raises `ClaimError` if it fails, and leaves a record. In a notebook the line also carries
the record as `application/vnd.diffbook.claim+json`, from which the book's page of claims is made.
"""

import dataclasses
import html
import math
import re
import sys
from typing import Any

import numpy as np

MIME = "application/vnd.diffbook.claim+json"
_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_STANDARD_ERRORS = 4  # a true statement fails this once in 16,000 times; with fixed keys it never does
_KINDS = {"atol": "", "rtol": " relative", "standard_error": f" ({_STANDARD_ERRORS} standard errors)"}
_collected: dict[str, "Claim"] = {}


class ClaimError(AssertionError):
    """A measured value is not what was claimed."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """One checked statement. It holds exactly when `deviation <= tolerance`, both absolute or both relative.

    For arrays, `measured`, `expected`, `tolerance` and `deviation` are those of the worst of the `size` elements.
    """

    name: str
    kind: str  # "check" | "bound"
    measured: float
    expected: float | None
    below: float | None
    above: float | None
    tolerance: float
    tolerance_kind: str  # "atol" | "rtol" | "standard_error" | "bound"
    deviation: float
    against: str
    passed: bool
    size: int

    def record(self) -> dict[str, Any]:
        """The claim as JSON holds it; what does not apply is left out."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}

    def parts(self) -> tuple[str, str, str]:
        """Measured value, what it was held against, and how closely, as printed."""
        if self.kind == "check":
            scale = abs(self.expected) if self.tolerance_kind == "rtol" else 1.0
            resolution = self.tolerance * scale
            measured, expected = (_number(x, resolution) for x in (self.measured, self.expected))
            within = f"within ± {self.tolerance:.2g}{_KINDS[self.tolerance_kind]}" if resolution else "exactly"
            target = f"expected {expected}"
        else:
            measured, within = _number(self.measured), ""
            limits = (("at least", self.above), ("at most", self.below))
            target = " and ".join(f"{word} {_number(limit)}" for word, limit in limits if limit is not None)
        target += f" ({self.against})" if self.against else ""
        return f"measured {measured}" + (f", worst of {self.size}" if self.size > 1 else ""), target, within

    def __str__(self) -> str:
        return "   ".join(filter(None, [f"{'✓' if self.passed else '✗'} {self.name}", *self.parts()]))

    def _repr_html_(self) -> str:
        word, mark, colour = ("holds", "✓", "#009E73") if self.passed else ("fails", "✗", "#D55E00")
        parts = " ".join(f"<span>{html.escape(part)}</span>" for part in self.parts() if part)
        return (
            f'<div class="diffbook-claim" id="claim-{self.name}" style="display:flex;flex-wrap:wrap;gap:0 1.2em;'
            f"border-left:3px solid {colour};padding:.1em 0 .1em .7em;margin:.3em 0;font-size:.9em;"
            f'overflow-wrap:anywhere">'
            f'<span><span role="img" aria-label="{word}">{mark}</span> {self.name}</span> {parts}</div>'
        )


def check(name, measured, expected, *, atol=None, rtol=None, standard_error=None, against=""):
    r"""Claim that `measured` equals `expected` within one stated tolerance.

    Args:
      name: kebab-case, unique in the book.
      measured: a number or an array; of an array the worst element counts.
      expected: a number, or an array of the same shape; the exact or published value.
      atol: absolute tolerance; 0 asks for exact equality.  rtol: tolerance relative to `|expected|`.
      standard_error: of `measured`; the tolerance is four of them. Exactly one of the three is given,
        as a number or, elementwise, in the shape of `measured`.
      against: a few words on where the expected value comes from ("binomial law").
    Raises: ClaimError: if the claim fails, which NaN always does.  ValueError: if it is not well posed.

    >>> check("squares-sum-to-one", 0.36 + 0.64, 1.0, atol=1e-12, against="Pythagoras")
    ✓ squares-sum-to-one   measured 1   expected 1 (Pythagoras)   within ± 1e-12
    """
    given = {"atol": atol, "rtol": rtol, "standard_error": standard_error}
    given = {kind: value for kind, value in given.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"claim {name!r} takes one of atol, rtol, standard_error, got {sorted(given) or 'none'}")
    ((kind, tolerance),) = given.items()
    measured = _numbers("measured", measured)
    expected = _like("expected", expected, measured)
    tolerance = _like(kind, tolerance, measured)
    if np.any(tolerance < 0) or (kind != "atol" and np.any(tolerance == 0)):
        raise ValueError(f"claim {name!r}: {kind} must be positive, got {tolerance.min():g}; exact equality is atol=0")
    deviation = np.abs(measured - expected)
    if kind == "rtol":
        if np.any(expected == 0):
            raise ValueError(f"claim {name!r}: nothing is relative to an expected 0; give atol in place of rtol")
        deviation = deviation / np.abs(expected)
    if kind == "standard_error":
        tolerance = _STANDARD_ERRORS * tolerance
    worst = _worst(np.where(tolerance > 0, deviation / np.where(tolerance > 0, tolerance, 1), deviation))
    _settle(
        Claim(
            name=_name(name),
            kind="check",
            measured=float(measured[worst]),
            expected=float(expected[worst]),
            below=None,
            above=None,
            tolerance=float(tolerance[worst]),
            tolerance_kind=kind,
            deviation=float(deviation[worst]),
            against=against,
            passed=bool(np.all(deviation <= tolerance)),
            size=measured.size,
        )
    )


def bound(name, measured, *, below=None, above=None, against=""):
    """Claim that `measured` is at most `below`, at least `above`, or between the two (the ends included).

    Args:
      name: kebab-case, unique in the book.
      measured: a number or an array; of an array the worst element counts.
      below, above: a number, or an array of the same shape; at least one of them.
      against: a few words on where the limit comes from.
    Raises: ClaimError: if the claim fails, which NaN always does.  ValueError: if it is not well posed.

    >>> bound("a-probability", 0.25, above=0, below=1)
    ✓ a-probability   measured 0.25   at least 0 and at most 1
    """
    if below is None and above is None:
        raise ValueError(f"claim {name!r} takes below, above or both, got neither")
    measured = _numbers("measured", measured)
    limits = {"below": below, "above": above}
    limits = {side: _like(side, limit, measured) for side, limit in limits.items() if limit is not None}
    beyond = [measured - limits["below"]] if "below" in limits else []
    beyond += [limits["above"] - measured] if "above" in limits else []
    deviation = np.max(beyond, axis=0)  # positive outside; NaN stays NaN
    worst = _worst(deviation)
    _settle(
        Claim(
            name=_name(name),
            kind="bound",
            measured=float(measured[worst]),
            expected=None,
            below=float(limits["below"][worst]) if "below" in limits else None,
            above=float(limits["above"][worst]) if "above" in limits else None,
            tolerance=0.0,
            tolerance_kind="bound",
            deviation=float(deviation[worst]),
            against=against,
            passed=bool(np.all(deviation <= 0) and np.all(np.isfinite(measured))),
            size=measured.size,
        )
    )


def collected() -> list[Claim]:
    """The claims checked in this process, in order; a name checked again stands once, with its last value."""
    return list(_collected.values())


def _settle(claim):
    _collected[claim.name] = claim
    if not claim.passed:
        raise ClaimError(str(claim))
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        bundle = {MIME: claim.record(), "text/html": claim._repr_html_(), "text/plain": str(claim)}
        from IPython.display import display

        display(bundle, raw=True)
    else:
        print(claim)


def _name(name):
    if not isinstance(name, str) or not _KEBAB.fullmatch(name):
        raise ValueError(f"a claim's name is kebab-case (a-z, 0-9, single hyphens), got {name!r}")
    return name


def _numbers(what, value):
    array = np.asarray(value)
    if array.size == 0 or array.dtype.kind in "cOSUMm":
        raise ValueError(f"{what} must be one or more real numbers, got {value!r}")
    return array.astype(np.float64)


def _like(what, value, measured):
    array = _numbers(what, value)
    if array.shape not in ((), measured.shape):
        raise ValueError(f"{what} must be a number or have the shape {measured.shape} of measured, got {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{what} must be finite, got {array}")
    return np.broadcast_to(array, measured.shape)


def _worst(badness):
    """Index of the largest element; NaN counts as infinite."""
    return np.unravel_index(np.argmax(np.where(np.isnan(badness), np.inf, badness)), badness.shape)


def _number(x, resolution=0.0):
    """Decimal text of x: four digits, or as many as show three digits of the resolution."""
    if not math.isfinite(x) or x == 0:
        return "0" if x == 0 else str(x)
    if x == int(x) and abs(x) < 1e9:
        return str(int(x))
    digits = math.floor(math.log10(abs(x))) - math.floor(math.log10(resolution)) + 3 if resolution else 4
    return f"{x:.{min(max(digits, 4), 17)}g}"
