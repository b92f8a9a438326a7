"""Several runs: one setting for all tasks against one for each."""
