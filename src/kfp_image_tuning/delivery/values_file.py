"""Reads a team's values file: YAML against the classes of `values`, and what Kubernetes and KFP say about the values.

Everything that is wrong is told at once, with its place in the file.
"""

import copy
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kfp_image_tuning.core.object_forms import build_object, find_misfits
from kfp_image_tuning.delivery.readable_yaml import YamlLoader
from kfp_image_tuning.delivery.specification import CompilationError
from kfp_image_tuning.delivery.values import Values
from kfp_image_tuning.delivery.values_checks import find_broken_settings

_AMOUNTS = (
    "steps ask for no CPU, memory or accelerators of their own; a LimitRange of the namespace does, and with Katib "
    "trials have tune_gpus and pods in tune_katib_options"
)
IMPOSSIBLE: Mapping[str, str] = {
    "service_account": "KFP has one for a whole run: choose it in the run form, or with "
    "kfp.Client().create_run_from_pipeline_package(…, service_account=…)",
    "read_only": "KFP mounts every claim for writing; mount a claim whose volume is read-only itself",
    "priority_class": "KFP does not set it; with Katib, trials have pods.priority_class in tune_katib_options",
    "runtime_class": "KFP does not set it",
    "image": "all steps have the same one: kfp-image-tuning compile --image or --base-image",
    **dict.fromkeys(("resources", "cpu", "memory", "gpus", "accelerators"), _AMOUNTS),
}
"""What people look for in a step and KFP has elsewhere, or not at all."""


def read_values(path: Path) -> Values:
    """Read a values file.

    Raises:
        CompilationError: With everything that is wrong.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except OSError as error:
        raise CompilationError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    except UnicodeDecodeError:
        raise CompilationError(f"{path}: is not UTF-8 text; give a YAML file") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise CompilationError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from None
    return values_from(document if document is not None else {}, str(path))


def values_from(document: object, title: str) -> Values:
    """The values that a document stands for.

    Args:
        document: What was read.
        title: What to call it in messages: the file's name.

    Raises:
        CompilationError: With everything that is wrong.
    """
    if problems := [f"{title}: {problem}" for problem in _key_problems(document, "")]:
        raise CompilationError.from_problems(problems)
    if not isinstance(document, Mapping):
        raise CompilationError(f"{title}: must be an object with parameters, all and steps, got {document!r}")
    known = copy.deepcopy(dict(document))
    problems = [f"{title}: {problem}" for problem in _take_out_impossible(known)]
    misfits = find_misfits(Values, known, title)
    if not misfits:
        try:
            values = build_object(Values, known)
            problems += [f"{title}: {problem}" for problem in find_broken_settings(values)]
        except CompilationError as error:
            problems += [f"{title}: delivery: {problem}" for problem in error.problems]
    if problems or misfits:
        raise CompilationError.from_problems([*problems, *misfits])
    return values


def _take_out_impossible(document: Any) -> Iterator[str]:
    """Remove what no step can have, and say why."""
    steps = document.get("steps")
    places = {"all": document.get("all")}
    places |= {f"steps.{name}": step for name, step in steps.items()} if isinstance(steps, Mapping) else {}
    for place, settings in places.items():
        if not isinstance(settings, dict):
            continue
        found = {place: settings}
        claims = settings.get("volume_claims")
        if isinstance(claims, list):
            found |= {f"{place}.volume_claims[{number}]": claim for number, claim in enumerate(claims)}
        for where, entry in found.items():
            for name in [name for name in IMPOSSIBLE if isinstance(entry, dict) and name in entry]:
                del entry[name]
                yield f"{where}.{name} cannot be set here: {IMPOSSIBLE[name]}"


def _key_problems(value: object, place: str) -> Iterator[str]:
    """YAML takes unquoted words such as ``on`` for something else than text."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                yield f"{place or 'the file'}: the name {name!r} is not text; write it in quotes"
            else:
                yield from _key_problems(item, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _key_problems(item, f"{place}[{number}]")


class _UniqueKeys(YamlLoader):
    """Refuses an object that has a name twice: YAML's readers take the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for name in names:
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the name {name!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)
