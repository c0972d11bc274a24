"""Profiles of models on this machine: what a load, a prompt and several prompts at once cost."""
