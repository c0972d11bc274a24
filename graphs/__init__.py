"""Wiring only: the slot graph and the epoch graph; each graph node is a one-line call."""
