"""The epochs at which a pack waits to hear whether it is stopped early."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Milestones:
    """grace, grace * reduction, grace * reduction**2, ... epochs, rounded up; every epoch from grace on without one."""

    grace: int
    reduction: float | None = None

    def after(self, epoch: int) -> int:
        """The first milestone later than this epoch."""
        if epoch < self.grace:
            return self.grace
        if self.reduction is None:
            return epoch + 1
        power = max(0, math.floor(math.log(epoch / self.grace, self.reduction)) - 1)  # a logarithm may round up
        while math.ceil(self.grace * self.reduction**power) <= epoch:
            power += 1
        return math.ceil(self.grace * self.reduction**power)
