"""What Katib's pod webhook does to the pod of a trial, as its documentation and examples show it.

A part of the stand-in for Katib; see `tests.emulators.katib_controller`.

The command becomes one shell script: its words joined by spaces, unquoted, then the redirection into the file that the
metrics collector reads, the branch for trials that were ended early, and a marker that the trial came to its end.
``sh -c`` in front is kept. Kubernetes turns ``$$$$`` into ``$$``, the shell's own process number.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

METRICS_FILE = "/var/log/katib/metrics.log"
DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
EARLY_STOPPED = "early-stopped"
COMPLETED = "completed"
COLLECTOR = "metrics-logger-and-collector"
COLLECTOR_IMAGE = "katib/file-metrics-collector"
METRICS_MOUNT = {"name": "metrics-volume", "mountPath": str(Path(METRICS_FILE).parent)}


def make_trial_job(experiment: Mapping[str, Any], name: str, assignments: Mapping[str, str]) -> dict[str, Any]:
    """The Job of a trial: the template with all placeholders replaced in its JSON text."""
    template = experiment["spec"]["trialTemplate"]
    text = json.dumps(template["trialSpec"])
    for parameter in template["trialParameters"]:
        reference = parameter["reference"]
        value = name if reference == "${trialSpec.Name}" else assignments[reference]
        text = text.replace(f"${{trialParameters.{parameter['name']}}}", value)
    job: dict[str, Any] = json.loads(text)
    metadata = {**job.get("metadata", {}), "name": name, "namespace": experiment["metadata"]["namespace"]}
    return {**job, "metadata": metadata}


def wrap_command(
    command: Sequence[str], *, early_stopping: bool, metrics_file: str = METRICS_FILE, expanded: bool = True
) -> list[str]:
    """The command that the container runs in the end; not ``expanded``: as it stands in the pod's specification."""
    words = list(command)
    shell = ["sh", "-c"]
    if words[0] in ("sh", "bash") and words[1] == "-c":
        shell, words = words[:2], words[2:]
    folder = str(Path(metrics_file).parent)
    marker = f"{folder}/$$$$.pid"
    words.append(f"1>{metrics_file} 2>&1")
    if early_stopping:
        words += [
            "||",
            f"if test -f {marker} && [ $(head -n 1 {folder}/$$.pid) = {EARLY_STOPPED} ]; then "
            "echo Training Container was Early Stopped; else echo Training Container was Failed; exit 1; fi",
        ]
    words += ["&&", f"echo {COMPLETED} > {marker}"]
    script = " ".join(words)
    return [*shell, expand(script) if expanded else script]


def expand(text: str) -> str:
    """What the kubelet makes of a command: ``$$`` is a dollar sign, but not inside of ``$(…)``, a variable's place.

    Of variables that it does not know the place stays as it is.
    """
    return re.sub(r"\$\$|\$\([^)]*\)", lambda found: "$" if found[0] == "$$" else found[0], text)


def collector_container(trial: Mapping[str, Any]) -> dict[str, Any]:
    """The container that watches the trial; with Katib's usual resources."""
    spec = trial["spec"]
    objective, source = spec["objective"], spec["metricsCollector"]["source"]
    names = [objective["objectiveMetricName"], *objective["additionalMetricNames"]]
    words = ["-t", trial["metadata"]["name"], "-m", ";".join(names), "-o-type", objective["type"]]
    words += ["-path", METRICS_FILE, "-f", ";".join(source["filter"]["metricsFormat"])]
    for rule in spec.get("earlyStoppingRules", ()):
        words += ["-stop-rule", f"{rule['name']};{rule['value']};{rule['comparison']};{rule['startStep']}"]
    return {
        "name": COLLECTOR,
        "image": COLLECTOR_IMAGE,
        # Katib's image brings its own.
        "command": ["python3", "-I", "-S", str(Path(__file__).parent / "metrics_collector.py")],
        "args": words,
        "volumeMounts": [METRICS_MOUNT],
        "resources": {"requests": {"cpu": "50m", "memory": "10Mi"}, "limits": {"cpu": "500m", "memory": "100Mi"}},
    }


def metric_values(log: str, names: Sequence[str], filters: Sequence[str] = (DEFAULT_FILTER,)) -> dict[str, list[float]]:
    """Every value of each metric, in its order."""
    found: dict[str, list[float]] = {}
    for name, value in _find_metrics(log, names, filters):
        found.setdefault(name, []).append(float(value))
    return found


def was_stopped_early(log: str) -> bool:
    """Whether a collector's log tells that it has ended its trial."""
    return "Training container is early stopped" in log


def collect_metrics(
    log: str, names: Sequence[str], filters: Sequence[str] = (DEFAULT_FILTER,)
) -> dict[str, dict[str, str]]:
    """What the metrics collector reports of a log: minimum, maximum and latest value of each metric, as text."""
    found: dict[str, list[str]] = {}
    for name, value in _find_metrics(log, names, filters):
        found.setdefault(name, []).append(value)
    return {
        name: {"min": min(values, key=float), "max": max(values, key=float), "latest": values[-1]}
        for name, values in found.items()
    }


def _find_metrics(log: str, names: Sequence[str], filters: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in log.splitlines():
        for pattern in filters:
            for match in re.finditer(pattern, line):
                name, value = match[1].strip(), match[2].strip()
                if name in names and value:
                    yield name, value
