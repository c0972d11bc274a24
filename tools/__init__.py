"""Doors to cluster, telemetry and store behind the ports of edgewise.control.ports."""
