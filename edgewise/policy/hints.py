"""What a prompt is expected to take, from its size, learned model by model as prompts are served.

Service is taken to be linear in what is known beforehand: a constant, tokens in, tokens asked for, images, steps
times images (domain.model.ServiceProfile). The catalogue's profile is the prior; recursive least squares with
forgetting (Haykin, Adaptive Filter Theory, ch. 10) follows what prompts of given sizes really take. Errors count in
relation to what the catalogue expects, so that long prompts do not drown short ones; an odd one is clipped.

An estimate that is itself uncertain is shrunk towards the model's mean,
    hint = mean + (estimate − mean)·V/(V + e²),
V: relative variance of estimates from prompt to prompt, e: relative error of this one. So a guess does not put
prompts into an order that is only noise. A prompt of unknown size has the mean, with all the spread that sizes give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from edgewise.domain.model import ModelSpec, PromptSize
from edgewise.policy.dispatch import Floats

FORGET: Final = 0.995  # per prompt: about the last 200 count
PRIOR_ERROR: Final = 0.25  # of a coefficient the catalogue names, relative
BLIND_ERROR: Final = 1.0  # of one that it does not, of a model without a profile, in TYPICAL parts of the mean
SILENT_ERROR: Final = 0.1  # the same where there is a profile, which says that it does not matter
TYPICAL: Final = (1.0, 1000.0, 100.0, 1.0, 20.0)  # sizes at which each feature may account for the mean
CLIP: Final = 3.0  # standard deviations
TURNED: Final = 5  # prompts in a row that far off: what was learned is over
SPREAD: Final = 0.5  # of estimates from prompt to prompt before any came
LEARN: Final = 0.02  # of mean and variances per prompt
LEAST: Final = 0.05  # a prompt takes at least this part of what the catalogue expects


class Hint(NamedTuple):
    """service_s: expected at speed 1; error: one standard deviation of what it will really take, relative."""

    service_s: float
    error: float


class SizeHints:
    """The hints of one model. Changed by `learn` alone."""

    def __init__(self, spec: ModelSpec) -> None:
        self._mean = spec.mean_service_s
        p = spec.service
        known = (
            [p.base_s, p.per_input_token_s, p.per_output_token_s, p.per_image_s, p.per_step_s]
            if p is not None
            else [spec.mean_service_s, 0.0, 0.0, 0.0, 0.0]
        )
        self._prior = np.array(known)
        self._least = 0.1 * spec.mean_service_s
        unnamed = spec.mean_service_s / np.array(TYPICAL)
        self._unit = np.where(self._prior > 0, self._prior, unnamed)
        self._beta = np.where(self._prior > 0, 1.0, 0.0)
        other = SILENT_ERROR if p is not None else BLIND_ERROR
        self._most = np.where(self._prior > 0, PRIOR_ERROR, other) ** 2
        self._cov = np.diag(self._most)
        self._noise = max(0.05, p.cv if p is not None else spec.service_cv) ** 2
        self._spread = SPREAD**2
        self._odd = 0  # prompts in a row that were off the same way, beyond CLIP

    def hint(self, size: PromptSize | None) -> Hint:
        """What a prompt of this size takes; None or nothing known: any prompt."""
        if size is None or size == PromptSize():
            return Hint(self._mean, math.sqrt(self._noise + self._spread))
        scale, x = self._regressor(size)
        estimate = max(float(x @ self._beta), LEAST) * scale
        error = float(x @ self._cov @ x)
        believed = self._spread / (self._spread + error)
        service_s = self._mean + (estimate - self._mean) * believed
        return Hint(max(service_s, LEAST * scale), math.sqrt(self._noise + error * believed))

    def learn(self, size: PromptSize, service_s: float) -> None:
        """A prompt of this size took so long, s at speed 1. What is no time > 0 is passed over."""
        if not 0.0 < service_s < math.inf:
            return
        scale, x = self._regressor(size)
        estimate = max(float(x @ self._beta), LEAST)
        px = self._cov @ x
        total = self._noise + float(x @ px)
        limit = CLIP * math.sqrt(total)
        whole = service_s / scale - float(x @ self._beta)
        miss = min(max(whole, -limit), limit)
        self._odd = (self._odd + (1 if whole > 0 else -1)) if miss != whole and self._odd * whole >= 0 else 0
        if abs(self._odd) >= TURNED:  # not odd prompts, but another world
            self._cov, self._odd = np.diag(self._most), 0
            return
        self._beta = self._beta + px / (FORGET * self._noise + float(x @ px)) * miss
        self._cov = (self._cov - np.outer(px, px) / (FORGET * self._noise + float(x @ px))) / FORGET
        self._hold_cov()
        self._noise += LEARN * (min(miss**2 * self._noise / total, (CLIP**2) * self._noise) - self._noise)
        self._noise = max(self._noise, 1e-4)
        self._mean += LEARN * (min(service_s, 10 * self._mean) - self._mean)
        apart = min(max(estimate * scale / self._mean - 1.0, -1.0), 2.0)
        self._spread += LEARN * (apart**2 - self._spread)

    @property
    def mean_s(self) -> float:
        """Expected service of any prompt, s at speed 1."""
        return self._mean

    def _regressor(self, size: PromptSize) -> tuple[float, Floats]:
        """(what the catalogue expects, s; the features in parts of it)."""
        features = _features(size)
        scale = max(float(features @ self._prior), self._least)
        return scale, features * self._unit / scale

    def _hold_cov(self) -> None:
        """Forgetting must not make what is never seen more uncertain than it was at first."""
        over = np.sqrt(np.maximum(np.diag(self._cov) / self._most, 1.0))
        self._cov = self._cov / np.outer(over, over)


def _features(size: PromptSize) -> Floats:
    images = max(1, size.images)
    counted: Sequence[float] = (1.0, size.input_tokens, size.output_tokens, size.images, size.steps * images)
    return np.array(counted, np.float64)
