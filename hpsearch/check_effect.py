"""Whether anything depends on what an arm searches: what is found not to matter for that reason has cost a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpsearch.errors import KeyPath, Mistake, show
from hpsearch.hyperparameters import HYPERPARAMETERS, NEEDS
from hpsearch.study import Arm, Study


def values(arm: Arm, name: str, default: object, given: Mapping[str, object] | None = None) -> tuple[object, ...]:
    """Values that bound what the arm gives a hyperparameter. given: values of others, where only these count."""
    given = given or {}
    if name in arm.fixed:
        return (arm.fixed[name],)
    if name in given:
        return (given[name],)
    parameter = arm.parameters.get(name)
    if parameter is None:
        return (default,)
    found = parameter.choices if parameter.choices is not None else (parameter.low, parameter.high)
    when = parameter.when or {}
    if any(key in given and given[key] != value for key, value in when.items()):
        return (default,)
    return tuple(found) if when.keys() <= given.keys() else (*found, default)


def whenever(arm: Arm, name: str) -> dict[str, object]:
    """What others must be for this one to be searched: its own conditions, and theirs."""
    found: dict[str, object] = {}
    ahead = [name]
    while ahead:
        parameter = arm.parameters.get(ahead.pop())
        for key, value in (parameter.when or {} if parameter else {}).items():
            if key not in found:
                found[key] = value
                ahead.append(key)
    return found


def check_effect(path: KeyPath, name: str, arm: Arm, study: Study) -> Iterator[Mistake]:
    """Of a parameter at `path`."""
    given = whenever(arm, name)
    for other, allowed, has_effect in NEEDS.get(name, ()):
        found = values(arm, other, study.optimizer.get(other, HYPERPARAMETERS[other].default), given)
        if all(map(HYPERPARAMETERS[other].accepts, found)) and not any(map(has_effect, found)):
            there = " then" if other in given else ""
            rule = f"nothing depends on {name}: the arm's {other} is {' or '.join(map(show, found))}{there}"
            yield Mistake(path, rule, f"{other} {allowed}, or no {name} among the parameters")
            return


def check_nesterov(path: KeyPath, arm: Arm, study: Study, bases: tuple[str, ...]) -> Iterator[Mistake]:
    """Where it is switched on: torch.optim.SGD refuses it without momentum."""
    at = (*path, "fixed", "nesterov") if "nesterov" in arm.fixed else ("optimizer", "nesterov")
    switched = {**study.optimizer, **arm.fixed}.get("nesterov") is True and "nesterov" not in arm.parameters
    momentum = values(arm, "momentum", study.optimizer.get("momentum", 0.0))
    if switched and "sgd" in bases and set(momentum) == {0}:
        allowed = "false (in an arm's fixed, too), or a momentum above 0"
        yield Mistake(at, f"got true where the arm's momentum is {show(momentum[0])}", allowed)
