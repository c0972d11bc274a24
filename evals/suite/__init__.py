"""The evaluation suite: policies against the same prompts, with intervals, a lower bound and a report."""
