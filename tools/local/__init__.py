"""The Cluster port over node server processes on this machine (or any machines reachable by URL)."""

from tools.local.client import NodeClient, NodeState
from tools.local.cluster import Launcher, LocalCluster
from tools.local.facts import NodeHandle

__all__ = ["Launcher", "LocalCluster", "NodeClient", "NodeHandle", "NodeState"]
