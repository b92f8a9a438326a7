"""The Grafana dashboard of a study, as JSON that Grafana imports: panels over the metrics that a run exports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

UID = "hpsearch"
DATASOURCE = {"type": "prometheus", "uid": "hpsearch-prometheus"}
STUDY = 'study="$study"'


@dataclass(frozen=True)
class Panel:
    """expression: PromQL. legend: Grafana's template over labels. unit: Grafana's name. kind: Grafana's panel type."""

    title: str
    expression: str
    legend: str
    unit: str = "short"
    kind: str = "timeseries"
    stacked: bool = False


def _trials(states: str, by: str) -> str:
    return f'sum by ({by}) (ray_hpsearch_trials{{{STUDY},state=~"{states}"}})'


ENDED = "complete|diverged|collapsed|stopped"
PANELS = (
    Panel(
        "Done, by arm",
        f"{_trials(ENDED, 'arm')} / {_trials(f'{ENDED}|running|waiting', 'arm')}",
        "{{arm}}",
        "percentunit",
        "bargauge",
    ),
    Panel("Time left", f"max(ray_hpsearch_left_seconds{{{STUDY}}})", "left", "s", "stat"),
    Panel("Trials, by state", _trials(".+", "state"), "{{state}}", stacked=True),
    Panel("Best of the first objective, by arm", f"max by (arm) (ray_hpsearch_best{{{STUDY}}})", "{{arm}}"),
    Panel("Did not train, or failed", _trials("diverged|collapsed|failed", "arm, state"), "{{arm}}: {{state}}"),
    Panel("Oldest pack in training", f"max by (arm) (ray_hpsearch_oldest_pack_seconds{{{STUDY}}})", "{{arm}}", "s"),
    Panel(
        "Samples through backward a second, all packs",
        f"sum by (arm) (rate(ray_hpsearch_backward_samples_total{{{STUDY}}}[5m]))",
        "{{arm}}",
        stacked=True,
    ),
    Panel("Samples a second of one trial", f"max by (arm) (ray_hpsearch_samples_per_second{{{STUDY}}})", "{{arm}}"),
    Panel("CPU", "avg by (NodeAddress) (ray_node_cpu_utilization)", "{{NodeAddress}}", "percent"),
    Panel("Memory", "max by (NodeAddress) (ray_node_mem_used / ray_node_mem_total)", "{{NodeAddress}}", "percentunit"),
    Panel(
        "GPU", "avg by (NodeAddress, GpuIndex) (ray_node_gpus_utilization)", "{{NodeAddress}} {{GpuIndex}}", "percent"
    ),
    Panel("GPU memory, MB", "max by (NodeAddress, GpuIndex) (ray_node_gram_used)", "{{NodeAddress}} {{GpuIndex}}"),
)


def make_dashboard(study: str) -> dict[str, Any]:
    """The dashboard, opened on this study; others in the same Prometheus can be chosen."""
    variable = {
        "name": "study",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": "label_values(ray_hpsearch_trials, study)", "refId": "study"},
        "refresh": 2,  # when the time range changes
        "current": {"text": study, "value": study},
    }
    return {
        "uid": UID,
        "title": "hpsearch",
        "schemaVersion": 39,
        "refresh": "5s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if panel.stacked else {}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0 if panel.unit != "short" else None, "custom": custom}
    if panel.unit == "percentunit":
        defaults["max"] = 1
    return {
        "id": number + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": DATASOURCE,
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {
            "defaults": {key: value for key, value in defaults.items() if value is not None},
            "overrides": [],
        },
        "options": {"orientation": "horizontal"} if panel.kind == "bargauge" else {},
        "targets": [{"refId": "A", "datasource": DATASOURCE, "expr": panel.expression, "legendFormat": panel.legend}],
    }
