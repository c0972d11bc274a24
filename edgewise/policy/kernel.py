"""How the kernels are compiled.

`error_model="numpy"` spares a check at each division. `_nrt=False` leaves out the counting of references to arrays:
with it every access of an array in a NamedTuple costs two atomic operations, and a dispatch takes fourteen times as
long. Such a kernel cannot make arrays; its caller hands in what it needs. INLINE is for the small functions on the
hot path, as a fleet passed by value is a hundred words.

Numba's own cache looks at the file of a kernel, not at those of the kernels that it calls, and would go on with an
old callee. So the folder of the cache is named after the text of all kernels.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any, Final

_COMMON: Final[dict[str, Any]] = {"cache": True, "nogil": True, "error_model": "numpy"}
WITH_MEMORY: Final[dict[str, Any]] = _COMMON
KERNEL: Final[dict[str, Any]] = {**_COMMON, "_nrt": False}
INLINE: Final[dict[str, Any]] = {**KERNEL, "forceinline": True}

FOLDERS: Final = ("policy", "twin", "optimise")


def source_hash() -> str:
    """Changes when a kernel does."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.blake2b(digest_size=8)
    for folder in FOLDERS:
        for file in sorted((root / folder).glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def use_kernel_cache() -> None:
    """Keep compiled kernels inside the environment (or below NUMBA_CACHE_DIR, where that is set). Must run before
    numba is imported; a second call changes nothing."""
    if os.environ.get("EDGEWISE_KERNELS"):
        return
    base = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(sys.prefix) / "numba-cache")
    os.environ["EDGEWISE_KERNELS"] = name = source_hash()
    os.environ["NUMBA_CACHE_DIR"] = str(base / name)
