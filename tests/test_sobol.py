"""Ctrl-C while SciPy loads its direction numbers: told, and no wrong points. In processes, which load them anew."""

import subprocess
import sys
import textwrap

import pytest

INTERRUPTED = """
import signal
import numpy

load = numpy.load

def interrupted(*arguments, **options):
    signal.raise_signal(signal.SIGINT)
    return load(*arguments, **options)

def points():
    from hpsearch.sampling import Adaptive, Sequence
    from hpsearch.study import parse_study
    POINTS

numpy.load = interrupted
try:
    print("not told:", points())
except KeyboardInterrupt:
    print("told")
numpy.load = load
print(points())
"""
STUDY = """
study = parse_study(
    "{name: s, task: {name: digits}, arms: {sam: {parameters: {rho: {low: 0.01, high: 1.0}, "
    "lr: {low: 0.01, high: 1.0}}}}, sampling: [{sampler: SAMPLER, configurations: 20}], seeds: 1, "
    "objectives: {loss: minimize}}"
)
"""
QMC = f"""{STUDY.replace("SAMPLER", "qmc")}
points = iter(Sequence(study, "sam", 0))
return [next(points) for _ in range(4)]
"""
GP = f"""{STUDY.replace("SAMPLER", "gp")}
adaptive = Adaptive(study, "sam")
for index in range(12):
    sampling = {{"phase": 0, "index": index, "sampler": "gp", "generation": None, "confirm": False}}
    adaptive.add({{"rho": 0.05 * (index + 1), "lr": 0.9 - 0.05 * index}}, (abs(index - 5),), sampling)
return adaptive.ask(0, 12, 0).params
"""
SURROGATE = """
from hpsearch.analysis.inputs import Inputs
return Inputs(()).uniform(4, 0, columns=2).tolist()
"""


def said(code):
    """The lines that it prints; nothing may be on stderr."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("points", [QMC, GP, SURROGATE], ids=["qmc", "gp", "surrogate"])
def test_ctrl_c_while_the_direction_numbers_are_loaded_is_told_and_spoils_no_point(points):
    code = INTERRUPTED.replace("POINTS", textwrap.indent(points, "    ").strip())
    told, interrupted = said(code)
    assert told == "told"
    left_alone = said(code.replace("numpy.load = interrupted", ""))
    assert left_alone == [f"not told: {interrupted}", interrupted]
