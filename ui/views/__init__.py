"""One page a file; ``page`` in each draws it."""
