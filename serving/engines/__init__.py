"""Engines: a model's weights in memory, and one prompt's way through them. torch is imported when one loads."""

from __future__ import annotations

from edgewise.domain.model import ModelSpec, Task
from serving.engines.base import Engine


def engine_for(spec: ModelSpec) -> Engine:
    """A fresh, unloaded engine for the model's task."""
    match spec.task:
        case Task.TEXT_GENERATION:
            from serving.engines.text import TextEngine

            return TextEngine()
        case Task.IMAGE_TO_TEXT:
            from serving.engines.caption import CaptionEngine

            return CaptionEngine()
        case Task.TEXT_TO_IMAGE:
            from serving.engines.image import ImageEngine

            return ImageEngine()
