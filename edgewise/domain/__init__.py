"""Frozen values every part of edgewise shares: cluster, model, observation, plan, decision, measures, errors."""
