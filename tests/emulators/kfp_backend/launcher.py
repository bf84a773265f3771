"""KFP's launcher in a step's container: fetches inputs, runs the step's own command, reads and uploads its outputs.

Recorded: it dies at once on SIGTERM, so that the command's standard output becomes a broken pipe; every failing exit
code becomes 1; it prints eight lines after a failure and the whole output after a success; metrics have no file, which
is a warning; of a folder every file goes to the store, hidden ones too; the output ``executor-logs``. From reading: how
parameters are read from files. Runs inside the pod as a program of its own.
"""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]
SCHEMES = {"minio": "/minio", "s3": "/s3", "gs": "/gcs"}


def say(line: str) -> None:
    print(f"I1125 19:01:43.000000      21 launcher_v2.go:210] {line}", flush=True)


def local_path(uri: str) -> Path:
    """Where an artifact of an address is in the pod."""
    scheme, _, rest = uri.partition("://")
    return Path(SCHEMES[scheme]) / rest


class Launcher:
    """One execution of a step.

    Args:
        spec: ``executor_input``, ``component``, ``command``, ``environment``, ``store`` and ``result`` (a file).
    """

    def __init__(self, spec: Document) -> None:
        import boto3

        self._spec = spec
        self._input: Document = spec["executor_input"]
        self._outputs: Document = self._input.get("outputs", {})
        store = spec["store"]
        self._client = boto3.client(
            "s3",
            endpoint_url=store["endpoint"],
            region_name="us-east-1",
            aws_access_key_id=store["accesskey"],
            aws_secret_access_key=store["secretkey"],
        )

    def run(self) -> int:
        say(f"input ComponentSpec:{json.dumps(self._spec['component'])}")
        self._download()
        self._make_folders()
        code = self._execute()
        if code != 0:
            self._tell_failure(code)
            return 1
        output = self._read_output()
        self._upload()
        say(f"ExecutorOutput: {json.dumps(output, indent=2)}")
        Path(self._spec["result"]).write_text(json.dumps(output), encoding="utf-8")
        return 0

    def _artifacts(self, side: Document) -> Iterator[tuple[str, Document]]:
        for name, group in side.get("artifacts", {}).items():
            for artifact in group["artifacts"]:
                yield name, artifact

    def _download(self) -> None:
        for _, artifact in self._artifacts(self._input.get("inputs", {})):
            scheme, _, rest = artifact["uri"].partition("://")
            if scheme not in SCHEMES:
                continue
            bucket, _, key = rest.partition("/")
            for name in self._keys(bucket, key):
                target = local_path(f"{scheme}://{bucket}/{name}")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._client.download_file(bucket, name, str(target))

    def _keys(self, bucket: str, key: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [name for name in names if name == key or name.startswith(f"{key}/")]

    def _make_folders(self) -> None:
        for entry in self._outputs.get("parameters", {}).values():
            Path(entry["outputFile"]).parent.mkdir(parents=True, exist_ok=True)
        for _, artifact in self._artifacts(self._outputs):
            local_path(artifact["uri"]).parent.mkdir(parents=True, exist_ok=True)

    def _execute(self) -> int:
        """The command, whose output goes through a pipe of this process."""
        log = Path("/tmp/kfp-executor-logs")
        process = subprocess.Popen(
            self._spec["command"], env=self._spec["environment"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        with log.open("wb") as kept:
            copying = threading.Thread(target=self._copy, args=(process.stdout, kept), daemon=True)
            copying.start()
            code = process.wait()
            # Grandchildren may hold the pipe open; Go's Wait gives up on them in the same way.
            copying.join(timeout=5)
        for name, artifact in self._artifacts(self._outputs):
            if name == "executor-logs":
                shutil.copy(log, local_path(artifact["uri"]))
        return code

    @staticmethod
    def _copy(source: Any, kept: Any) -> None:
        while block := source.read1(65536):
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
            kept.write(block)

    def _read_output(self) -> Document:
        file = Path(self._outputs["outputFile"])
        output: Document = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        definitions = self._spec["component"].get("outputDefinitions", {}).get("parameters", {})
        values = output.setdefault("parameterValues", {})
        for name, entry in self._outputs.get("parameters", {}).items():
            if name not in values:
                values[name] = self._parameter(name, entry, definitions[name]["parameterType"])
            self._check_type(name, values[name], definitions[name]["parameterType"])
        return output

    @staticmethod
    def _parameter(name: str, entry: Document, kind: str) -> Any:
        file = Path(entry["outputFile"])
        if not file.exists():
            raise LookupError(f"failed to read output parameter {name}: open {file}: no such file or directory")
        text = file.read_text(encoding="utf-8")
        return text if kind == "STRING" else json.loads(text)

    @staticmethod
    def _check_type(name: str, value: Any, kind: str) -> None:
        kinds: dict[str, tuple[type, ...]] = {
            "STRING": (str,),
            "NUMBER_INTEGER": (int, float),
            "NUMBER_DOUBLE": (int, float),
            "BOOLEAN": (bool,),
            "LIST": (list,),
            "STRUCT": (dict,),
        }
        if not isinstance(value, kinds[kind]) or (kind != "BOOLEAN" and isinstance(value, bool)):
            raise LookupError(f"output parameter {name} requires type {kind}, got {value!r}")

    def _upload(self) -> None:
        for name, artifact in self._artifacts(self._outputs):
            path = local_path(artifact["uri"])
            bucket, _, key = artifact["uri"].partition("://")[2].partition("/")
            if not path.exists():
                print(
                    f"W1125 19:01:59.000000      21 launcher_v2.go:593] Local filepath {path} of {name} does not exist"
                )
                continue
            if path.is_file():
                self._client.upload_file(str(path), bucket, key)
                continue
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    self._client.upload_file(str(file), bucket, f"{key}/{file.relative_to(path)}")

    def _tell_failure(self, code: int) -> None:
        for line in (
            "publish success.",
            "publish pod status: FAILED",
            "execution finished with an error",
            "not uploading outputs",
            "updating the execution",
            "deleting the context",
            "closing connections",
        ):
            say(line)
        print(f"F1125 19:01:59.000000      21 main.go:49] failed to execute component: exit status {code}", flush=True)


def main() -> int:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        return Launcher(spec).run()
    except Exception as error:
        print(f"F1125 19:01:59.000000      21 main.go:49] failed to execute component: {error}", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
