"""Episodic case memory on Chroma."""
