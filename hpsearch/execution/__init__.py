"""Ray Tune runs the packs that the planner gives. The only package that imports ray."""
