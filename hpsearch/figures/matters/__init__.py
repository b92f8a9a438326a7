"""What matters: shares of variance, interactions, importance along training."""
