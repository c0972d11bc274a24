"""Serving of other makers, looked at read-only: what each system shows of its prompts, and the one door to it."""
