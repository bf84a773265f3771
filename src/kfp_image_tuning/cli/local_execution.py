"""Run the pipeline with ``kfp.local``: ``python -m kfp_image_tuning.cli.local_execution``.

`local_run` starts this program, in a process group of its own. The first line on standard input is the request (JSON:
``pipeline_root``, ``engine``, ``parameters``, ``outputs_path``); then the stream stays open as long as the one who
asked is alive, and its end ends this process group.
"""

import json
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from kfp_image_tuning.steps.plain_errors import plain_errors

GRACE_SECONDS = 15.0
"""From asking the components to end to ending them."""


def main() -> int:
    """Run the pipeline that standard input asks for; 0 if every task ended well."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_caller, args=(request["engine"],), daemon=True).start()
    # The whole process group gets a signal. The component ends in its own way, its task is a failed one, and so the
    # pipeline ends.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    outputs_path = Path(request["outputs_path"])
    return execute(request["engine"], request["pipeline_root"], request["parameters"], outputs_path)


def execute(engine: str, pipeline_root: str, parameters: dict[str, Any], outputs_path: Path) -> int:
    """Run an engine's pipeline and write what it put out.

    Args:
        engine: Whose pipeline.
        pipeline_root: Where artifacts go.
        parameters: The pipeline's parameters.
        outputs_path: Takes a JSON object: paths of artifacts and values of parameters, by name.
    """
    from kfp import dsl, local

    from kfp_image_tuning.pipelines.image_tuning import PIPELINES

    # KFP warns of every image whose name holds no "python"; this runner uses no image.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="kfp.local")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=pipeline_root, raise_on_error=True)
    try:
        run = PIPELINES[engine](**parameters)
    except RuntimeError as error:
        if "finished with status" in str(error):
            return 1
        raise
    outputs = {name: value.path if isinstance(value, dsl.Artifact) else value for name, value in run.outputs.items()}
    outputs_path.write_text(json.dumps(outputs), encoding="utf-8")
    return 0


def _end_with_the_caller(engine: str) -> None:
    """Wait until the caller is gone, then end this process group.

    A caller that was killed has not asked for an end: what runs elsewhere continues, for the next call to take up.
    """
    # Not sys.stdin.read(): a thread inside it would keep the interpreter from shutting down.
    while os.read(0, 1024):
        pass
    if engine == "local":
        os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    # What KFP itself fails at, such as a full disk.
    with plain_errors():
        sys.exit(main())
