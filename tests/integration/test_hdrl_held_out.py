"""The shipped checkpoint on worlds it was not trained on, and what a run of it needs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from evals.hdrl.judge import mean_latency_s
from evals.hdrl.network import PRIOR_ONLY, load
from evals.hdrl.policy import prepared
from evals.hdrl.worlds import world
from evals.policies import policy_of

WORLDS = range(100, 112)
LENGTH_S = 1800.0


def test_what_was_learned_helps_on_other_worlds() -> None:
    """Against the untrained policy, and far from random placement and routing."""
    to_untrained, to_random = [], []
    for index in WORLDS:
        where = world("held-out", index, LENGTH_S)
        mean_s = mean_latency_s(where, prepared(where, load()))
        to_untrained.append(mean_s / mean_latency_s(where, prepared(where, PRIOR_ONLY)))
        to_random.append(mean_s / mean_latency_s(where, policy_of("random-static").prepare(where, 1.0)))
    assert np.exp(np.log(to_untrained).mean()) < 0.85
    assert np.exp(np.log(to_random).mean()) < 0.4


def test_a_run_imports_no_learning_library() -> None:
    code = (
        "import sys\n"
        "from evals.hdrl.policy import prepare\n"
        "from evals.hdrl.network import load\n"
        "load()\n"
        "sys.exit(sorted({'torch', 'gymnasium', 'stable_baselines3'} & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
