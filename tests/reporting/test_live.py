"""`report --watch`: the page follows the run folder while results come in."""

import html
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpsearch.cli import app
from hpsearch.errors import InputError
from hpsearch.reporting import live as live_module
from hpsearch.reporting.live import LiveReport, cut, open_server, serve
from hpsearch.reporting.live import address as address_of
from tests.reporting.page import Page

ROWS = 9


def table(n: int) -> str:
    return "lr,seed,accuracy\n" + "".join(
        f"{0.01 * 1.6**i:.6f},{s},{0.9 - (i - 4) ** 2 / 200 + s / 500}\n" for i in range(n) for s in range(2)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text(table(ROWS))
    assert CliRunner().invoke(app, ["import", str(tmp_path / "table.csv"), str(tmp_path / "run")]).exit_code == 0
    return tmp_path / "run"


def add_trials(folder: Path) -> None:
    """Two more seeds of the first configuration, as a driver appends them."""
    lines = (folder / "trials.jsonl").read_bytes().splitlines()
    first = json.loads(lines[0])
    for seed in (7, 8):
        line = json.dumps({**first, "seed": seed, "trial_id": f"more-{seed}"})
        with (folder / "trials.jsonl").open("a") as file:
            file.write(line + "\n")


def test_new_trials_come_at_once_and_the_rest_with_the_next_analysis(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpsearch.results.belonging", lambda results, study, identity: list(results))
    live = LiveReport(folder, print)
    before = live.state()
    assert not before["running"] and not before["analysis_waits"]
    live.look()
    assert live.state()["sections"] == before["sections"]  # nothing changed

    add_trials(folder)
    monkeypatch.setattr(live_module, "REST", 0.0)
    monkeypatch.setattr(live_module, "is_running", lambda folder: True)  # else it need not spare the run
    live._rest_until = time.monotonic() + 3600
    live.look()
    after = live.state()
    changed = {name for name in after["sections"] if after["sections"][name] != before["sections"][name]}
    assert "trials" in changed and changed <= {"trials", "made", "curves"} and after["analysis_waits"]
    assert len(Page(f"<body>{live.section('trials')}").trials["values"][0]) == 2 * ROWS + 2
    assert json.loads((folder / "analysis.json").read_text())["overview"]["trials"] == 2 * ROWS

    live._rest_until = 0.0
    live.look()
    whole = live.state()
    assert not whole["analysis_waits"] and whole["sections"]["findings"] != before["sections"]["findings"]
    assert json.loads((folder / "analysis.json").read_text())["overview"]["trials"] == 2 * ROWS + 2
    assert cut(live.page).keys() == whole["sections"].keys()


def test_what_can_not_be_made_now_is_made_later(folder: Path) -> None:
    told: list[str] = []
    live = LiveReport(folder, told.append)
    study = (folder / "study.yaml").read_bytes()
    (folder / "study.yaml").write_bytes(b"name: [")
    live.look()
    assert any("not made anew" in step for step in told)
    (folder / "study.yaml").unlink()
    live.look()
    assert len([step for step in told if "not made anew" in step]) == 2
    (folder / "study.yaml").write_bytes(study + b"# changed\n")
    before = live.state()["changed"]
    live.look()
    assert live.state()["changed"] > before


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    server = open_server(LiveReport(folder, print), 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield address_of(server)
    server.shutdown()
    thread.join()
    server.server_close()


def get(url: str, host: str | None = None) -> str:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return str(answer.read().decode())


def test_it_listens_on_this_machine_only_and_to_this_machines_name_only(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    page = Page(get(address))
    assert "connect-src 'self'" in html.unescape(page.html) and page.sections[0] == "findings"
    state = json.loads(get(f"{address}state"))
    assert set(state["sections"]) == set(page.sections)
    assert get(f"{address}section/findings").startswith('<section id="findings"')
    bare = "/".join(address.split("/")[:3])
    paths = ("nowhere", None, 404), ("section/../state", None, 404), ("section/", None, 404), ("", "evil.example", 403)
    tried = [(address + path, host, code) for path, host, code in paths]
    # Another user of this machine knows the port, but not the rest of the address.
    for url, host, code in (*tried, (f"{bare}/", None, 404), (f"{bare}/state", None, 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(url, host)
        assert refused.value.code == code
        refused.value.close()


def test_a_taken_port_is_told(folder: Path, address: str) -> None:
    port = int(address.split(":")[2].split("/")[0])
    with pytest.raises(InputError, match=f"--port {port}: cannot be listened to"):
        serve(folder, port, lambda step: None, lambda url: None)
