"""Wrong study files and --set overrides: each gets one clear message for each mistake, and nothing runs.

A case edits BASE, which is right. In the edited text `# <-` marks the line that the message must name.
"""

# ruff: noqa: E501  (a table: one case a line)

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpsearch.check import Checked, check_study
from hpsearch.cli import app
from hpsearch.errors import InputError
from hpsearch.study import build_study, load_study, parse_study
from hpsearch.yamlfile import parse_yaml

BASE = """\
name: base
description: A right study
task:
  name: digits
  model: mlp
  label_noise: 0.3
  epochs: 2
  batch_size: 128
optimizer:
  base: sgd
  momentum: 0.9
  weight_decay: 5e-4
arms:
  sam:
    parameters:
      lr: {low: 0.01, high: 1.0, log: true, default: 0.1, grid: [0.01, 0.1, 1.0]}
      rho: {low: 0.01, high: 2.0}
      num_shards: {choices: [1, 4]}
      sigma: {low: -1.0, high: 1.0, step: 0.5}
    fixed:
      adaptive: true
  plain:
    space: plain
sampling:
  - sampler: qmc
    configurations: 4
  - sampler: tpe
    configurations: 2
    options: {n_startup_trials: 2}
sampling_seed: 0
seeds: 2
confirm: {top: 1, seeds: 2}
objectives: {val_accuracy: maximize, flops: minimize}
resources: {cpus: 1, gpus: auto, concurrent: 1}
stopping: null
"""

PLAIN_SPACE = """\
description: One searched key
parameters:
  lr: {low: 0.01, high: 0.5, log: true}
"""

OWN_MODULE = '''\
"""A user's tasks, right and wrong."""
from hpsearch.tasks import Classification

def train(params, seed, report): report(score=1.0)
def wrong_arguments(params): pass
number = 3

class Lacking:
    semantics = 1

class HalfAbstract(Classification):
    def data(self, seed): return None

class NeedsFile(Classification):
    def __init__(self, path: str, depth: int = 2, schema: bool = False):
        open(path)
    def data(self, seed): return None
    def model(self): return None
'''

MODULES = {
    "hps_own": OWN_MODULE,
    "hps_raises": "raise RuntimeError('no licence\\nfound')",
    "hps_exits": "import sys\nsys.exit(3)",
    "hps_syntax": "def broken(:\n",
    "hps_needs": "import hps_not_installed_anywhere\n",
}

LR = "      lr: {low: 0.01, high: 1.0, log: true, default: 0.1, grid: [0.01, 0.1, 1.0]}\n"
RHO = "      rho: {low: 0.01, high: 2.0}\n"
SHARDS = "      num_shards: {choices: [1, 4]}\n"
SIGMA = "      sigma: {low: -1.0, high: 1.0, step: 0.5}\n"
FIXED = "      adaptive: true\n"
QMC = "  - sampler: qmc\n    configurations: 4\n"
ARMS = BASE[BASE.index("arms:\n") : BASE.index("sampling:\n")]
SAMPLING = BASE[BASE.index("sampling:") : BASE.index("sampling_seed")]
OPTIMIZER = BASE[BASE.index("optimizer:\n") : BASE.index("arms:\n")]
TASK = BASE[BASE.index("task:\n") : BASE.index("optimizer:\n")]
NAMES = ("letters, digits, dot, dash and underscore",)


@dataclass(frozen=True)
class Case:
    """name: the test's id. text: the file. says: what the message must contain. mistakes: how many lines it has."""

    name: str
    text: str | bytes
    says: tuple[str, ...]
    sets: tuple[str, ...] = ()
    mistakes: int = 1


def edit(name: str, old: str, new: str, *says: str, mistakes: int = 1) -> Case:
    assert BASE.count(old) == 1, f"{name}: {old!r} is {BASE.count(old)} times in BASE"
    return Case(name, BASE.replace(old, new), says, mistakes=mistakes)


def fixed(name: str, line: str, *says: str) -> Case:
    """Something else among the fixed values of arm sam."""
    return edit(name, FIXED, f"      {line} # <-\n", *says)


def parameter(name: str, line: str, *says: str) -> Case:
    """Something else among the parameters of arm sam."""
    return edit(name, RHO, f"      {line} # <-\n" + RHO * (not line.startswith("rho")), *says)


def option(name: str, override: str, *says: str) -> Case:
    """BASE with a --set; the message begins with it."""
    return Case(name, BASE, says, (override,))


def function(name: str, old: str, new: str, *says: str) -> Case:
    """A right study of a training function, edited."""
    text = (
        BASE.replace(TASK, "task: {name: 'hps_own:train'}\n")
        .replace(OPTIMIZER, "")
        .replace("{val_accuracy: maximize, flops: minimize}", "{score: maximize}")
    )
    assert text.count(old) == 1, f"{name}: {old!r}"
    return Case(name, text.replace(old, new), says)


UNKNOWN_KEYS = [
    edit(
        "unknown-top", "seeds: 2\nc", "seeds: 2\nsampel: 3 # <-\nc", "sampel: unknown key 'sampel'", "did you mean 's"
    ),
    edit("misspelt-required", "seeds: 2\nc", "seed: 2 # <-\nc", "seed: unknown key 'seed' (value 2)", "'seeds'?"),
    edit(
        "unknown-task", "  model: mlp", "  modle: mlp # <-", "task.modle: unknown key 'modle'", "batch_size", "'model'?"
    ),
    edit("unknown-optimizer", "  momentum: 0.9", "  momentun: 0.9 # <-", "optimizer.momentun: ", "'momentum'?", "rho"),
    edit(
        "unknown-arm-key",
        "    fixed:\n",
        "    fixd: # <-\n",
        "arms.sam.fixd: unknown key",
        "fixed, sampling, space",
        "'fixed'?",
    ),
    fixed("unknown-fixed", "rhoo: 1", "arms.sam.fixed.rhoo: unknown hyperparameter 'rhoo'", "base, lr, ", "'rho'?"),
    fixed("paper-letter-m", "m: 4", "arms.sam.fixed.m: unknown hyperparameter 'm'", "did you mean 'num_shards'?"),
    fixed("other-name", "learning_rate: 0.1", "unknown hyperparameter 'learning_rate'", "did you mean 'lr'?"),
    parameter("unknown-parameter", "roh: {low: 1, high: 2}", "arms.sam.parameters.roh: unknown", "did you mean 'rho'?"),
    parameter(
        "unknown-range-key", "rho: {low: 1, hihg: 2}", "parameters.rho.hihg: unknown key", "low, high", "'high'?"
    ),
    edit(
        "unknown-phase-key", "    configurations: 4", "    configuratons: 4 # <-", "sampling.0.configuratons: ", "'conf"
    ),
    edit(
        "unknown-option",
        "n_startup_trials: 2}",
        "startup: 2} # <-",
        "sampling.1.options.startup: unknown option",
        "grou",
    ),
    edit("option-of-other", QMC, QMC + "    options: {group: true} # <-\n", "sampling.0.options.group", "qmc_type"),
    edit("unknown-confirm", "{top: 1,", "{tpo: 1, # <-\n", "confirm.tpo: unknown key 'tpo'", "top, seeds", "'top'?"),
    edit("unknown-resources", "gpus: auto", "gpu: 1 # <-\n", "resources.gpu: unknown key 'gpu' (value 1)", "'gpus'?"),
]

TYPES = [
    edit("name-number", "name: base", "name: 12 # <-", "name: got 12", "a text, in quotes"),
    edit("name-null", "name: base", "name: # <-", "name: got null", "a text"),
    edit("description-list", "A right study", "[a] # <-", "description: got ['a']", "a text"),
    edit("task-text", TASK, "task: digits # <-\n", "task: got 'digits'", "a mapping (key: value)"),
    edit("task-name-list", "  name: digits", "  name: [digits] # <-", "task.name: got ['digits']", "a text"),
    edit("task-name-empty", "  name: digits", "  name: '' # <-", "task.name: got ''", "package.module:ClassName"),
    edit("task-without-name", "  name: digits\n", "", "study.yaml:3: task.name: is missing"),
    edit("epochs-text", "epochs: 2", 'epochs: "24" # <-', "task.epochs: got '24'", "a whole number >= 1"),
    edit("epochs-half", "epochs: 2", "epochs: 2.5 # <-", "task.epochs: got 2.5", "a whole number >= 1"),
    edit("epochs-zero", "epochs: 2", "epochs: 0 # <-", "task.epochs: got 0", "a whole number >= 1"),
    edit("epochs-true", "epochs: 2", "epochs: true # <-", "task.epochs: got true", "a whole number >= 1"),
    edit("epochs-nan", "epochs: 2", "epochs: .nan # <-", "task.epochs: got nan", "a whole number >= 1"),
    edit(
        "epochs-huge",
        "epochs: 2",
        f"epochs: 1{'0' * 400} # <-",
        "task.epochs: got 1000",
        "(401 characters)",
        "1000000000",
    ),
    edit(
        "batch-list", "batch_size: 128", "batch_size: [128] # <-", "task.batch_size: got [128]", "a whole number >= 1"
    ),
    edit("optimizer-list", OPTIMIZER, "optimizer: [sgd] # <-\n", "optimizer: got ['sgd']", "a mapping (key: value)"),
    edit("optimizer-null", "  momentum: 0.9", "  momentum: # <-", "optimizer.momentum: got null", "a number"),
    edit("momentum-text", "momentum: 0.9", 'momentum: "0.9" # <-', "optimizer.momentum: got '0.9'", ">= 0 and < 1"),
    edit("base-unknown", "base: sgd", "base: adamm # <-", "optimizer.base: got 'adamm'", "sgd, adam, adamw", "'adam'?"),
    edit("arms-list", ARMS, "arms: [sam] # <-\n", "arms: got ['sam']", "a mapping (key: value)"),
    edit("arms-null", ARMS, "arms: # <-\n", "arms: got null", "a mapping (key: value)"),
    edit("arms-empty", ARMS, "arms: {} # <-\n", "arms: is empty", "at least 1"),
    edit("arms-missing", ARMS, "", "study.yaml:1: arms: is missing"),
    edit("arm-null", "  plain:\n    space: plain\n", "  plain: # <-\n", "arms.plain: got null", "a mapping"),
    edit(
        "arm-empty",
        "  plain:\n    space: plain\n",
        "  plain: {} # <-\n",
        "arms.plain: the arm is empty",
        "a space, param",
    ),
    edit("arm-text", "  plain:\n    space: plain\n", "  plain: plain # <-\n", "arms.plain: got 'plain'", "a mapping"),
    edit("space-number", "space: plain", "space: 5 # <-", "arms.plain.space: got 5", "the name of a search space, or"),
    edit("parameters-null", "    space: plain", "    parameters: # <-", "arms.plain.parameters: got null", "a mapping"),
    edit("fixed-list", "    fixed:\n" + FIXED, "    fixed: [1] # <-\n", "arms.sam.fixed: got [1]", "a mapping"),
    fixed("fixed-null", "adaptive: ", "arms.sam.fixed.adaptive: got null", "a number, true, false or a text"),
    fixed("fixed-list-value", "sigma: [1]", "arms.sam.fixed.", "both searched and fixed"),
    fixed("fixed-mapping", "interval: {low: 1}", "fixed.interval: got {'low': 1}", "a number, true, false or a text"),
    fixed("switch-one", "adaptive: 1", "arms.sam.fixed.adaptive: got 1;", "true or false"),
    fixed("switch-text", "adaptive: 'true'", "arms.sam.fixed.adaptive: got 'true'", "true or false"),
    fixed("number-true", "weight_decay: true", "fixed.weight_decay: got true", "a finite number >= 0"),
    fixed("schedule", "schedule: cosin", "fixed.schedule: got 'cosin'", "cosine, linear, constant, step", "'cosine'?"),
    parameter("parameter-number", "rho: 0.5", "parameters.rho: got 0.5", "low and high, or with choices", "`fixed`"),
    parameter("parameter-list", "rho: [0.1, 0.5]", "parameters.rho: got [0.1, 0.5]", "low and high, or with choices"),
    parameter("parameter-null", "rho: ", "arms.sam.parameters.rho: got null", "low and high, or with choices"),
    parameter("parameter-empty", "rho: {}", "arms.sam.parameters.rho.low: low is missing", "low and high, or choices"),
    parameter("low-text", "rho: {low: '0.1', high: 1}", "parameters.rho.low: got '0.1'", "a finite number"),
    parameter("low-true", "rho: {low: true, high: 2}", "parameters.rho.low: got true", "a finite number"),
    parameter("high-null", "rho: {low: 0.1, high: null}", "parameters.rho.high: high is missing", "low and high"),
    parameter("log-text", "rho: {low: 1, high: 2, log: 'true'}", "parameters.rho.log: got 'true'", "true or false"),
    parameter("log-one", "rho: {low: 1, high: 2, log: 1}", "parameters.rho.log: got 1;", "true or false"),
    parameter("int-text", "interval: {low: 1, high: 2, int: 'y'}", "interval.int: got 'y'", "true or false"),
    parameter("step-text", "rho: {low: 1, high: 2, step: '1'}", "parameters.rho.step: got '1'", "a finite number"),
    parameter("choices-text", "rho: {choices: abc}", "parameters.rho.choices: got 'abc'", "a list"),
    parameter("choices-mapping", "rho: {choices: {a: 1}}", "parameters.rho.choices: got {'a': 1}", "a list"),
    parameter("choice-list", "rho: {choices: [1, [2]]}", "rho.choices.1: got [2]", "a number, true, false or a text"),
    parameter("grid-number", "rho: {low: 1, high: 2, grid: 1}", "parameters.rho.grid: got 1", "a list"),
    parameter("default-list", "rho: {low: 1, high: 2, default: [1]}", "rho.default: got [1]", "a number, true"),
    parameter("when-list", "rho: {low: 1, high: 2, when: [a]}", "rho.when: got ['a']", "a mapping"),
    edit("sampling-mapping", SAMPLING, "sampling: {sampler: qmc} # <-\n", "sampling: got {'sampler': 'qmc'}", "a list"),
    edit("phase-text", QMC, "  - qmc # <-\n", "sampling.0: got 'qmc'", "a mapping (key: value)"),
    edit(
        "sampler-missing",
        "  - sampler: qmc\n    configurations: 4",
        "  - configurations: 4 # <-",
        "sampling.0.sampler: is miss",
    ),
    edit("sampler-list", "  - sampler: qmc", "  - sampler: [qmc] # <-", "sampling.0.sampler: got ['qmc']", "a text"),
    edit("configurations-text", "s: 4", "s: '4' # <-", "sampling.0.configurations: got '4'", "a whole number >= 1"),
    edit("configurations-zero", "s: 4", "s: 0 # <-", "sampling.0.configurations: got 0", "a whole number >= 1"),
    edit(
        "configurations-many", "s: 4", "s: 5000000 # <-", "sampling.0.configurations: got 5000000", "from 1 to 1000000"
    ),
    edit(
        "configurations-none", "    configurations: 4\n", "", ":25: sampling.0.configurations: is missing", "only grid"
    ),
    edit(
        "options-null", "options: {n_startup_trials: 2}", "options: # <-", "sampling.1.options: got null", "a mapping"
    ),
    edit("option-text", "trials: 2}", "trials: ten} # <-", "sampling.1.options.n_startup_trials: got 'ten'", ">= 0"),
    edit("option-float", "trials: 2}", "trials: 2.5} # <-", "options.n_startup_trials: got 2.5", "a whole number >= 0"),
    edit(
        "option-true", "trials: 2}", "trials: true} # <-", "options.n_startup_trials: got true", "a whole number >= 0"
    ),
    edit("option-nan", "trials: 2}", "trials: .nan} # <-", "sampling.1.options.n_startup_trials: got nan", "finite"),
    edit(
        "option-choice", QMC, QMC + "    options: {qmc_type: sobl} # <-\n", "options.qmc_type: got 'sobl'", "'sobol'?"
    ),
    edit("option-switch", QMC, QMC + "    options: {scramble: 1} # <-\n", "options.scramble: got 1;", "true or false"),
    edit(
        "options-together",
        "{n_startup_trials: 2}",
        "{group: true, multivariate: false} # <-",
        "sampling.1.options: tpe refuses its options",
    ),
    edit("sampling-empty", SAMPLING, "sampling: [] # <-\n", "sampling: is empty", "at least 1"),
    edit("sampling-seed", "sampling_seed: 0", "sampling_seed: -1 # <-", "sampling_seed: got -1", "a whole number >= 0"),
    edit(
        "top-configurations", "seeds: 2\nc", "seeds: 2\nconfigurations: no # <-\nc", "configurations: got false", ">= 1"
    ),
    edit(
        "seeds-zero", "seeds: 2\nc", "seeds: 0 # <-\nc", "seeds: got 0", "a number of seeds from 1 to 1000, or a list"
    ),
    edit("seeds-negative", "seeds: 2\nc", "seeds: [0, -1] # <-\nc", "seeds: got [0, -1]", "whole numbers >= 0"),
    edit("seeds-twice", "seeds: 2\nc", "seeds: [3, 1, 3] # <-\nc", "seeds: got [3, 1, 3]", "each seed once"),
    edit("seeds-texts", "seeds: 2\nc", "seeds: ['0', '1'] # <-\nc", "seeds: got ['0', '1']", "whole numbers >= 0"),
    edit("seeds-true", "seeds: 2\nc", "seeds: true # <-\nc", "seeds: got true", "a number of seeds >= 1, or a list"),
    edit("seeds-none", "seeds: 2\nc", "seeds: [] # <-\nc", "seeds: got []", "a number of seeds >= 1, or a list"),
    edit("seeds-null", "seeds: 2\nc", "seeds: # <-\nc", "seeds: got null", "a number of seeds >= 1, or a list"),
    edit("seeds-many", "seeds: 2\nc", "seeds: 1000000000000 # <-\nc", "seeds: got 1000000000000", "from 1 to 1000"),
    edit("seeds-huge", "seeds: 2\nc", f"seeds: [1{'0' * 400}] # <-\nc", "seeds: got [1000", "< 2**63"),
    edit("confirm-number", "{top: 1, seeds: 2}", "3 # <-", "confirm: got 3", "a mapping (key: value)"),
    edit("confirm-one-seed", "{top: 1, seeds: 2}", "{top: 1, seeds: 1} # <-", "confirm.seeds: got 1", "number >= 2"),
    edit("confirm-top-zero", "{top: 1,", "{top: 0, # <-\n", "confirm.top: got 0", "a whole number >= 1"),
    edit(
        "objectives-list",
        "{val_accuracy: maximize, flops: minimize}",
        "[val_accuracy] # <-",
        "objectives: got ['val_",
        "mapp",
    ),
    edit(
        "objectives-empty",
        "{val_accuracy: maximize, flops: minimize}",
        "{} # <-",
        "objectives: got an empty mapp",
        "at least",
    ),
    edit(
        "objective-way",
        "maximize",
        "maximise # <-\n",
        "objectives.val_accuracy: got 'maximise'",
        "'maximize'?",
        "minimize",
    ),
    edit("cpus-zero", "cpus: 1", "cpus: 0 # <-\n", "resources.cpus: got 0", "a whole number >= 1"),
    edit("gpus-negative", "gpus: auto", "gpus: -1 # <-\n", "resources.gpus: got -1", "auto, or a number >= 0"),
    edit("gpus-infinite", "gpus: auto", "gpus: .inf # <-\n", "resources.gpus: got inf", "auto, or a number >= 0"),
    edit("gpus-text", "gpus: auto", "gpus: atuo # <-\n", "resources.gpus: got 'atuo'", "auto, or a number", "'auto'?"),
    edit(
        "concurrent-half",
        "concurrent: 1",
        "concurrent: 1.5 # <-\n",
        "resources.concurrent: got 1.5",
        "auto, or a whole",
    ),
    edit("compile", "concurrent: 1", "compile: yse # <-\n", "resources.compile: got 'yse'", "auto, true or false"),
    edit("retries", "concurrent: 1", "retries: -1 # <-\n", "resources.retries: got -1", "a whole number >= 0"),
    edit(
        "stopping-name",
        "stopping: null",
        "stopping: {scheduler: ahsa} # <-",
        "stopping.scheduler: got 'ahsa'",
        "'asha'?",
        "median",
    ),
    edit(
        "stopping-late",
        "stopping: null",
        "stopping: {scheduler: asha, grace: 40} # <-",
        "stopping.grace: got 40 where no trial has more than 2 epochs",
        "from 1 to 1",
    ),
    edit(
        "stopping-median-reduction",
        "stopping: null",
        "stopping: {scheduler: median, grace: 1, reduction: 2} # <-",
        "stopping.reduction: is a key of asha",
        "scheduler and grace",
    ),
    edit(
        "stopping-reduction",
        "stopping: null",
        "stopping: {scheduler: asha, grace: 1, reduction: 1} # <-",
        "stopping.reduction: got 1",
        "greater than 1",
    ),
    edit("stopping-key", "stopping: null", "stopping: {scheduler: asha, gracee: 1} # <-", "gracee", "'grace'?"),
]

RANGES = [
    parameter("low-above-high", "rho: {low: 2, high: 1}", "parameters.rho.low: `low < high`", "low=2, high=1"),
    parameter("low-is-high", "rho: {low: 1, high: 1}", "parameters.rho.low: `low < high`", "low=1, high=1"),
    parameter("log-zero", "rho: {low: 0, high: 1, log: true}", "rho.low: a log scale needs `low > 0`", "low=0"),
    parameter("log-negative", "rho: {low: -1, high: 1, log: true}", "rho.low: a log scale needs `low > 0`", "low=-1"),
    parameter("low-nan", "rho: {low: .nan, high: 1}", "parameters.rho.low: got nan", "a finite number"),
    parameter("high-inf", "rho: {low: 0, high: .inf}", "parameters.rho.high: got inf", "a finite number"),
    parameter("high-1e400", "rho: {low: 0, high: 1e400}", "parameters.rho.high: got inf", "a finite number"),
    parameter("high-huge", f"rho: {{low: 0, high: 1{'0' * 400}}}", "rho.high: got 1000", "a finite number"),
    parameter("choice-inf", "rho: {choices: [0.1, .inf]}", "rho.choices.1: got inf", "a finite number"),
    parameter("grid-nan", "rho: {low: 0, high: 1, grid: [.nan]}", "rho.grid.0: got nan", "a finite number"),
    parameter("default-nan", "rho: {low: 0, high: 1, default: .nan}", "rho.default: got nan", "a finite number"),
    parameter("when-nan", "rho: {low: 0, high: 1, when: {lr: .nan}}", "rho.when.lr: got nan", "a finite number"),
    parameter("negative-rho-range", "rho: {low: -1, high: 1}", "parameters.rho.low: got -1", "a finite number >= 0"),
    parameter("negative-rho-choice", "rho: {choices: [0, -0.5]}", "rho.choices: got -0.5", "a finite number >= 0"),
    parameter(
        "default-outside", "rho: {low: 0, high: 1, default: 2}", "rho.default: default 2 is outside", "from 0 to 1"
    ),
    parameter("default-no-choice", "rho: {choices: [1, 2], default: 3}", "rho.default: default 3 is", "one of 1, 2"),
    parameter("grid-outside", "rho: {low: 0, high: 1, grid: [0.5, 3]}", "rho.grid: the grid value 3", "from 0 to 1"),
    parameter("grid-empty", "rho: {low: 0, high: 1, grid: []}", "rho.grid: got []", "at least one value"),
    parameter("grid-twice", "rho: {low: 0, high: 1, grid: [1, 1.0]}", "rho.grid: got [1, 1.0]", "each once"),
    parameter("choices-empty", "rho: {choices: []}", "rho.choices: got []", "at least one value"),
    parameter("choices-twice", "rho: {choices: [1, 2, 1.0]}", "rho.choices: got [1, 2, 1.0]", "each once"),
    parameter("choices-and-low", "rho: {choices: [1], low: 0}", "rho.low: low stands beside choices", "either"),
    parameter("choices-and-log", "rho: {choices: [1], log: true}", "rho.log: log stands beside choices", "either"),
    parameter("step-with-log", "rho: {low: 1, high: 2, log: true, step: 1}", "rho.step: step stands beside log: true"),
    parameter(
        "step-zero", "rho: {low: 1, high: 2, step: 0}", "rho.step: got 0", "a number > 0 that divides high - low = 1"
    ),
    parameter("step-negative", "rho: {low: 1, high: 2, step: -1}", "rho.step: got -1", "a number > 0 that divides"),
    parameter("step-cut", "rho: {low: 1, high: 2, step: 0.4}", "rho.step: got 0.4", "that divides high - low = 1"),
    parameter("step-too-long", "rho: {low: 1, high: 2, step: 5}", "rho.step: got 5", "that divides high - low = 1"),
    parameter("int-half-low", "interval: {low: 1.5, high: 4, int: true}", "interval.low: int: true", "whole numbers"),
    parameter("int-half-step", "interval: {low: 1, high: 4, int: true, step: 0.5}", "interval.step: int: true", "0.5"),
    parameter("whole-without-int", "interval: {low: 1, high: 4}", "interval.int: interval takes whole", "int: true"),
    parameter("switch-range", "nesterov: {low: 0, high: 1}", "parameters.nesterov.low: got 0", "true or false"),
    parameter("no-such-base", "base: {choices: [sgd, lion]}", "parameters.base.choices: got 'lion'", "sgd, adam"),
    parameter("ema-range", "ema_decay: {low: 0.5, high: 1}", "ema_decay.high: got 1", "< 1"),
    edit(
        "no-effect",
        RHO,
        "",
        "parameters.num_shards: nothing depends on num_shards: the arm's rho is 0.0",
        "rho above 0, or no num_shards among the parameters",
        "nothing depends on sigma",
        mistakes=2,
    ),
    edit(
        "no-effect-at-0",
        SIGMA,
        "      sigma: {choices: [0]}\n      ema_decay: {low: 0.5, high: 0.9} # <-\n",
        "arms.sam.parameters.ema_decay: nothing depends on ema_decay: the arm's sigma is 0",
        "F-SAM's is 1",
    ),
    parameter(
        "no-effect-of-alpha", "alpha: {low: 0.1, high: 2}", "the arm's combine is 'perturbed'", "combine gsam, or"
    ),
    edit(
        "no-effect-then",
        SIGMA,
        "      sigma: {choices: [0, 1]}\n      ema_decay: {low: 0.5, high: 0.9, when: {sigma: 0}} # <-\n",
        "nothing depends on ema_decay: the arm's sigma is 0 then",
    ),
    edit(
        "no-effect-further-on",
        SIGMA,
        "      sigma: {choices: [0, 1]}\n      interval: {choices: [1, 2], when: {sigma: 0}}\n"
        "      ema_decay: {low: 0.5, high: 0.9, when: {interval: 2}} # <-\n",
        "nothing depends on ema_decay: the arm's sigma is 0 then",
    ),
    parameter(
        "base-then",
        "base: {choices: [sgd, adam]}\n      beta1: {low: 0.5, high: 0.9, when: {base: sgd}} # <-",
        "base sgd has no hyperparameter 'beta1'",
    ),
    fixed(
        "nesterov-alone",
        "momentum: 0\n      nesterov: true",
        "fixed.nesterov: got true where the arm's momentum is 0",
        "or a momentum above 0",
    ),
    fixed("ema-one", "ema_decay: 1", "arms.sam.fixed.ema_decay: got 1;", "a finite number >= 0 and < 1"),
    fixed("ema-negative", "ema_decay: -0.1", "fixed.ema_decay: got -0.1", "a finite number >= 0 and < 1"),
    fixed("fixed-nan", "weight_decay: .nan", "fixed.weight_decay: got nan", "a finite number"),
    fixed("fixed-inf", "weight_decay: -.inf", "fixed.weight_decay: got -inf", "a finite number"),
    fixed("fixed-huge", f"weight_decay: 1{'0' * 400}", "fixed.weight_decay: got 1000", "a finite number"),
    fixed("5000-digits", f"interval: {'7' * 5000}", "fixed.interval: got a number of 5,000 digits", "at most 1,000"),
    fixed(
        "5000-digits-text", f"interval: '{'7' * 5000}'", "interval: got '777", "(5002 characters)", "whole number >= 1"
    ),
    fixed("lr-twice", "lr: 0.1", "arms.sam.fixed.lr: 'lr' is both searched and fixed", "one of the two"),
    Case(
        "rho-negative", BASE.replace(RHO, "").replace(FIXED, "      rho: -0.1 # <-\n"), ("fixed.rho: got -0.1", ">= 0")
    ),
]

# BASE without the parameter that the case gives the arm in another form.
SHARD_COUNTS = [
    edit(f"shards-{name}", SHARDS, f"      num_shards: {value} # <-\n", *says)
    for name, value, *says in [
        ("zero", "{choices: [0, 4]}", "num_shards.choices: got 0", "a whole number >= 1"),
        ("negative", "{choices: [1, -1]}", "num_shards.choices: got -1", "a whole number >= 1"),
        ("half", "{choices: [1, 2.5]}", "num_shards.choices: got 2.5", "a whole number >= 1"),
        ("many", "{choices: [1, 256]}", "got num_shards up to 256 with a batch_size of 128", "from 1 to 128"),
        ("range-many", "{low: 1, high: 256, int: true}", "got num_shards up to 256", "from 1 to 128"),
        ("range-half", "{low: 1, high: 8}", "num_shards.int: num_shards takes whole numbers", "int: true"),
        ("range-zero", "{low: 0, high: 8, int: true}", "num_shards.low: got 0", "a whole number >= 1"),
    ]
]
SHARD_COUNTS += [
    Case(f"fixed-shards-{value}", BASE.replace(SHARDS, "").replace(FIXED, f"      num_shards: {value} # <-\n"), says)
    for value, says in {
        "0": ("arms.sam.fixed.num_shards: got 0", "a whole number >= 1"),
        "-1": ("arms.sam.fixed.num_shards: got -1", "a whole number >= 1"),
        "2.5": ("arms.sam.fixed.num_shards: got 2.5", "a whole number >= 1"),
        "true": ("arms.sam.fixed.num_shards: got true", "a whole number >= 1"),
        "256": ("arms.sam.fixed.num_shards: got num_shards up to 256", "a batch_size of 128", "from 1 to 128"),
    }.items()
]
SHARD_COUNTS += [
    Case(
        "no-normalization",
        BASE.replace(FIXED, "      perturb: normalization # <-\n"),
        ("arms.sam.fixed.perturb", "needs normalisation layers", "all"),
    ),
    edit(
        "shared-shards", "  momentum: 0.9", "  num_shards: 300 # <-", "optimizer.num_shards: got num_shards up to 300"
    ),
    edit(
        "small-batch",
        SHARDS,
        "      batch_size: {choices: [2, 64]}\n      num_shards: {choices: [1, 4]} # <-\n",
        "num_shards up to 4 with a batch_size of 2",
        "from 1 to 2",
    ),
]


def task(name: str, reference: str, *says: str) -> Case:
    return edit(
        name, "  name: digits\n  model: mlp\n  label_noise: 0.3", f"  name: {reference} # <-", "task.name: ", *says
    )


def phase(name: str, line: str, *says: str) -> Case:
    return edit(name, "  - sampler: qmc\n", f"  - sampler: {line} # <-\n", *says)


NAMED = [
    task("no-task", "digitz", "no task named 'digitz'", "breast_cancer", "did you mean 'digits'?"),
    task("long-task", "d" * 5000, "got 'ddd", "(5002 characters)", "package.module:ClassName"),
    task("no-module", "hps_absent:Task", "there is no module 'hps_absent'"),
    task("no-function", "hps_own:trian", "hps_own.py has no 'trian'", "did you mean 'train'?"),
    task("not-a-task", "hps_own:number", "is a int", "a function train(params, seed, report)"),
    task("odd-task", "'os; rm -rf /:x'", "must look like package.module:ClassName"),
    task("lacks-methods", "hps_own:Lacking", "the class lacks metrics, data, model, measure, chance"),
    task("abstract", "hps_own:HalfAbstract", "the class lacks model", "Classification"),
    task("wrong-arguments", "hps_own:wrong_arguments", "must take (params, seed, report), but takes (params)"),
    task("import-raises", "hps_raises:T", "importing hps_raises failed: RuntimeError: no licence found"),
    task("import-exits", "hps_exits:T", "importing 'hps_exits:T' ended the program (exit code 3)"),
    task("import-syntax", "hps_syntax:T", "importing hps_syntax failed: SyntaxError"),
    task("import-needs", "hps_needs:T", "no module 'hps_not_installed_anywhere'; install it"),
    phase("no-sampler", "qcm", "sampling.0.sampler: unknown sampler 'qcm'", "grid, random, qmc, tpe", "'qmc'?"),
    edit(
        "no-space", "space: plain", "space: plane # <-", "arms.plain.space: no search space named 'plane'", "'plain'?"
    ),
    edit("no-space-file", "space: plain", "space: my/space.yaml # <-", "arms.plain.space: no search space", "a path"),
    edit("long-space", "space: plain", f"space: {'p' * 5000} # <-", "no search space named 'ppp", "(5002 characters)"),
    edit("empty-space", "space: plain", "space: '' # <-", "arms.plain.space: no search space named ''"),
    edit("no-objective", "{val_accuracy:", "{val_acuracy: # <-\n", "unknown metric 'val_acuracy'", "'val_accuracy'?"),
    edit("test-objective", "{val_accuracy:", "{test_accuracy: # <-\n", "selecting on the test set", "'val_accuracy'?"),
    edit(
        "cost-first",
        "{val_accuracy: maximize, flops: minimize}",
        "{flops: minimize} # <-",
        "objectives.flops: 'flops' is a cost",
        "a metric first",
    ),
    edit(
        "beta-of-sgd", "  momentum: 0.9", "  beta1: 0.8 # <-", "optimizer.beta1: base sgd has no hyperparameter", "lr"
    ),
    edit("epochs-twice", "  momentum: 0.9", "  epochs: 3 # <-", "optimizer.epochs: stands in the wrong", "task.epochs"),
    Case(
        "momentum-of-adamw",
        BASE.replace("  momentum: 0.9\n", "")
        .replace("base: sgd", "base: adamw")
        .replace(RHO, "      momentum: {low: 0.5, high: 0.9} # <-\n" + RHO),
        ("arms.sam.parameters.momentum: base adamw has no hyperparameter 'momentum'", "beta1"),
    ),
    edit("option-type", "label_noise: 0.3", "label_noise: '0.3' # <-", "task.label_noise: got '0.3'", "a number"),
    edit("option-range", "label_noise: 0.3", "label_noise: 1.5 # <-", "task.label_noise: got 1.5", "a share in [0, 1)"),
    edit("option-of-nan", "label_noise: 0.3", "label_noise: .nan # <-", "task.label_noise: got nan", "finite numbers"),
    edit("option-literal", "model: mlp", "model: mpl # <-", "task.model: got 'mpl'", "mlp, convnet", "'mlp'?"),
    Case(
        "option-missing",
        BASE.replace(TASK, "task: {name: 'hps_own:NeedsFile'} # <-\n"),
        ("task.path: is missing",),
    ),
    Case(
        "option-refused",
        BASE.replace(TASK, "task: {name: 'hps_own:NeedsFile', path: absent.csv} # <-\n"),
        ("task: hps_own:NeedsFile refuses its options: FileNotFoundError", "absent.csv"),
    ),
    Case(
        "option-of-own-task",
        BASE.replace(TASK, "task: {name: 'hps_own:NeedsFile', path: a, depht: 3} # <-\n"),
        ("task.depht: unknown key 'depht'", "name, epochs, batch_size, path, depth, schema", "did you mean 'depth'?"),
    ),
]

BAD_NAMES = [
    edit(f"name-{name}", "name: base\n", f"name: {json.dumps(value)} # <-\n", "name: got the name ", shown, *NAMES)
    for name, value, shown in [
        ("dots", "..", "'..'"),
        ("slash", "a/b", "'a/b'"),
        ("script", "<script>alert(1)</script>", "'<script>alert(1)</script>'"),
        ("empty", "", "''"),
        ("long", "a" * 100, "(102 characters)"),
        ("dash", "-rf", "'-rf'"),
        ("newline", "a\n", r"'a\n'"),
        ("nul", "a\0", r"'a\x00'"),
        ("space", "a b", "'a b'"),
        ("unicode", "naïve", "'naïve'"),
    ]
]
BAD_NAMES += [
    edit(f"arm-name-{name}", "  plain:\n", f"  {json.dumps(value)}: # <-\n", "arms.", f"got the name {shown}", *NAMES)
    for name, value, shown in [
        ("dots", "..", "'..'"),
        ("slash", "../up", "'../up'"),
        ("empty", "", "''"),
        ("long", "a" * 100, "'aaa"),
        ("very-long", "a" * 1000, "'aaa"),
        ("escape", "\x1b[31mred", r"'\x1b[31mred'"),
        ("newline", "a\nb", r"'a\nb'"),
    ]
]
BAD_NAMES += [
    fixed("fixed-name", "'a b': 1", "arms.sam.fixed.a b: got the name 'a b'", *NAMES),
    parameter("parameter-name", "'../x': {low: 1, high: 2}", "got the name '../x'", *NAMES),
    edit("objective-name", "{val_accuracy:", "{'<b>': # <-\n", "objectives.<b>: got the name '<b>'", *NAMES),
]

FILES = [
    Case("empty-file", "", ("study.yaml: the file is empty",)),
    Case("comment-only", "# nothing\n\n# here\n", ("study.yaml: the file is empty",)),
    Case("only-dashes", "---\n", ("study.yaml: the file is empty",)),
    Case("list", "- name: a\n", ("study.yaml:1: must be a mapping (key: value) at the top", "[{'name': 'a'}]")),
    Case("scalar", "# first\nhello\n", ("study.yaml:2: must be a mapping (key: value) at the top", "'hello'")),
    Case("binary", bytes(range(256)) * 4, ("study.yaml:", "is not UTF-8 text")),
    Case("nul", BASE.replace("mlp", "m\0lp"), ("study.yaml:5: not valid YAML: the character #x0000",)),
    Case("latin-1", BASE.replace("A right", "Ein schönes").encode("latin-1"), ("study.yaml:2: is not UTF-8", "0xf6")),
    Case("utf-16", BASE.encode("utf-16"), ("study.yaml:1: is not UTF-8 text",)),
    Case("ten-megabytes", b"# " + b"x" * 10_000_000, ("study.yaml: has 10,000,002 bytes; at most 1,000,000",)),
    Case(
        "alias-bomb",
        "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)),
        ("study.yaml: expands to more than 20,000 values",),
    ),
    Case(
        "merge-bomb",
        "a0: &a0 {x: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}\n" for n in range(9)),
        ("study.yaml: expands to more than 20,000 values",),
    ),
    Case("megabyte-of-brackets", "a: " + "[" * 900_000, ("study.yaml: nested deeper than 40 levels",)),
    Case("megabyte-of-values", "a: [" + "x, " * 300_000 + "]", ("study.yaml: holds more than 20,000 values",)),
    Case("recursive-alias", "name: &a [1, *a]\n", ("study.yaml:1: nested deeper than 40 levels, or an alias",)),
    Case("recursive-mapping", "name: a\narms: &a {b: *a}\n", ("study.yaml:2: nested deeper than 40 levels, or an",)),
    Case("deep-list", "name: " + "[" * 10_000 + "]" * 10_000, ("study.yaml: nested deeper than 40 levels",)),
    Case("deep-mapping", "name: " + "{a: " * 60 + "1" + "}" * 60, ("study.yaml: nested deeper than 40 levels",)),
    edit(
        "python-tag",
        "description: A right study",
        "description: !!python/object/apply:os.system ['true'] # <-",
        "description: got the type tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        "without type tags",
    ),
    edit(
        "binary-tag", "description: A right study", "description: !!binary aGk= # <-", "description: got the type tag"
    ),
    edit("set-tag", "confirm: {top: 1, seeds: 2}", "confirm: !!set {top} # <-", "confirm: got the type tag"),
    edit("int-tag", "seeds: 2\nc", "seeds: !!int many\nc", "study.yaml", "not valid YAML", "'many'"),
    Case("two-documents", BASE + "---\nname: b\n", ("study.yaml:36: not valid YAML: expected a single document",)),
    edit("tab", "  name: digits", "\tname: digits # <-", "not valid YAML: ", r"'\t'"),
    Case(
        "unclosed",
        BASE.replace("concurrent: 1}", "concurrent: 1"),
        (":35: not valid YAML: ", "began on line 34", "','"),
    ),
    edit("unknown-alias", "seeds: 2\nc", "seeds: *nothing # <-\nc", "not valid YAML: ", "undefined alias 'nothing'"),
    edit("list-as-key", "description: A right", "? [a]\n: A right", "study.yaml:2: a key must be plain text"),
    edit("key-twice", "seeds: 2\nc", "seeds: 2\nseeds: 3 # <-\nc", "the key 'seeds' is given twice, first on line 31"),
    edit("arm-twice", "  plain:\n", "  sam: # <-\n", "arms.sam: the key 'sam' is given twice, first on line 14"),
    parameter(
        "deep-key-twice", "rho: {low: 1, high: 2, low: 0}", "arms.sam.parameters.rho.low: the key 'low' is given t"
    ),
    edit(
        "number-key-twice", "  plain:\n    space: plain\n", "  1: {space: plain}\n  '1': {space: plain} # <-\n", "twice"
    ),
]

WHEN = [
    parameter(
        "when-unknown",
        "rho: {low: 1, high: 2, when: {sigm: 1}}",
        "rho.when.sigm: 'sigm' is not in the arm",
        "lr, num_shards, sigma, adaptive",
        "'sigma'?",
    ),
    parameter("when-impossible", "rho: {low: 1, high: 2, when: {num_shards: 3}}", "num_shards can never be 3", "1, 4"),
    parameter("when-off-step", "rho: {low: 1, high: 2, when: {sigma: 0.7}}", "sigma can never be 0.7", "from -1 to 1"),
    parameter(
        "when-of-a-range",
        "rho: {low: 1, high: 2, when: {lr: 0.1}}",
        "rho.when.lr: lr is a range of numbers, of which 0.1 is never drawn: rho would not be searched",
        "lr with choices, int or step; or lr in fixed",
    ),
    parameter("when-itself", "rho: {low: 1, high: 2, when: {rho: 1}}", "rho.when.rho: rho names itself", "lr, num_"),
    edit(
        "when-circle",
        RHO + SHARDS,
        "      rho: {low: 1, high: 2, when: {num_shards: 1}}\n      num_shards: {choices: [1, 4], when: {rho: 1}}\n",
        ":15: arms.sam.parameters: the conditions of ",
        "rho",
        "num_shards",
        "circle",
    ),
]

GRID = [
    edit(
        "grid-without",
        "  - sampler: qmc\n",
        "  - sampler: grid # <-\n",
        "0.sampler: arm sam: ",
        "for rho",
        "arm plain: ",
        "for lr",
        "a grid for each parameter, or another sampler",
        mistakes=2,
    ),
    Case(
        "grid-too-fine",
        BASE.replace(
            "    space: plain\n",
            "    parameters: {epochs: {low: 1, high: 1000000000, int: true}}\n"
            "    sampling:\n      - sampler: grid # <-\n",
        ),
        ("arms.plain.sampling.0.sampler: arm plain: a grid of 1e+09 values from 1 to 1e+09 is too fine", "another"),
    ),
    Case(
        "grid-too-many",
        BASE.replace(
            "    space: plain\n",
            "    parameters: {batch_size: {low: 1, high: 3000, int: true}, "
            "epochs: {low: 1, high: 3000, int: true}}\n    sampling:\n      - sampler: grid # <-\n",
        ),
        ("arms.plain.sampling.0.sampler: arm plain: a grid of 9,000,000 cells", "at most 1,000,000 cells"),
    ),
    Case(
        "grid-options",
        BASE.replace(
            "    space: plain\n",
            "    parameters: {epochs: {choices: [1, 2]}}\n"
            "    sampling:\n      - {sampler: grid, options: {shuffle: true}} # <-\n",
        ),
        ("arms.plain.sampling.0.options.shuffle: unknown option 'shuffle'", "grid has no options"),
    ),
]


def sampler_options(name: str, sampler: str, options: str, *says: str) -> Case:
    new = f"  - sampler: {sampler}\n    configurations: 2\n    options: {options} # <-\n"
    old = "  - sampler: tpe\n    configurations: 2\n    options: {n_startup_trials: 2}\n"
    return edit(name, old, new, *says)


SAMPLERS = [
    sampler_options("gp-option", "gp", "{n_startup: 3}", "options.n_startup: unknown option", "'n_startup_trials'?"),
    sampler_options("gp-zero", "gp", "{n_startup_trials: 0}", "got 0", "a whole number >= 1"),
    sampler_options("nsga2-share", "nsga2", "{crossover_prob: 1.5}", "got 1.5", "a finite number >= 0 and <= 1"),
    sampler_options("nsga2-name", "nsga2", "{crossover: blx}", "got 'blx'", "undx, vsbx"),
    sampler_options(
        "nsga2-parents", "nsga2", "{population_size: 2, crossover: undx}", "nsga2 refuses its options", "equal to 3"
    ),
    edit(
        "cmaes-objectives-choices",
        "  - sampler: tpe\n    configurations: 2\n    options: {n_startup_trials: 2}\n",
        "  - sampler: cmaes # <-\n    configurations: 2\n",
        "sampling.1.sampler: cmaes takes one objective; the study has val_accuracy, flops",
        "sampling.1.sampler: arm sam: num_shards has choices",
        "another sampler: tpe, gp or nsga2, or num_shards in the arm's fixed",
        mistakes=2,
    ),
    Case(
        "cmaes-condition",
        BASE.replace(", flops: minimize", "")
        .replace(SHARDS, "      interval: {low: 1, high: 4, int: true, when: {adaptive: true}}\n")
        .replace("sampler: tpe", "sampler: cmaes # <-")
        .replace("{n_startup_trials: 2}", "{popsize: 4}"),
        ("sampling.1.sampler: arm sam: interval has a condition (when)", "ranges that are always searched"),
    ),
    Case(
        "cmaes-both",
        BASE.replace(", flops: minimize", "")
        .replace(SHARDS, "")
        .replace("sampler: tpe", "sampler: cmaes")
        .replace("{n_startup_trials: 2}", "{use_separable_cma: true, lr_adapt: true} # <-"),
        ("sampling.1.options: cmaes refuses its options: use_separable_cma and lr_adapt are both true",),
    ),
]

FUNCTIONS = [
    function(
        "function-optimizer", "arms:\n", "optimizer: {lr: 0.1} # <-\narms:\n", "optimizer: a training function has"
    ),
    function(
        "function-epochs", ":train'}", ":train', epochs: 3} # <-", "task.epochs: a training function takes no", "fixed"
    ),
    function(
        "function-compile",
        "resources: {",
        "resources: {compile: true, ",
        "resources.compile: got true; allowed: auto: a training function computes as it likes",
    ),
    function("function-option", ":train'}", ":train', width: 3} # <-", "task.width: unknown key 'width'", "name"),
    function("function-cost-first", "{score: maximize}", "{seconds: minimize} # <-", "'seconds' is a cost", "a metric"),
]

OVERRIDES = [
    option("set-nothing", "", "must look like a.b.0.c=VALUE"),
    option("set-no-value", "seeds", "must look like a.b.0.c=VALUE"),
    option("set-no-key", "=3", "must look like a.b.0.c=VALUE"),
    option("set-gap", "task..epochs=3", "must look like a.b.0.c=VALUE"),
    option("set-deep", ".".join("a" * 5000) + "=1", "has 5,000 keys; at most 40"),
    option("set-bad-yaml", "seeds=[1", "not valid YAML"),
    option("set-two-documents", "seeds=1\n---\n2", "not valid YAML"),
    option("set-python-tag", "seeds=!!python/name:os.system", "type tag"),
    option("set-unknown", "sed=3", "sed: unknown key 'sed' (value 3)", "did you mean 'seeds'?"),
    option("set-unknown-deep", "arms.sam.fixed.rhoo=1", "arms.sam.fixed.rhoo: unknown hyperparameter 'rhoo'", "'rho'?"),
    option("set-wrong", "arms.sam.fixed.weight_decay=-1", "arms.sam.fixed.weight_decay: got -1", ">= 0"),
    option("set-mapping", "arms.sam.fixed={adaptive: maybe}", "arms.sam.fixed.adaptive: got 'maybe'", "true or false"),
    option("set-list-name", "sampling.first.sampler=tpe", "sampling is a list of 2, and 'first'", "from 0 to 1"),
    option("set-list-end", "sampling.2.sampler=tpe", "sampling is a list of 2, and '2' is not in it", "from 0 to 1"),
    option("set-list-before", "sampling.-1.sampler=tpe", "sampling is a list of 2, and '-1'", "from 0 to 1"),
    option("set-list-superscript", "sampling.².sampler=tpe", "sampling is a list of 2, and '²'", "from 0 to 1"),
    option("set-below-value", "seeds.0=3", "seeds is 2, which has no key '0'"),
    option("set-below-space", "arms.plain.space.fixed=1", "arms.plain.space is 'plain', which has no key 'fixed'"),
    option("set-empty", "seeds=", "seeds: got null"),
    option("set-no-arm", "arms.sma.fixed.lr=0.1", "no arm is called 'sma'", "arms.sma={…}", "did you mean 'sam'?"),
    option("set-new-arm", "arms.new={fixed: {lr: 0}}", "arms.new.fixed.lr: got 0;", "a finite number > 0"),
    option("set-digits", f"seeds={'9' * 5000}", "got a number of 5,000 digits"),
    option("set-newlines", "name=a\nname: b", "--set name=a name: b: not valid YAML: "),
    option("set-escape", "name=\x1b[31m", "not valid YAML"),
]

CASES = [
    *UNKNOWN_KEYS,
    *TYPES,
    *RANGES,
    *SHARD_COUNTS,
    *NAMED,
    *BAD_NAMES,
    *FILES,
    *WHEN,
    *GRID,
    *SAMPLERS,
    *FUNCTIONS,
    *OVERRIDES,
]

# Every word that only a programmer of hpsearch would understand.
NOT_FOR_USERS = re.compile(
    r"Traceback|pydantic|Input should be|ValidationError|<[\w.]+ object| at 0x[0-9a-f]{6}|<class|Errno -", re.IGNORECASE
)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a search space and the user's own modules; what they leave in Python is taken away."""
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "plain.yaml").write_text(PLAIN_SPACE)
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


def read(reference: str = "study.yaml", sets: Sequence[str] = ()) -> Checked:
    return check_study(*load_study(reference, sets), Path.cwd())


def write(text: str | bytes) -> None:
    Path("study.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())


def refusal(reference: str = "study.yaml", sets: Sequence[str] = ()) -> str:
    with pytest.raises(InputError) as caught:
        read(reference, sets)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_base_is_right() -> None:
    write(BASE)
    assert list(read().study.arms) == ["sam", "plain"]


def test_the_base_of_training_functions_is_right() -> None:
    write(function("right", "seeds: 2\n", "seeds: 3\n", "").text)
    assert read().identity.function


def test_case_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_wrong_study(case: Case) -> None:
    write(case.text)
    message = refusal(sets=case.sets)
    for part in case.says:
        assert part in message
    assert not NOT_FOR_USERS.search(message)
    lines = message.split("\n")
    assert len(lines) == case.mistakes
    for line in lines:
        assert line.isprintable()
        assert len(line) < 600
        assert line.startswith("--set " if case.sets else "study.yaml:")
    if isinstance(case.text, str) and "# <-" in case.text:
        number = case.text[: case.text.index("# <-")].count("\n") + 1
        assert message.startswith(f"study.yaml:{number}: ")


ANYTHING = [
    "null",
    "true",
    "no",
    "0",
    "-1",
    "1",
    "2.5",
    "1e3",
    "-0.0",
    ".nan",
    ".inf",
    "-.inf",
    "1" + "0" * 400,
    "7" * 5000,
    "''",
    "text",
    "'24'",
    "2024-01-01",
    "1:30",
    "0x1f",
    "[]",
    "[1]",
    "[null]",
    "[[1]]",
    "{}",
    "{a: 1}",
    "{a: {b: [1, .nan]}}",
    "{low: 1, high: 2}",
    "{choices: [a, b]}",
    "'" + "x" * 5000 + "'",
    '"\\0\\e\\n\\ud800"',
    "[" + "1, " * 500 + "]",
    "{'': 1}",
    "{'../x': {lr: 1}}",
]


BASE_DOCUMENT = parse_yaml(BASE, "study.yaml")


def every_key(value: object, path: str = "") -> Iterator[str]:
    """The --set path of each value below: 'task', 'task.name', …, 'sampling.0.sampler'."""
    if path:
        yield path
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in below:
        yield from every_key(part, f"{path}.{key}" if path else str(key))


@pytest.mark.parametrize("key", [*every_key(BASE_DOCUMENT.data), "recorded", "configurations", "arms.sam.sampling"])
def test_any_value_at_any_key_is_right_or_refused_in_few_words(key: str) -> None:
    refused = 0
    for value in ANYTHING:
        try:
            study, document = build_study(copy.deepcopy(BASE_DOCUMENT), [f"{key}={value}"], [Path()])
            checked = check_study(study, document, Path())
        except InputError as error:
            refused += 1
            assert not NOT_FOR_USERS.search(str(error))
            assert all(line.isprintable() and len(line) < 600 for line in str(error).split("\n"))
        else:
            # What is accepted can be written into the run folder, read back, and hashed.
            assert parse_study(study.to_yaml()) == study
            for arm in study.arms:
                checked.identity.configuration_id(arm, {})
    assert refused >= 12


def test_mistakes_in_different_places_are_all_told() -> None:
    write(BASE.replace("seeds: 2\nc", "seeds: 0\nc").replace("cpus: 1", "cpus: 0").replace("epochs: 2", "epochs: x"))
    lines = refusal().split("\n")
    assert [line.split(": ")[1] for line in lines] == ["task.epochs", "seeds", "resources.cpus"]


def test_many_mistakes_are_cut() -> None:
    write(BASE.replace(FIXED, "".join(f"      wrong{number}: 1\n" for number in range(100))))
    lines = refusal().split("\n")
    assert len(lines) == 21
    assert lines[-1].endswith("and 80 more mistakes")


def test_mistake_of_several_arms_is_told_once() -> None:
    write(BASE.replace("  momentum: 0.9", "  beta1: 0.9"))
    assert refusal().count("beta1:") == 1


def test_mistake_in_a_search_space_file_names_that_file(workplace: Path) -> None:
    (workplace / "search_spaces" / "plain.yaml").write_text(PLAIN_SPACE.replace("high: 0.5", "high: 0.001"))
    write(BASE)
    assert refusal().startswith("search_spaces/plain.yaml:3: parameters.lr.low: `low < high` must hold")


def test_search_space_with_a_key_searched_and_fixed(workplace: Path) -> None:
    (workplace / "search_spaces" / "plain.yaml").write_text(PLAIN_SPACE + "fixed:\n  lr: 0.1\n")
    write(BASE)
    assert refusal().startswith("search_spaces/plain.yaml:5: fixed.lr: 'lr' is both searched and fixed")


def test_missing_file() -> None:
    assert refusal("absent.yaml").startswith("'absent.yaml': no such file, and no study of that name")


def test_missing_file_has_the_nearest_shipped_study() -> None:
    assert "did you mean 'quickstart'?" in refusal("quikstart")


def test_directory(workplace: Path) -> None:
    (workplace / "folder.yaml").mkdir()
    assert refusal("folder.yaml") == "folder.yaml: is a directory; give a YAML file"
    assert refusal("search_spaces") == "search_spaces: is a directory; give a YAML file"


def test_very_long_reference() -> None:
    assert len(refusal("a" * 5000)) < 600


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file() -> None:
    write(BASE)
    Path("study.yaml").chmod(0)
    assert refusal() == "study.yaml: cannot be read: Permission denied"


def test_the_command_refuses_and_makes_nothing(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, and once as a user starts it: a process imports for seconds."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = ["misspelt-required", "deep-list", "import-raises", "momentum-of-adamw", "set-wrong"]
    cases = {case.name: case for case in CASES if case.name in names}
    expected = {}
    for name, case in cases.items():
        Path(f"{name}.yaml").write_text(str(case.text))
        expected[name] = f"error: {refusal(f'{name}.yaml', case.sets)}\n"
    commands = {
        name: ["run", f"{name}.yaml", "--out", f"made-{name}"] + [part for s in case.sets for part in ("--set", s)]
        for name, case in cases.items()
    }
    assert sorted(commands) == sorted(names)
    before = sorted(workplace.iterdir())
    for name in names:
        result = CliRunner().invoke(app, commands[name])
        assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected[name])
    real = [sys.executable, "-B", "-m", "hpsearch.cli", *commands["import-raises"]]
    done = subprocess.run(real, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected["import-raises"])
    assert sorted(workplace.iterdir()) == before
