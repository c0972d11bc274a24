"""Pure policies on flat arrays, compiled with numba: the same code runs in gateway, node and twin."""
