"""The view of a run: what it says, and that it fits the terminal."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from hpsearch.display import RunView, describe_pack, describe_seeds, log_line
from hpsearch.running import Running, RunningPack
from hpsearch.status import ArmStatus, RunStatus
from hpsearch.study import parse_study
from hpsearch.tally import Best
from hpsearch.training.outcome import Progress

HEIGHT = 24


def a_study(arms):
    listed = "".join(f"  {arm}: {{parameters: {{rho: {{low: 0.01, high: 2.0}}}}}}\n" for arm in arms)
    return parse_study(
        f"name: seen\ntask: {{name: digits}}\narms:\n{listed}sampling: [{{sampler: random, configurations: 200}}]\n"
        "seeds: 3\nobjectives: {val_accuracy: maximize}\n"
    )


def a_run(count=20, packs=8, running=True, left=5000.0, share=0.0):
    """Ten thousand trials and more; the arms' names begin alike and are as long as may be."""
    names = [f"{'an-arm-with-a-long-name-' * 2}{number:02}" for number in range(count)]
    arms = {}
    for number, name in enumerate(names):
        statuses = {"complete": 280, "diverged": 12, "collapsed": 3, "failed": number % 2, "stopped": 5}
        arms[name] = ArmStatus(
            500, 500 if number in (1, 2) else 300, statuses, Best({}, 0.9 + number / 1000, 0.01, 3, True)
        )
    now = time.time()
    params = {"rho": 0.123456, "ema_decay": 0.987654, "lr": 0.1, "num_shards": 4, "base": "sgd", "schedule": "cosine"}
    trained = tuple(
        RunningPack(names[n % count], params, (0, 1, 2), now - 4000 / (n + 1), 1, 3, Progress(3 * share, 0))
        for n in range(packs)
    )
    driver = Running(4711, "host", now - 9000, now, left, None, trained, {}, {}) if running else None
    errors = tuple((names[0], f"RuntimeError: {'why ' * 50}{n}") for n in range(30))
    return RunStatus(
        a_study(names), Path("runs/seen"), running, arms, errors=errors, now=driver, last_result=now - 7200
    )


def drawn(status, width, whole=False):
    out = io.StringIO()
    Console(file=out, width=width, height=HEIGHT, force_terminal=True, color_system=None).print(
        RunView(status, whole=whole)
    )
    return out.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("packs", [0, 1, 8, 64])
@pytest.mark.parametrize("count", [1, 3, 20, 100])
def test_the_live_view_fits_the_terminal_whatever_there_is(width, packs, count):
    lines = drawn(a_run(count, packs), width)
    assert len(lines) < HEIGHT
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_view_has_what_matters(width):
    lines = drawn(a_run(), width)
    text = "\n".join(lines)
    assert "8 packs in training, the oldest for 1 h 06 min" in lines[0]
    assert "6,400/10,000 trials" in lines[1] and "2 h 30 min so far" in lines[1] and "about 1 h 23 min left" in lines[1]
    shown = [line for line in lines if line.startswith("an-arm")]
    assert len(shown) >= 10 and len({line.split()[0] for line in shown}) == len(shown)  # which is which can be told
    assert not any(line.split()[0].endswith(("-01", "-02")) for line in shown)  # they are done: others matter more
    rest = next(line for line in lines if "more arms" in line)
    hidden = 20 - len(shown)
    assert rest.startswith(f"{hidden} more arms")
    # Nothing is lost in what is left out: the columns add up to all trials.
    at = lines[2].split().index("done"), lines[2].split().index("left")
    numbers = [line.split() for line in shown] + [["arms", *rest.split()[3:]]]
    assert [sum(int(row[column]) for row in numbers) for column in at] == [6400, 3600]
    assert "91.9 ± 1 %" in rest or any("91.9 ± 1 %" in line for line in shown)  # the best of all
    assert "1 h 06 min  an-arm" in text and "seeds 0-2: rho=0.1235" in text and "more packs" in text
    assert "RuntimeError" in lines[-1]
    assert ("diverged" in lines[2]) == (width == 120) and ("untrained" in lines[2]) == (width == 80)


def test_columns_that_count_nothing_are_not_there():
    status = a_run(3)
    quiet = {name: ArmStatus(10, 2, {"complete": 2}, None) for name in status.arms}
    header = drawn(RunStatus(status.study, status.folder, True, quiet), 120)[2]
    assert header.split()[:3] == ["arm", "done", "left"] and "failed" not in header and "stopped" not in header


def test_the_whole_view_has_every_arm_and_how_to_go_on():
    text = "\n".join(drawn(a_run(running=False), 120, whole=True))
    assert all(f"-{number:02} " in text for number in range(20)) and "more arms" not in text
    assert "no driver is running; last result 2 h 00 min ago, 2" in text
    assert "to go on: hpsearch run runs/seen/study.yaml --out runs/seen" in text.replace("\n", " ")
    text = "\n".join(drawn(a_run(), 160, whole=True))
    assert "a driver is running (process 4711 on host), 8 packs in training" in text and "to go on" not in text


def test_names_are_no_markup():
    pack = RunningPack("a", {"kind": "[red]x[/red]"}, (0,), time.time())
    status = a_run(1)
    status = RunStatus(
        status.study,
        Path("[bold]"),
        True,
        status.arms,
        errors=(("a", "[/] bad"),),
        now=Running(1, "h", 0, 0, None, None, (pack,), {}, {}),
    )
    text = "\n".join(drawn(status, 120))
    assert "kind=[red]x[/red]" in text and "[/] bad" in text


def test_a_line_of_a_log_is_short_and_has_the_counts_and_the_best():
    line = log_line(a_run(100, 64))
    assert len(line) < 230 and "\n" not in line
    assert "1200 diverged, 300 collapsed, 500 stopped, 50 failed; about 1 h 23 min left" in line
    assert line.endswith("an-arm-with…long-name-99 99.9 ± 1 % (n=3)")
    nothing = RunStatus(a_study(["a"]), Path("f"), True, {"a": ArmStatus(6, 0, {}, None)})
    assert log_line(nothing) == "seen: 0/6 trials done; time left not known yet"


def test_how_far_packs_are_is_told_where_it_is_known():
    seen, line = drawn(a_run(share=0.345), 120), log_line(a_run(share=0.345))
    assert "8 packs in training, the oldest for 1 h 06 min (34 %)" in line and "for 1 h 06 min (34 %)" in seen[0]
    assert any("1 h 06 min  34 %  an-arm" in each for each in seen)
    assert " %)" not in log_line(a_run())


def test_packs_in_words():
    assert describe_seeds((3, 0, 1, 2, 7)) == "seeds 0-3, 7"
    assert describe_seeds((10000,)) == "seed 10000"
    assert describe_pack(RunningPack("sgd", {}, (0, 1), 0.0)) == "sgd, seeds 0-1: nothing is searched"
