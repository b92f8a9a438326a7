"""What planning adds, by the number of trials: to a run whose trials take no time, and to one that begins again on as
many results; and `hpsearch status` of them. Seconds of the processor, without Ray.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpsearch.check import Checked
from hpsearch.checkpoints import remove_checkpoints
from hpsearch.identity import Identity
from hpsearch.planning import Pack, Planner
from hpsearch.results import Result, RunFolder, belonging, read_results
from hpsearch.study import Recorded, parse_study

SEEDS = 3
AT = (1_000, 2_000, 5_000, 10_000)  # trials
CASES = (("random", 1), ("random", 20), ("tpe", 1))  # sampler, arms
TASK = {"name": "trivial:train", "semantics": 1, "options": {}}


def main() -> None:
    print(f"{'sampler':8} {'arms':>4} {'trials':>7} {'whole run':>10} {'again':>8} {'to read':>8} {'status':>8}")
    for sampler, arms in CASES:
        for trials in AT:
            first = _checked("random", trials // SEEDS // arms, arms)
            whole, results = _run(first, sampler)
            with tempfile.TemporaryDirectory() as folder:
                more = _checked(sampler, trials // SEEDS // arms + 1, arms)
                read, again = _again(Path(folder), more, results)
                status = _status(folder)
            whole_text = f"{whole:.2f} s" if sampler == "random" else ""
            print(
                f"{sampler:8} {arms:4} {len(results):7} {whole_text:>10} {again:6.2f} s {read:6.2f} s {status:6.2f} s",
                flush=True,
            )


def _checked(sampler: str, configurations: int, arms: int) -> Checked:
    listed = "\n".join(f"  a{number}: {{parameters: {{x: {{low: 0, high: 1}}}}}}" for number in range(arms))
    study = parse_study(f"""
name: trivial
task: {{name: "trivial:train"}}
arms:
{listed}
sampling: [{{sampler: {sampler}, configurations: {configurations}}}]
seeds: {SEEDS}
objectives: {{val_accuracy: maximize}}
""")
    recorded = Recorded(versions={"hpsearch": "0"}, task={**TASK, "function": True})
    study = study.model_copy(update={"recorded": recorded})
    return Checked(study, lambda params, seed, report: None, Identity(study, TASK, True))


def _run(checked: Checked, sampler: str) -> tuple[float, list[Result]]:
    """Plans and tells everything, with a look at the counts after each pack. The rows say that `sampler` drew them."""
    started, results = time.process_time(), []
    planner = Planner(checked, [])
    while not planner.finished:
        pack = planner.next()
        for result in () if pack is None else _results(pack, sampler):
            planner.tell(result)
            results.append(result)
        planner.counts()
    return time.process_time() - started, results


def _results(pack: Pack, sampler: str) -> list[Result]:
    configuration = pack.configuration
    x = configuration.params["x"]
    return [
        Result(
            trial_id=trial_id,
            configuration_id=configuration.configuration_id,
            arm=configuration.arm,
            params=configuration.params,
            fixed={},
            seed=seed,
            sampling={**configuration.sampling, "sampler": sampler},
            status="complete",
            epochs=1,
            epochs_planned=1,
            metrics={"val_accuracy": 1 - (float(x) - 0.3) ** 2 + 0.01 * seed},
            cost={"backward_samples": None, "flops": None, "seconds": 0.01, "peak_memory_bytes": None},
            curve={"epoch": [1], "val_accuracy": [0.5]},
            host="localhost",
            device="cpu",
            threads=1,
            versions={"hpsearch": "0", "torch": "2"},
            started="2026-01-01T00:00:00+00:00",
            seconds_waiting=0.001,
        )
        for seed, trial_id in pack.seeds.items()
    ]


def _again(folder: Path, checked: Checked, results: list[Result]) -> tuple[float, float]:
    """What a run does before its first new trial but for starting Ray: seconds to read, and in all."""
    with RunFolder(folder) as run_folder:
        run_folder.write_study(checked.study)
        run_folder.append(results)
    (folder / "checkpoints").mkdir()
    started = time.process_time()
    known = belonging(read_results(folder)[0], checked.study, checked.identity)
    read = time.process_time() - started
    remove_checkpoints(folder, known)
    planner = Planner(checked, known)
    assert len(known) == len(results) and planner.next() is not None
    return read, time.process_time() - started


def _status(folder: str) -> float:
    """The whole command, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "hpsearch.cli", "status", folder], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
