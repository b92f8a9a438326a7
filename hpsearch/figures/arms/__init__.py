"""Which arm, at what cost: front, best configurations, differences, tuning curves."""
