"""What can be named: studies, search spaces, tasks, samplers."""

from __future__ import annotations

import inspect
from pathlib import Path

from hpsearch.errors import InputError, nearest, show
from hpsearch.sampling import DEFAULTS_IN_WORDS, OPTIONS, SAMPLERS
from hpsearch.space import names
from hpsearch.tasks import SHIPPED, resolve
from hpsearch.yamlfile import read_yaml


def entries(kind: str) -> dict[str, str]:
    """name -> description, for kind studies, spaces, tasks or samplers."""
    if kind == "samplers":
        return dict(SAMPLERS)
    if kind == "tasks":
        return {name: _first_line(name) for name in SHIPPED}
    files = names("studies" if kind == "studies" else "search_spaces", [Path.cwd()])
    return {name: str(read_yaml(path).data.get("description", "")) for name, path in files.items()}


def describe(name: str) -> str:
    """A study or search space as its file says it; a task or sampler in words. Raises InputError for other names."""
    for kind in ("studies", "search_spaces"):
        path = names(kind, [Path.cwd()]).get(name)
        if path is not None:
            return f"# {path}\n{path.read_text().rstrip()}"
    if name in SHIPPED:
        task = resolve(name)
        text = f"task {name}: {inspect.getdoc(task)}"
        for base in task.__mro__[1:] if isinstance(task, type) else ():
            if f"Options as in {base.__name__}" in text:  # which a reader of the terminal cannot look up
                text += f"\n\n{base.__name__}: {inspect.getdoc(base)}"
        options = [f"\n    {_option(parameter)}" for parameter in inspect.signature(task).parameters.values()]
        return f"{text}\n\noptions, beside epochs and batch_size:{''.join(options) or ' none'}"
    if name in SAMPLERS:
        options = [f"\n    {_sampler_option(name, key)}" for key in OPTIONS[name]]
        return f"sampler {name}: {SAMPLERS[name]}\n\noptions:{''.join(options) or ' none'}"
    known = [*(entry for kind in ("studies", "spaces") for entry in entries(kind)), *SHIPPED, *SAMPLERS]
    near = nearest(name, known)
    hint = f"; did you mean {near!r}?" if near else ""
    raise InputError(f"nothing is named {show(name)}; allowed: {', '.join(dict.fromkeys(known))}{hint}")


def _option(parameter: inspect.Parameter) -> str:
    default = "" if parameter.default is parameter.empty else f" = {show(parameter.default)}"
    kind = (
        parameter.annotation if isinstance(parameter.annotation, str) else getattr(parameter.annotation, "__name__", "")
    )
    return f"{parameter.name}{default}" + (f"    ({kind.replace('None', 'null')})" if kind else "")


def _sampler_option(sampler: str, key: str) -> str:
    rule = OPTIONS[sampler][key]
    default = DEFAULTS_IN_WORDS.get((sampler, key)) or (show(rule.default) if rule else "")
    allowed = rule.allowed() if rule else "a list of configurations"
    return f"{key}: {allowed}; default {default}"


def _first_line(task: str) -> str:
    return (inspect.getdoc(resolve(task)) or "").splitlines()[0]
