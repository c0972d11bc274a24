"""Hierarchical deep reinforcement learning as a baseline: placement per epoch, routing per slot.

docs/reference/hdrl.md tells how it was made and how it does."""
