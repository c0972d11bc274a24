"""Placement and share search. Takes evaluate(plans) -> scores; knows no simulator and no cluster."""
