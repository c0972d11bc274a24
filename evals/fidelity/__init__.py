"""Fidelity: the same prompts on a real cluster of this machine and in the digital twin, and how far they differ."""
