"""Which column of a foreign table is what: as the user says, else guessed from names and values, and told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hpsearch.errors import InputError, show
from hpsearch.interchange.content import Wishes, guess_direction, plain, split_metric, tokens, unknown, valid_names
from hpsearch.interchange.sheets import Sheet

# Columns that say of themselves what they are: this tool and scikit-learn, Ray Tune, the W&B API, Optuna, TensorBoard.
PARAM_PREFIXES = ("params.", "params/", "params_", "param_", "config/", "config.", "hparams/", "hparams.", "hp/")
METRIC_PREFIXES = ("metrics.", "metrics/", "metric/", "summary.")
OTHER_PREFIXES = ("user_attrs_", "fixed.", "cost.")

METRICS = (  # the one that selects, best first; compared without case and separators
    "val_accuracy val_acc validation_accuracy valid_accuracy valid_acc eval_accuracy eval_acc accuracy acc "
    "val_score validation_score val_f1 val_auc score mean_test_score f1 auc episode_reward_mean reward "
    "val_loss validation_loss valid_loss eval_loss val_error val_rmse val_mse loss error rmse mse mae perplexity "
    "objective value values_0 metric result target test_accuracy test_acc test_score test_loss test_error"
).split()
METRIC_WORDS = frozenset(
    "accuracy acc loss error err score f1 auc auroc recall rmse mse mae nll perplexity ppl bleu rouge reward regret "
    "iou wer cer fid r2 top1 top5 value objective".split()
)
AGGREGATES = frozenset("std stderr sem min max mean avg median last final best".split())
SEEDS = ("seed", "random_state", "random_seed", "rng_seed", "replicate", "replication", "repeat", "fold", "rep")
ARMS = ("arm", "optimizer", "optim", "method", "algorithm", "algo", "optimiser")
SECONDS = ("cost.seconds", "time_total_s", "_runtime", "runtime", "seconds", "elapsed", "train_time", "training_time")
STATUS = ("status", "state", "trial_status", "trial_state")

# What is written about a trial and determines nothing.
BOOKKEEPING = frozenset(
    "unnamed index number id ids name names state status notes user tags created updated date time timestamp datetime "
    "start end duration runtime elapsed sweep group type trial run experiment description commit github git url path "
    "dir logdir checkpoint done host hostname ip pid uuid uid tag version cuda gpu epoch step iteration iter "
    "iterations restored restore params s seconds ms".split()
)
WORDS = {
    "complete": "complete completed finished terminated done success succeeded ok",
    "failed": "failed fail error errored crashed crash",
    "stopped": "stopped pruned killed preempted early_stopped cancelled canceled",
    "diverged": "diverged",
    "collapsed": "collapsed",
    "": "running waiting pending paused queued",  # has not ended
}
STATES = {word: status for status, words in WORDS.items() for word in words.split()}
SIZES = ("count", "total", "num", "millions", "m")  # param_count is a size, not a hyperparameter
MAX_GUESSED_CHOICES = 50


@dataclass(frozen=True)
class Roles:
    """column -> name for params, metrics and costs; the columns of seed, arm and status; objective -> direction."""

    params: Mapping[str, str]
    metrics: Mapping[str, str]
    costs: Mapping[str, str]
    objectives: Mapping[str, str]
    seed: str | None
    arm: str | None
    status: str | None
    told: tuple[str, ...]


def find_roles(sheet: Sheet, wishes: Wishes) -> Roles:
    """Raises InputError for a wished column that is not there, and where no metric can be guessed."""
    told: list[str] = []
    objectives, columns = _objectives(sheet, wishes, told)
    free = [name for name in sheet.columns if name not in columns]
    wished = [_param_column(sheet, text) for text in wishes.params]
    seed = _one(sheet, wishes.seed, "--seed", _seed(sheet, free, wished))
    arm = _one(sheet, wishes.arm, "--arm", _arm(sheet, free, wished))
    free = [name for name in free if name not in (seed, arm)]
    status = next((name for name in free if _is_status(sheet, name)), None)
    clash = next((name for name in wished if name in (seed, arm, *columns)), None)
    if clash is not None:
        raise InputError(f"--params {_base(clash)}: is the metric, seed or arm column too; allowed: one of them")
    free = [name for name in free if name != status]
    params = wished or _params(sheet, free)
    free = [name for name in free if name not in params]
    seconds = next((name for name in free if name.lower() in SECONDS and sheet.is_numeric(name)), None)
    by_prefix = any(name.startswith(PARAM_PREFIXES) for name in params)
    more = [name for name in free if name != seconds and _is_metric(sheet, name, by_prefix)]

    said = "given" if wishes.seed else "guessed from its name"
    told.append(
        f"seed: column {seed}, {said}" if seed else "seed: no column; rows with equal parameters are replicates"
    )
    said = "given" if wishes.arm else "guessed from its name"
    told.append(f"arm: column {arm}, {said}" if arm else "arm: no column; all rows are one arm")
    said = "given" if wished else "guessed: they vary, and are no metric, time or id"
    said = "by their prefix" if by_prefix and not wished else said
    told.append(f"params: {', '.join(map(_base, params)) or 'none'} ({said})")
    used = {*columns, *params, *more, seed, arm, status, seconds}
    unused = [name for name in sheet.columns if name not in used]
    if more:
        told.append(f"more metrics: {', '.join(map(_base, more))}")
    if unused:
        told.append(f"not used: {', '.join(name or 'a column without a name' for name in unused)}")
    metrics = _named([*columns, *more])  # an objective keeps its name where another would get the same
    return Roles(
        params=_named(params, "."),
        metrics=metrics,
        costs={seconds: "seconds"} if seconds else {},
        objectives={metrics[column]: direction for column, direction in zip(columns, objectives, strict=True)},
        seed=seed,
        arm=arm,
        status=status,
        told=tuple(told),
    )


def is_seed_name(name: str) -> bool:
    return "_".join(tokens(_base(name))) in SEEDS


def _objectives(sheet: Sheet, wishes: Wishes, told: list[str]) -> tuple[list[str], list[str]]:
    """Directions and columns of the objectives."""
    numeric = [name for name in sheet.columns if sheet.is_numeric(name)]
    if not wishes.metrics:
        guessed = _guess_metric(numeric)
        if guessed is None:
            listed = ", ".join(map(show, numeric[:30])) or "none"
            raise InputError(
                f"{sheet.source}: no metric column found by its name; give --metric NAME:maximize or NAME:minimize; "
                f"columns of numbers: {listed}"
            )
        direction = guess_direction(_base(guessed))
        told.append(f"metric: {_base(guessed)} ({direction}), guessed from its name")
        return [direction], [guessed]
    directions: list[str] = []
    columns: list[str] = []
    for text in wishes.metrics:
        name, said = split_metric(text, sheet.columns)
        found = _column(sheet, name, METRIC_PREFIXES)
        if found is None:
            raise unknown("--metric", name, sheet.source, "column", numeric)
        if found not in numeric:
            seen = next((cell for cell in sheet.cells(found) if isinstance(cell, (str, bool))), None)
            raise InputError(f"--metric: column {show(found)} holds {show(seen)}; allowed: a column of numbers")
        direction = said or guess_direction(name)
        if said is None:
            told.append(f"metric: {name} ({direction}), the direction guessed from its name")
        directions.append(direction)
        columns.append(found)
    if len(set(columns)) < len(columns):
        raise InputError(f"--metric: got {', '.join(wishes.metrics)}; allowed: each metric once")
    return directions, columns


def _guess_metric(numeric: Iterable[str]) -> str | None:
    by_name: dict[str, str] = {}
    for name in numeric:
        if not name.startswith(PARAM_PREFIXES):
            by_name.setdefault("_".join(tokens(_base(name))), name)
    return next((by_name[name] for name in METRICS if name in by_name), None)


def _seed(sheet: Sheet, free: list[str], wished: list[str]) -> str | None:
    fitting = [name for name in free if name not in wished and is_seed_name(name)]
    whole = [n for n in fitting if sheet.is_numeric(n) and all(c is None or c == c // 1 for c in sheet.cells(n))]
    return min(whole, key=lambda name: SEEDS.index("_".join(tokens(_base(name)))), default=None)


def _arm(sheet: Sheet, free: list[str], wished: list[str]) -> str | None:
    """A column of text by its name; one that has a value in every row."""
    by_name = {"_".join(tokens(_base(name))): name for name in reversed(free) if name not in wished}
    fitting = [by_name[name] for name in ARMS if name in by_name]
    return next((name for name in fitting if all(isinstance(cell, str) for cell in sheet.cells(name))), None)


def _is_status(sheet: Sheet, name: str) -> bool:
    if "_".join(tokens(name)) not in STATUS:
        return False
    cells = [cell for cell in sheet.cells(name) if cell is not None]
    return bool(cells) and all(str(cell).strip().lower().rpartition(".")[2] in STATES for cell in cells)


def _params(sheet: Sheet, free: list[str]) -> list[str]:
    """The columns that say by a prefix that they are hyperparameters, else every other one that looks like one."""
    prefixed = [name for name in free if name.startswith(PARAM_PREFIXES) and _base(name) not in SIZES]
    if prefixed:
        return [name for name in prefixed if any(cell is not None for cell in sheet.cells(name))]
    return [name for name in free if _is_param(sheet, name)]


def _is_param(sheet: Sheet, name: str) -> bool:
    words = tokens(name)
    prefixed = name.startswith(("_", *METRIC_PREFIXES, *OTHER_PREFIXES, "system_attrs_"))
    if prefixed or not words or words[-1] in BOOKKEEPING or words[0] in ("unnamed", "datetime") or _says_metric(name):
        return False
    if sheet.is_numeric(name) or all(cell is None or isinstance(cell, bool) for cell in sheet.cells(name)):
        return len(set(map(plain, sheet.cells(name)))) > 1
    cells = [plain(cell) for cell in sheet.cells(name)]
    distinct = len(set(cells))
    # A text that is nearly always another one is a name or a note.
    return 1 < distinct <= MAX_GUESSED_CHOICES and (distinct <= len(sheet) / 2 or len(sheet) <= 20)


def _is_metric(sheet: Sheet, name: str, by_prefix: bool) -> bool:
    """by_prefix: the hyperparameters are known by their prefix, so that another column of numbers is a metric."""
    words = tokens(_base(name))
    if not words or name.startswith(("_", "system_attrs_", *PARAM_PREFIXES)) or not sheet.is_numeric(name):
        return False
    if name.startswith(METRIC_PREFIXES) or _says_metric(name):
        return True
    return by_prefix and words[-1] not in BOOKKEEPING and words[0] not in ("time", "timesteps", "perf")


def _says_metric(name: str) -> bool:
    words = [word for word in tokens(_base(name)) if word not in AGGREGATES]
    return bool(words) and words[-1] in METRIC_WORDS


def _one(sheet: Sheet, wish: str | None, option: str, guessed: str | None) -> str | None:
    if wish is None:
        return guessed
    column = _column(sheet, wish, (*PARAM_PREFIXES, *OTHER_PREFIXES))
    if column is None and wish.lower() != "none":
        raise unknown(option, wish, sheet.source, "column", sheet.columns)
    return column


def _param_column(sheet: Sheet, text: str) -> str:
    column = _column(sheet, text, (*PARAM_PREFIXES, *OTHER_PREFIXES))
    if column is None:
        raise unknown("--params", text, sheet.source, "column", sheet.columns)
    return column


def _column(sheet: Sheet, text: str, prefixes: Iterable[str]) -> str | None:
    """The column of this name, or with one of the prefixes before it."""
    return next((name for name in (text, *(prefix + text for prefix in prefixes)) if name in sheet.columns), None)


def _base(column: str) -> str:
    """config/lr -> lr."""
    prefix = next((p for p in (*PARAM_PREFIXES, *METRIC_PREFIXES, *OTHER_PREFIXES) if column.startswith(p)), "")
    return column[len(prefix) :] or column


def _named(columns: Iterable[str], slash: str = "_") -> dict[str, str]:
    """column -> its name in the study file: val/acc -> val_acc, config/model/lr -> model.lr."""
    listed = list(columns)
    names = valid_names([_base(column) for column in listed], slash)
    seen: dict[str, str] = {}
    for column in listed:
        name, number = names[_base(column)], 2
        while name in seen.values():  # config/lr and lr
            name, number = f"{names[_base(column)]}-{number}", number + 1
        seen[column] = name
    return seen
