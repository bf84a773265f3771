"""Katib's rules for ``spec.metricsCollectorSpec``, by which it gets a trial's objective."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

COLLECTOR_KINDS = ("StdOut", "File", "TensorFlowEvent", "PrometheusMetric", "Custom", "Push")


def find_broken_collector_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    """Every rule that the metrics collector breaks."""
    collector_spec = spec.get("metricsCollectorSpec") or {}
    collector = collector_spec.get("collector") or {"kind": "StdOut"}
    kind, source = collector.get("kind"), collector_spec.get("source") or {}
    if kind not in COLLECTOR_KINDS:
        yield (f"spec.metricsCollectorSpec.collector.kind: must be one of {', '.join(COLLECTOR_KINDS)}, got {kind!r}")
    for problem in _find_in_source(str(kind), collector, source):
        yield f"spec.metricsCollectorSpec.{problem}"
    for pattern in (source.get("filter") or {}).get("metricsFormat", ()):
        if problem := _find_in_filter(pattern):
            yield f"spec.metricsCollectorSpec.source.filter.metricsFormat: {pattern!r} {problem}"


def _find_in_source(kind: str, collector: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[str]:
    files = source.get("fileSystemPath") or {}
    if kind == "File":
        if files.get("kind", "File") != "File" or not files.get("path", "/var/log/katib/metrics.log").startswith("/"):
            yield "source.fileSystemPath: File needs kind File and an absolute path"
        if files.get("format", "TEXT") not in ("TEXT", "JSON"):
            yield f"source.fileSystemPath.format: must be TEXT or JSON, got {files.get('format')!r}"
        if files.get("format") == "JSON" and source.get("filter"):
            yield "source.filter: is not for files of the format JSON"
    elif kind == "TensorFlowEvent":
        if files.get("kind", "Directory") != "Directory" or not files.get("path", "/log").startswith("/"):
            yield "source.fileSystemPath: TensorFlowEvent needs kind Directory and an absolute path"
        if files.get("format"):
            yield "source.fileSystemPath.format: is not for TensorFlowEvent"
    elif kind == "PrometheusMetric":
        address = source.get("httpGet") or {}
        if not str(address.get("port", 8080)).isdigit() or int(address.get("port", 8080)) <= 0:
            yield f"source.httpGet.port: must be a number above 0, got {address.get('port')!r}"
        if not str(address.get("path", "/metrics")).startswith("/"):
            yield f"source.httpGet.path: must start with /, got {address.get('path')!r}"
    elif kind == "Custom" and not collector.get("customCollector"):
        yield "collector.customCollector: is missing"


def _find_in_filter(pattern: str) -> str:
    if ";" in pattern:
        return "must not hold a semicolon, by which Katib joins filters"
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        return f"is not a regular expression ({error})"
    return "" if groups >= 2 else "needs two groups, for the metric's name and its value"
