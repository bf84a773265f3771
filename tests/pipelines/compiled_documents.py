"""A pipeline as KFP's own compiler writes it, without what our delivery adds."""

import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler


def compile_plainly(pipeline: Any) -> list[dict[str, Any]]:
    """The documents of the compiled YAML."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
