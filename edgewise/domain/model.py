"""A model of the catalogue: its task, what it needs, how long it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Task(StrEnum):
    """What goes in and what comes out. Values are the Hugging Face task names."""

    TEXT_GENERATION = "text-generation"
    IMAGE_TO_TEXT = "image-to-text"
    TEXT_TO_IMAGE = "text-to-image"


@dataclass(frozen=True, slots=True)
class PromptSize:
    """What is known of one prompt's size before it runs. `images` counts inputs for captions, outputs for
    generation; `steps` is the number of denoising steps of an image generation (0: not one)."""

    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """Seconds a prompt takes on a node of speed 1.0, alone: `base_s` plus the per-unit parts; `cv` is the
    coefficient of variation of what the size does not explain. A size-blind model has only `base_s`."""

    base_s: float
    per_input_token_s: float = 0.0
    per_output_token_s: float = 0.0
    per_image_s: float = 0.0  # one image; for generation per image at its usual number of steps
    per_step_s: float = 0.0  # one denoising step of one image
    cv: float = 0.0

    def expected_s(self, size: PromptSize) -> float:
        """Expected service seconds of one prompt of this size at speed 1.0."""
        return (
            self.base_s
            + self.per_input_token_s * size.input_tokens
            + self.per_output_token_s * size.output_tokens
            + self.per_image_s * size.images
            + self.per_step_s * size.steps * max(1, size.images)
        )


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An entry of the catalogue.

    checkpoint: hub id or folder that serving loads; empty when nothing real is behind the entry (twin).
    memory_gib: what admission counts for one replica, GiB.
    load_s, load_cv: mean seconds from `load` to ready (warm-up included), and its coefficient of variation.
    mean_service_s: mean over the expected workload at speed 1.0, alone; `service` explains it by size.
    """

    id: str
    task: Task
    memory_gib: float
    mean_service_s: float
    checkpoint: str = ""
    load_s: float = 10.0
    load_cv: float = 0.2
    service: ServiceProfile | None = None
    service_cv: float = 0.5
    max_concurrency: int = 1
    request_kib: float = 2.0
    response_kib: float = 2.0
    deadline_s: float = 60.0

    def expected_service_s(self, size: PromptSize | None) -> float:
        """Expected service seconds at speed 1.0; the mean when the size, or what it costs, is unknown."""
        if self.service is None or size is None:
            return self.mean_service_s
        return self.service.expected_s(size)

    def taking(self, times: float) -> ModelSpec:
        """The model with every prompt taking `times` as long."""
        p = self.service
        if p is not None:
            p = ServiceProfile(
                p.base_s * times,
                p.per_input_token_s * times,
                p.per_output_token_s * times,
                p.per_image_s * times,
                p.per_step_s * times,
                p.cv,
            )
        return replace(self, mean_service_s=self.mean_service_s * times, service=p)
