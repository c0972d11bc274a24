"""Whose prompt it is, as its request says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgewise.policy.fair import COMMON

# Ours, and what Kubernetes' gateways for inference call it.
HEADERS: Final = ("x-edgewise-tenant", "x-gateway-inference-fairness-id")
_LENGTH: Final = 128


def tenant_of(headers: Mapping[str, str]) -> str:
    """The tenant the first of HEADERS names; the common one where none does."""
    named = (headers.get(name, "").strip() for name in HEADERS)
    return next((tenant[:_LENGTH] for tenant in named if tenant), COMMON)
