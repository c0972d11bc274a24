"""The forecast on past demand: what it would have said each slot, against what came, and against plain methods."""
