"""A replica without a model: the node server's API, the whole lifecycle, and work that only passes time."""
