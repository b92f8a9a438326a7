"""Ray's callback for Weights & Biases, whose runs are whole on disk when it says that they are."""

from __future__ import annotations

from ray.air.integrations.wandb import WandbLoggerCallback, _WandbLoggingActor


class WholeRun(_WandbLoggingActor):
    """Ray kills the process when run() returns, and wandb's own process, which writes the file, goes with it."""

    def run(self) -> None:
        super().run()  # type: ignore[no-untyped-call]
        self._wandb.teardown()  # waits for it


class WholeRuns(WandbLoggerCallback):
    _logger_actor_cls = WholeRun
