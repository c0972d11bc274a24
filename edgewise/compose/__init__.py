"""The composition root: the only place that knows which implementation stands behind which port."""
