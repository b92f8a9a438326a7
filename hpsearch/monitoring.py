"""Settings for Prometheus and Grafana that watch one run folder, and how to start both: `hpsearch dashboard`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hpsearch.grafana import DATASOURCE, UID, make_dashboard
from hpsearch.results import read_run, write_atomically
from hpsearch.study import Study

FOLDER = "monitoring"  # in the run folder; all of it may be thrown away
TARGETS = f"{FOLDER}/targets.json"  # where Ray's nodes export metrics now: written by the driver, read by Prometheus
SCRAPE = "5s"

# Ray's Metrics page shows Grafana's panels in frames, without a login: that takes both, on loopback only.
GRAFANA_INI = """\
[server]
http_addr = 127.0.0.1
http_port = {port}
[security]
allow_embedding = true
[auth.anonymous]
enabled = true
org_role = Viewer
[analytics]
reporting_enabled = false
check_for_updates = false
check_for_plugin_updates = false
[plugins]
preinstall_disabled = true
[paths]
provisioning = {folder}/provisioning
data = {folder}/data
"""


@dataclass(frozen=True)
class Monitoring:
    """What was written, and the lines that say what to do with it."""

    folder: Path
    files: tuple[Path, ...]
    lines: tuple[str, ...]


def write_monitoring(folder: Path, prometheus_port: int = 9090, grafana_port: int = 3000) -> Monitoring:
    """Writes DIR/monitoring. Raises InputError where there is no run, RunError where the disk refuses."""
    study = read_run(folder)
    where = (folder / FOLDER).resolve()
    grafana, prometheus_url = where / "grafana", f"http://127.0.0.1:{prometheus_port}"
    contents = {
        where / "prometheus.yml": yaml.safe_dump(_prometheus(), sort_keys=False),
        grafana / "grafana.ini": GRAFANA_INI.format(port=grafana_port, folder=grafana),
        grafana / "provisioning" / "datasources" / "hpsearch.yml": yaml.safe_dump(_datasource(prometheus_url)),
        grafana / "provisioning" / "dashboards" / "hpsearch.yml": yaml.safe_dump(_provider(grafana / "dashboards")),
        grafana / "dashboards" / "hpsearch.json": json.dumps(make_dashboard(study.name), indent=2),
    }
    if not (folder / TARGETS).exists():  # a driver that runs has written them
        contents[where / "targets.json"] = "[]"
    for path, text in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    return Monitoring(where, tuple(contents), _lines(study, folder, where, prometheus_url, grafana_port))


def _prometheus() -> dict[str, Any]:
    scrape = {"job_name": "hpsearch", "file_sd_configs": [{"files": ["targets.json"], "refresh_interval": "10s"}]}
    return {"global": {"scrape_interval": SCRAPE}, "scrape_configs": [scrape]}


def _datasource(url: str) -> dict[str, Any]:
    """Ray's own dashboards look for one of this name."""
    source = {**DATASOURCE, "name": "Prometheus", "url": url, "access": "proxy", "isDefault": True}
    return {"apiVersion": 1, "datasources": [source]}


def _provider(dashboards: Path) -> dict[str, Any]:
    provider: Mapping[str, Any] = {"name": "hpsearch", "type": "file", "options": {"path": str(dashboards)}}
    return {"apiVersion": 1, "providers": [provider]}


def _lines(study: Study, folder: Path, where: Path, prometheus_url: str, grafana_port: int) -> tuple[str, ...]:
    grafana_url = f"http://127.0.0.1:{grafana_port}"
    address = prometheus_url.removeprefix("http://")
    here = shlex.quote(str(where))
    return (
        "Prometheus scrapes the run while it goes on, and the next ones in this folder:",
        f"  prometheus --config.file={here}/prometheus.yml --storage.tsdb.path={here}/prometheus "
        f"--web.listen-address={address}",
        f"Grafana then shows it at {grafana_url}/d/{UID}?var-study={study.name} :",
        f"  grafana server --homepath=/usr/share/grafana --config={here}/grafana/grafana.ini",
        "Ray's dashboard shows its own metrics, too, if these are set before `hpsearch run`:",
        f"  export RAY_PROMETHEUS_HOST={prometheus_url} RAY_GRAFANA_HOST={grafana_url} "
        f"RAY_GRAFANA_IFRAME_HOST={grafana_url}",
        f"  export RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR={here}/grafana/dashboards",
        "  (RAY_GRAFANA_IFRAME_HOST is Grafana as your browser reaches it, through a tunnel, say)",
        "Optuna's dashboard shows the samplers' view (pip install optuna-dashboard):",
        f"  optuna-dashboard {shlex.quote(str(folder / 'optuna.log'))}",
    )
