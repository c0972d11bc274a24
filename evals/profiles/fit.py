"""Service by size, fitted so that what it says of the measured prompts together is what they took together.

`evals.calibrate.fit` keeps relative errors small and takes medians, which suits a demo on a busy machine. A mean
latency needs the mean: here errors weigh in seconds, between absolute and relative, and the sum is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from edgewise.domain.errors import BadInput
from edgewise.domain.model import PromptSize, ServiceProfile
from evals.calibrate import UNITS, Point


def fit_mean(points: Sequence[Point]) -> ServiceProfile:
    """The non-negative profile nearest to the points, errors weighted by 1/√service (variance grows with the mean),
    scaled so that Σ expected = Σ measured. cv: √(Σ error² / Σ expected²), which keeps the variance of the work.
    A unit that was not varied is left to `base_s`. Raises BadInput for no points."""
    if not points:
        raise BadInput("a service profile needs at least one measured prompt")
    took = np.array([max(p.service_s, 1e-6) for p in points])
    sizes = np.array([[1.0, *_units(p.size)] for p in points])
    varied = np.ptp(sizes, axis=0) > 0
    varied[0] = True
    weight = 1.0 / np.sqrt(took)
    found, _ = nnls(sizes[:, varied] * weight[:, None], took * weight)
    parts = np.zeros(sizes.shape[1])
    parts[varied] = found
    parts *= took.sum() / max(float((sizes @ parts).sum()), 1e-12)
    expected = sizes @ parts
    spare = max(1, len(points) - int(varied.sum())) / len(points)
    cv = float(np.sqrt(np.square(took - expected).sum() / spare / np.square(expected).sum()))
    base_s, *rest = (float(p) for p in parts)
    return ServiceProfile(base_s, **dict(zip(UNITS, rest, strict=True)), cv=cv)


def lack_of_fit(points: Sequence[Point], profile: ServiceProfile) -> float:
    """Largest relative error of the profile for the mean of a size measured more than once; 0 when none was. What a
    profile that is linear in the size cannot say shows here."""
    by_size: dict[PromptSize, list[float]] = {}
    for point in points:
        by_size.setdefault(point.size, []).append(point.service_s)
    errors = [
        abs(profile.expected_s(size) * len(took) / sum(took) - 1.0) for size, took in by_size.items() if len(took) > 1
    ]
    return max(errors, default=0.0)


def scaled(profile: ServiceProfile, factor: float, extra_s: float = 0.0) -> ServiceProfile:
    """The profile on a node 1/factor as fast; extra_s: seconds that every prompt takes besides, after scaling."""
    return ServiceProfile(
        profile.base_s * factor + extra_s,
        profile.per_input_token_s * factor,
        profile.per_output_token_s * factor,
        profile.per_image_s * factor,
        profile.per_step_s * factor,
        profile.cv,
    )


def _units(size: PromptSize) -> tuple[float, ...]:
    """The factors of ServiceProfile.expected_s, in the order of UNITS."""
    return (size.input_tokens, size.output_tokens, size.images, size.steps * max(1, size.images))
