"""Several processes: column strategy, agreement, lost processes."""
