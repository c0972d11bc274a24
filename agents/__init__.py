"""Planner, scheduler, deployer: prompt, model call, typed proposal, JSON repair."""
