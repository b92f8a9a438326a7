"""Where it is safe: each hyperparameter with all arms on one axis, and their safe ranges."""
