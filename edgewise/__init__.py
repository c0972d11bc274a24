"""edgewise: every kind of prompt gets its turn on a crowded edge, and fast. This package imports nothing."""
