"""Kubernetes behind ports.Cluster."""

from tools.kubernetes.cluster import KubernetesCluster
from tools.kubernetes.settings import KubernetesSettings

__all__ = ["KubernetesCluster", "KubernetesSettings"]
