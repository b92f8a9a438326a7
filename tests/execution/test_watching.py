"""One run, watched in every way while a trial of it is held back: nothing depends on how fast anything is."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hpsearch.grafana import PANELS
from hpsearch.results import read_results
from hpsearch.status import read_status

PATIENCE = 1200.0  # seconds after which something hangs; Ray exports metrics every ten

TASK = """
import time
from pathlib import Path

def free(params, seed, report):
    if params["x"] > 0.8:
        raise RuntimeError("no such luck")
    report(val_accuracy=float("nan") if params["x"] < 0.2 else params["x"] + seed / 100, backward_samples=1000)
free.chance = {"val_accuracy": 0.1}

def train(params, seed, report):
    if "x" in params:
        return free(params, seed, report)
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.05)
    report(val_accuracy=0.5)
train.chance = free.chance
"""
STUDY = """
name: watched-study
task: {name: "gated:train"}
arms:
  free-arm: {parameters: {x: {low: 0.0, high: 1.0}}}
  held-arm: {fixed: {kind: held}}
sampling: [{sampler: qmc, configurations: 8}]
seeds: 2
objectives: {val_accuracy: maximize}
resources: {concurrent: 2}
"""
FREE, HELD = 16, 2


class Watched:
    """The run, all of whose free trials have ended and whose held ones train."""

    def __init__(self, place: Path) -> None:
        (place / "gated.py").write_text(TASK)
        (place / "study.yaml").write_text(STUDY)
        self.place, self.folder = place, place / "runs" / "watched-study"
        self.token = secrets.token_hex(32)  # of Ray's dashboard
        environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        with (place / "said").open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hpsearch.cli", "run", "study.yaml"],
                cwd=place,
                env=environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return (self.place / "said").read_text()

    @property
    def dashboard(self) -> str:
        return self.said.split("Ray dashboard at ")[1].split(";")[0]

    def wait(self, what: Callable[[], object]) -> object:
        until = time.monotonic() + PATIENCE
        while not (found := what()):
            assert self.process.poll() is None and time.monotonic() < until, self.said
            time.sleep(0.2)
        return found

    def ready(self) -> bool:
        if not (self.folder / "study.yaml").exists():
            return False
        status = read_status(self.folder)
        done = sum(status.arms["free-arm"].statuses.values()) == FREE
        return done and status.now is not None and [pack.arm for pack in status.now.packs] == ["held-arm"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    run = Watched(tmp_path_factory.mktemp("watched"))
    try:
        run.wait(run.ready)
        yield run
    finally:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()


def get(url, **query):
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def prometheus(watched):
    """A real one, with the settings that the command wrote and as it says to start it."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on this machine's path (Debian and Ubuntu: apt-get install prometheus)")
    port = free_port()
    said = subprocess.run(
        [sys.executable, "-m", "hpsearch.cli", "dashboard", str(watched.folder), "--prometheus-port", str(port)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    command = next(line.split() for line in said.splitlines() if line.startswith("  prometheus "))
    with (watched.place / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def values(prometheus, expression, *labels):
    """What a query gives now: label values -> number."""
    try:
        answer = get(f"{prometheus}/api/v1/query", query=expression)
    except OSError:  # it is starting
        return {}
    assert answer["status"] == "success"
    return {tuple(row["metric"][name] for name in labels): float(row["value"][1]) for row in answer["data"]["result"]}


def test_a_real_prometheus_has_what_trials_jsonl_has(watched, prometheus):
    results, _ = read_results(watched.folder)
    counts = Counter((result.arm, result.status) for result in results)
    assert {status for _, status in counts} == {"complete", "diverged", "failed"}
    watched.wait(lambda: values(prometheus, "ray_hpsearch_trials", "arm", "state"))
    # The first scrape may have been of the seconds before.
    expected = {**counts, ("held-arm", "running"): HELD}
    nothing_else = lambda found: {key: count for key, count in found.items() if count}  # noqa: E731
    waiting = counts["free-arm", "failed"]
    expected["free-arm", "waiting"] = waiting
    watched.wait(lambda: nothing_else(values(prometheus, "ray_hpsearch_trials", "arm", "state")) == expected)

    study = '{study="watched-study"}'
    best = read_status(watched.folder).arms["free-arm"].best
    assert values(prometheus, f"ray_hpsearch_best{study}", "arm") == {("free-arm",): pytest.approx(best.mean)}
    samples = values(prometheus, f"ray_hpsearch_backward_samples_total{study}", "arm")
    assert samples == {("free-arm",): 1000.0 * sum(bool(result.cost["backward_samples"]) for result in results)}
    assert samples["free-arm",] > 0
    assert values(prometheus, f"ray_hpsearch_samples_per_second{study}", "arm")["free-arm",] > 0
    ages = values(prometheus, f"ray_hpsearch_oldest_pack_seconds{study}", "arm")
    assert ages["held-arm",] > 0 and ages["free-arm",] == 0


def test_prometheus_understands_every_panel_and_those_of_the_study_have_data(watched, prometheus):
    watched.wait(lambda: values(prometheus, "ray_hpsearch_trials", "arm", "state"))
    written = json.loads((watched.folder / "monitoring" / "grafana" / "dashboards" / "hpsearch.json").read_text())
    expressions = {panel["title"]: panel["targets"][0]["expr"] for panel in written["panels"]}
    assert len(expressions) == len(PANELS) == len({panel["id"] for panel in written["panels"]})
    for title, expression in expressions.items():
        asked = expression.replace("$study", "watched-study")
        assert "$" not in asked
        if "GPU" in title:  # this machine may have none
            assert get(f"{prometheus}/api/v1/query", query=asked)["status"] == "success"
        else:
            watched.wait(lambda asked=asked: values(prometheus, asked))
    variable = written["templating"]["list"][0]
    assert (
        variable["current"]["value"] == "watched-study" and "ray_hpsearch_trials, study" in variable["query"]["query"]
    )
    assert get(f"{prometheus}/api/v1/label/study/values")["data"] == ["watched-study"]


def test_a_few_tags_and_ports_on_this_machine_only(watched, prometheus):
    watched.wait(lambda: values(prometheus, "ray_hpsearch_trials", "arm", "state"))
    rows = get(f"{prometheus}/api/v1/series", **{"match[]": '{__name__=~"ray_hpsearch_.*"}'})["data"]
    ours = {key for row in rows for key in row} - {"__name__", "instance", "job"}
    ours = {key for key in ours if key[0].islower() and not key.startswith("otel_")}  # Ray's own begin otherwise
    assert ours == {"study", "arm", "state"}
    targets = json.loads((watched.folder / "monitoring" / "targets.json").read_text())
    assert targets and all(target.startswith("127.0.0.1:") for group in targets for target in group["targets"])


def test_status_tells_what_trains_now(watched):
    said = subprocess.run(
        [sys.executable, "-m", "hpsearch.cli", "status", str(watched.folder)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"a driver is running (process {watched.process.pid} on" in said and "1 pack in training" in said
    assert "held-arm, seeds 0-1: nothing is searched" in said and "no such luck" in said


@pytest.fixture(scope="module")
def page(watched):
    """Ray's dashboard in a browser, let in by the token."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine's path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1600, "height": 900})
        context.set_default_timeout(1000 * PATIENCE)  # ms
        refused = context.request.get(f"{watched.dashboard}/api/v0/actors")
        assert refused.status == 401  # others of this machine reach the port, too
        header = {"Authorization": f"Bearer {watched.token}"}
        assert context.request.post(f"{watched.dashboard}/api/authenticate", headers=header).ok
        yield context.new_page()
        browser.close()


def test_the_dashboard_shows_the_study_as_a_job_and_its_workers_by_name(watched, page):
    assert "it asks for the token that `ray get-auth-token` prints" in watched.said
    page.goto(f"{watched.dashboard}/#/jobs")
    page.get_by_role("cell", name="watched-study").wait_for()
    page.goto(f"{watched.dashboard}/#/actors")
    page.get_by_role("cell", name="watched-study slot 0").first.wait_for()
    alive = [row for row in page.get_by_role("row").all() if "ALIVE" in row.inner_text()]
    names = [name for row in alive for name in row.inner_text().split("\t") if name.startswith("watched-study slot ")]
    assert len(names) == len(alive) == len(set(names)) > 0


def test_the_dashboard_shows_what_a_worker_trains_in_its_title_and_its_log(watched, page):
    words = "held-arm, seeds 0-1: nothing is searched"
    page.goto(f"{watched.dashboard}/#/cluster")
    page.get_by_text(f"{words}").first.wait_for()  # the process title
    page.goto(f"{watched.dashboard}/#/actors")
    page.get_by_role("cell", name="watched-study slot 0").first.wait_for()
    alive = page.get_by_role("row").filter(has_text="watched-study slot").filter(has_text="ALIVE").all()
    links = [row.get_by_role("link", name="Log").get_attribute("href") for row in alive]
    until = time.monotonic() + PATIENCE
    logs = []
    while not any(f"begins: {words}" in log for log in logs) and time.monotonic() < until:  # the page shows it late
        logs = []
        for link in links:
            page.goto(f"{watched.dashboard}/{link}")
            page.get_by_text("begins: ").first.wait_for()
            page.get_by_label("Keyword").fill("begins: ")  # the page holds the lines in sight only
            page.get_by_text(":job_id:").wait_for(state="detached")
            logs.append(page.inner_text("body"))
    assert sum(f"begins: {words}" in log for log in logs) == 1


# The last test: it lets the run end.
def test_a_follower_sees_the_run_end_and_nothing_of_it_stays(watched):
    follower = subprocess.Popen(
        [sys.executable, "-m", "hpsearch.cli", "status", "--watch", str(watched.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.poll() is None
    (watched.place / "go").touch()
    watched.process.wait(timeout=PATIENCE)
    assert watched.process.returncode == 1, watched.said  # trials failed
    said, error = follower.communicate(timeout=PATIENCE)
    assert follower.returncode == 0 and error == ""
    assert said.count("watched-study in ") == 1 and "no driver is running; last result" in said
    assert f"to go on: hpsearch run {watched.folder}/study.yaml --out {watched.folder}" in said.replace("\n", "")
    assert not (watched.folder / "running.json").exists()
    assert json.loads((watched.folder / "monitoring" / "targets.json").read_text()) == []
    # What it said can be done.
    again = subprocess.run(
        [
            sys.executable,
            "-m",
            "hpsearch.cli",
            "plan",
            str(watched.folder / "study.yaml"),
            "--out",
            str(watched.folder),
        ],
        cwd=watched.place,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "watched-study" in again.stdout
