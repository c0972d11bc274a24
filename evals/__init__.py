"""Scenarios, trace readers, recorded-prompt replay, reports."""
