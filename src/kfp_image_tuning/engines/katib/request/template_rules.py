"""Katib's rules for ``spec.trialTemplate``, from which it makes every trial's Job."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kfp_image_tuning.engines.katib.request.pod_rules import find_broken_fragment, find_broken_pod_rules

PLACEHOLDER = re.compile(r"\$\{trialParameters\.[^}]*\}")
METADATA_REFERENCE = re.compile(r"\$\{trialSpec\.(Name|Namespace|Kind|APIVersion|(Annotations|Labels)\[[^\]]+\])\}")
KINDS_WITH_DEFAULT_CONDITIONS = ("Job", "TrainJob", "TFJob", "PyTorchJob", "XGBoostJob", "MPIJob")
TEMPLATE_FIELDS = frozenset(
    {
        *("retain", "trialSpec", "configMap", "trialParameters", "primaryPodLabels", "primaryContainerName"),
        *("successCondition", "failureCondition"),
    }
)
TRAIN_JOB_FIELDS = ("runtimeRef", "initializer", "trainer", "runtimePatches", "suspend", "activeDeadlineSeconds")
TRAINER_FIELDS = ("image", "command", "args", "env", "numNodes", "resourcesPerNode", "numProcPerNode")
PATCHED_POD_FIELDS: Mapping[str, str] = {
    "serviceAccountName": "string",
    "volumes": "list of Volume",
    "initContainers": "list of Container",
    "containers": "list of Container",
    "imagePullSecrets": "list of LocalObjectReference",
    "securityContext": "PodSecurityContext",
    "nodeSelector": "map of string",
    "affinity": "Affinity",
    "tolerations": "list of Toleration",
    "schedulingGates": "list of PodSchedulingGate",
}
"""What a TrainJob may change of its runtime's pods (``PodSpecPatch`` of Kubeflow Trainer 2.2)."""
_PLACE = "spec.trialTemplate"
_UNSAFE_IN_SHELL = re.compile(r"[\s;&|<>()$`\\\"'*?#~]")
_SEVERAL_COMMANDS = re.compile(r"[;&|\n]|^\s*exec\b")
_GROUP = re.compile(r"\s*\{\s[^{}]*;\s*\}\s*")


def find_broken_template_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    """Every rule that the trial template breaks."""
    template = spec.get("trialTemplate")
    if not template:
        yield f"{_PLACE}: is missing"
        return
    for name in sorted(set(template) - TEMPLATE_FIELDS):
        yield f"{_PLACE}.{name}: is not a field of a trial template"
    if not template.get("primaryContainerName"):
        yield f"{_PLACE}.primaryContainerName: is missing"
    job, config_map = template.get("trialSpec"), template.get("configMap")
    if (job is None) == (config_map is None):
        yield f"{_PLACE}: needs either trialSpec or configMap"
        return
    if config_map is not None:
        if not all(config_map.get(name) for name in ("configMapName", "configMapNamespace", "templatePath")):
            yield f"{_PLACE}.configMap: needs configMapName, configMapNamespace and templatePath"
        return
    has_defaults = job.get("kind") in KINDS_WITH_DEFAULT_CONDITIONS
    for name in ("successCondition", "failureCondition"):
        if not template.get(name) and not has_defaults:
            yield f"{_PLACE}.{name}: is missing, and Katib knows none for {job.get('kind')}"
    yield from _find_broken_trial_parameters(spec, template, job)
    yield from _find_in_job(template, job)


def _find_broken_trial_parameters(
    spec: Mapping[str, Any], template: Mapping[str, Any], job: Mapping[str, Any]
) -> Iterator[str]:
    if template.get("trialParameters") is None:
        yield f"{_PLACE}.trialParameters: is missing"
        return
    parameters = {parameter.get("name") for parameter in spec.get("parameters") or ()}
    used = set(PLACEHOLDER.findall(json.dumps(job)))
    names: set[str] = set()
    references: set[str] = set()
    for number, entry in enumerate(template["trialParameters"]):
        place = f"{_PLACE}.trialParameters[{number}]"
        name, reference = entry.get("name", ""), entry.get("reference", "")
        if not name or not reference or "{" in name or "}" in name:
            yield f"{place}: needs a name without braces and a reference, got {name!r} and {reference!r}"
            continue
        if name in names:
            yield f"{place}.name: {name} stands there twice"
        if reference in references:
            yield f"{place}.reference: {reference} stands there twice"
        if parameters and reference not in parameters and not METADATA_REFERENCE.fullmatch(reference):
            yield f"{place}.reference: {reference} is none of spec.parameters"
        if f"${{trialParameters.{name}}}" not in used:
            yield f"{place}.name: ${{trialParameters.{name}}} is not used in trialSpec"
        names.add(name)
        references.add(reference)
    unknown = used - {f"${{trialParameters.{name}}}" for name in names}
    if unknown:
        yield f"{_PLACE}.trialSpec: uses {', '.join(sorted(unknown))}, which trialParameters do not name"
    for name in sorted(str(name) for name in parameters - references):
        # The webhook overlooks this; every trial would fail.
        yield f"spec.parameters: {name} reaches no trial; reference it in {_PLACE}.trialParameters"


def _find_in_job(template: Mapping[str, Any], job: Mapping[str, Any]) -> Iterator[str]:
    place = f"{_PLACE}.trialSpec"
    metadata = job.get("metadata") or {}
    if metadata.get("name") or metadata.get("namespace"):
        yield f"{place}.metadata: name and namespace are Katib's to set; leave them out"
    if not job.get("apiVersion") or not job.get("kind"):
        yield f"{place}: needs apiVersion and kind"
    if (job.get("apiVersion"), job.get("kind")) == ("batch/v1", "Job"):
        for name in sorted(set(job) - {"apiVersion", "kind", "metadata", "spec"}):
            yield f"{place}.{name}: Kubernetes knows no such field"
        yield from find_broken_fragment(dict(metadata), "ObjectMeta", f"{place}.metadata")
        yield from find_broken_pod_rules(job.get("spec") or {}, f"{place}.spec")
        yield from _find_in_primary_container(template, job)
    elif job.get("kind") == "TrainJob":
        yield from _find_in_train_job(job.get("spec") or {}, f"{place}.spec")


def _find_in_primary_container(template: Mapping[str, Any], job: Mapping[str, Any]) -> Iterator[str]:
    pod = ((job.get("spec") or {}).get("template") or {}).get("spec") or {}
    wanted = template.get("primaryContainerName")
    found = [container for container in pod.get("containers") or () if container.get("name") == wanted]
    if wanted and not found:
        yield f"{_PLACE}.primaryContainerName: {wanted!r} is not a container of the trial's pod"
    for container in found:
        yield from find_broken_command(container, f"{_PLACE}.trialSpec, container {wanted}")


def find_broken_command(container: Mapping[str, Any], place: str) -> Iterator[str]:
    """What Katib's wrapping would do to a container's command."""
    command = [*container.get("command", ())]
    words = [*command, *container.get("args", ())]
    if not command:
        yield f"{place}: has no command, so Katib would have to read it from the image's registry; give one"
    elif words[0] in ("sh", "bash") and words[1:2] == ["-c"]:
        script = " ".join(words[2:])
        if _SEVERAL_COMMANDS.search(script) and not _GROUP.fullmatch(script):
            problem = f"only the last command of {script!r} would be collected"
            yield f"{place}: {problem}; make it a single one, without exec, or one group {{ …; }}"
        if "$(" in script:
            yield f"{place}: Kubernetes would replace $(…) in {script!r}; use $NAME"
    elif unsafe := [word for word in words if _UNSAFE_IN_SHELL.search(word)]:
        yield f"{place}: Katib joins the command unquoted, which breaks {unsafe[0]!r}; write it as sh -c SCRIPT"


def _find_in_train_job(spec: Mapping[str, Any], place: str) -> Iterator[str]:
    for name in sorted(set(spec) - {*TRAIN_JOB_FIELDS, "managedBy"}):
        yield f"{place}.{name}: is not a field of a TrainJob"
    if not (spec.get("runtimeRef") or {}).get("name"):
        yield f"{place}.runtimeRef.name: is missing"
    trainer = spec.get("trainer") or {}
    for name in sorted(set(trainer) - set(TRAINER_FIELDS)):
        yield f"{place}.trainer.{name}: is not a field of a TrainJob's trainer"
    if "env" in trainer:
        yield from find_broken_fragment(trainer["env"], "list of EnvVar", f"{place}.trainer.env")
    if "resourcesPerNode" in trainer:
        resources = f"{place}.trainer.resourcesPerNode"
        yield from find_broken_fragment(trainer["resourcesPerNode"], "ResourceRequirements", resources)
    yield from find_broken_command(trainer, f"{place}.trainer")
    for patch in spec.get("runtimePatches", ()):
        jobs = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        for job in jobs:
            pod = job["template"]["spec"]["template"].get("spec", {})
            for name, value in pod.items():
                if name not in PATCHED_POD_FIELDS:
                    yield f"{place}.runtimePatches: {name} of a pod cannot be patched; set it in the training runtime"
                else:
                    yield from find_broken_fragment(value, PATCHED_POD_FIELDS[name], f"{place}.runtimePatches.{name}")
