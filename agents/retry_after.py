"""The Retry-After header in seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST_S = 3600.0


def retry_after_s(headers: Mapping[str, str], wall_s: float | None = None) -> float | None:
    """Seconds to wait, from a number or an HTTP date, within [0, LONGEST_S]; None when absent or unreadable.
    `wall_s` is the wall clock's Unix time (None: now)."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - (time.time() if wall_s is None else wall_s)
        except (ValueError, TypeError):
            return None
    return min(LONGEST_S, max(0.0, seconds)) if math.isfinite(seconds) else None
