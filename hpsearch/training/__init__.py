"""One pack of trials: loop, evaluation, cost meter. Needs torch alone: no Ray, Optuna, plotly or typer."""
