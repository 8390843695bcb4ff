"""What people see of a station: pages over its store, read-only."""
