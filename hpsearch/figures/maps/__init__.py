"""Maps of pairs of hyperparameters."""
