"""The node server: replicas of models on one edge server, behind HTTP."""
