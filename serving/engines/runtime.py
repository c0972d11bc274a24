"""What all torch engines share: quiet threads, dtypes, giving memory back, translating load errors."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.domain.errors import BadInput, EdgewiseError, LoadFailed
from serving.checkpoints import Source

if TYPE_CHECKING:
    import torch

# Before torch is imported: spinning OpenMP threads make small machines several times slower, and weights come
# from folders only (`edgewise models pull` is the one place that fetches).
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
}


# `from_pretrained` builds models under process-wide patches (meta device, default dtype); two at once end up with
# each other's. What is long in a load, reading the weights, is bound by the disk anyway.
_one_load = threading.Lock()


def set_environment(threads: int = 1) -> None:
    """To be called before anything imports torch."""
    os.environ.update(ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)})


def torch_dtype(name: str) -> torch.dtype:
    import torch

    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name not in known:
        raise BadInput(f"unknown dtype {name!r}", hint=f"known: {', '.join(known)}")
    return known[name]


def from_pretrained_options(source: Source, device: str, dtype: str) -> dict[str, Any]:
    """The keyword arguments of every `from_pretrained` that brings weights."""
    import torch

    # Said again here for a process in which torch was imported before the environment was set.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return {
        "low_cpu_mem_usage": True,
        "device_map": device,
        "dtype": torch_dtype(dtype),
        "cache_dir": source.cache_dir,
        "local_files_only": True,
    }


@contextmanager
def loading(source: Source) -> Iterator[None]:
    """One load at a time; whatever a library raises becomes LoadFailed."""
    if Path(source.location).is_absolute() and not Path(source.location).is_dir():
        # Libraries take a missing folder for a hub id, and say something about that instead.
        raise LoadFailed("the checkpoint folder does not exist", where=source.location)
    with _one_load, load_errors(source.location):
        yield


@contextmanager
def load_errors(where: str) -> Iterator[None]:
    """Turns whatever a library raises into LoadFailed."""
    try:
        yield
    except EdgewiseError:
        raise
    except Exception as error:  # OSError, ValueError, KeyError, RuntimeError, SafetensorError, …
        text = " ".join(str(error).split())[:400]
        raise LoadFailed(f"{type(error).__name__}: {text}", where=where) from error


def require_vocabulary(tokenizer: Any, where: str) -> None:
    """Raises LoadFailed for a tokenizer that knows no words: that is what libraries make of missing files."""
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise LoadFailed("the tokenizer has no vocabulary: its files are missing", where=where)


def release_memory() -> None:
    """Give freed memory back to the system; Python and malloc would keep it for themselves."""
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
