"""Hierarchical deep reinforcement learning as a baseline: placement per epoch, routing per slot (docs/reference/hdrl.md)."""
