"""Katib's and Kubernetes' rules, offline."""

import copy
import json
import re
from typing import Any

import pytest

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.engines.katib.request.experiment import build_experiments
from kfp_image_tuning.engines.katib.request.pod_rules import kubernetes_types
from kfp_image_tuning.engines.katib.request.quantities import canonical_quantity
from kfp_image_tuning.engines.katib.request.validation import check_experiment, find_problems, find_update_problems
from tests.engines.katib.searches import make_options, make_search
from tools.kubernetes_fields import TABLE, make_table


def make_experiment() -> dict[str, Any]:
    (experiment,) = build_experiments(make_search(search_mode="flat"), make_options(run="r"))
    document: dict[str, Any] = json.loads(json.dumps(experiment.document))
    return document


def change(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value changed, or removed (``...``)."""
    changed = copy.deepcopy(document)
    place: Any = changed
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in way:
        place = place.setdefault(part, {}) if isinstance(part, str) else place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return changed


CONTAINER = "spec/trialTemplate/trialSpec/spec/template/spec/containers/0"
POD = "spec/trialTemplate/trialSpec/spec/template/spec"
SOURCE = "spec/metricsCollectorSpec/source"

VIOLATIONS: list[tuple[str, Any, str]] = [
    ("kind", "Trial", "apiVersion and kind"),
    ("metadata/name", "9lives", "start with a letter"),
    ("metadata/name", "a" * 41, "41 characters"),
    ("spec/maxTrialCount", 0, "at least 1"),
    ("spec/maxTrialCount", "12", "must be a whole number, got '12'"),
    ("spec/maxTrialCount", 12.0, "must be a whole number"),
    ("spec/maxTrialCount", True, "must be a whole number"),
    ("spec/objective/goal", "0.9", "spec.objective.goal: must be a number"),
    ("spec/objective/objectiveMetricName", 1, "must be text"),
    ("spec/objective/metricStrategies/0/name", 1, "must be text"),
    ("spec/parallelTrialCount", 21, "more than maxTrialCount, 20"),
    ("spec/maxFailedTrialCount", -1, "at least 0"),
    ("spec/maxFailedTrialCount", 21, "more than maxTrialCount, 20"),
    ("spec/maxTrials", 3, "is not a field of an Experiment"),
    ("spec/resumePolicy", "Always", "must be one of Never"),
    ("spec/objective", ..., "spec.objective: is missing"),
    ("spec/objective/type", "max", "minimize or maximize"),
    ("spec/objective/objectiveMetricName", "", "is missing"),
    ("spec/objective/additionalMetricNames", ["Validation-accuracy"], "own metric"),
    ("spec/objective/additionalMetricNames", ["a;b"], "semicolon"),
    ("spec/objective/metricStrategies/0/value", "best", "must be one of min, max, latest"),
    ("spec/algorithm", {}, "algorithmName: is missing"),
    ("spec/algorithm/algorithmName", "cma-es", "is unknown"),
    ("spec/algorithm/algorithmSettings/0/value", "-1", "random_state must be a whole number of at least 0"),
    ("spec/algorithm/algorithmSettings/0/value", 1, "algorithmSettings[0].value: must be text, got 1; write it in quo"),
    ("spec/algorithm/algorithmSettings/0/name", True, "must be text, got True"),
    ("spec/algorithm/algorithmSettings", {}, "must be a list"),
    ("spec/earlyStopping/algorithmSettings/0/value", 3, "must be text"),
    ("spec/algorithm/algorithmSettings/0/name", "seed", "no setting 'seed'"),
    ("spec/earlyStopping/algorithmName", "asha", "medianstop only"),
    ("spec/earlyStopping/algorithmSettings/0/name", "patience", "is unknown"),
    ("spec/earlyStopping/algorithmSettings/0/value", "few", "whole number as text"),
    ("spec/parameters", [], "an Experiment tunes something"),
    ("spec/parameters/0/name", "eps", "stands there twice"),
    ("spec/parameters/0/parameterType", "float", "parameterType: must be one of"),
    ("spec/parameters/0/feasibleSpace", {}, "feasibleSpace: is missing"),
    ("spec/parameters/0/name", 1, "spec.parameters[0].name: must be text"),
    ("spec/parameters/0/feasibleSpace/min", 1e-06, "parameters[0].feasibleSpace.min: must be text, got 1e-06; w"),
    ("spec/parameters/0/feasibleSpace/max", 1, "must be text, got 1; write it in quotes"),
    ("spec/parameters/0/feasibleSpace/step", 0.1, "must be text"),
    ("spec/parameters/0/feasibleSpace/distribution", False, "must be text"),
    ("spec/parameters/0", [], "must be an object"),
    ("spec/parameters/7/feasibleSpace/list", ["sgd", 1], "feasibleSpace.list[1]: must be text, got 1"),
    ("spec/parameters/7/feasibleSpace/list", [True], "must be text, got True; write it in quotes"),
    ("spec/trialTemplate/trialParameters/0/reference", 1, "trialParameters[0].reference: must be text"),
    ("spec/trialTemplate/retain", "yes", "must be true or false"),
    ("spec/trialTemplate/primaryPodLabels", {"a": 1}, "primaryPodLabels.a: must be text"),
    ("metadata/labels", {"a": 1}, "metadata.labels.a: must be text"),
    (f"{SOURCE}/filter/metricsFormat", [1], "metricsFormat[0]: must be text"),
    ("spec", [], "spec: must be an object"),
    ("spec/parameters/0/feasibleSpace/min", "2", "must be below max"),
    ("spec/parameters/0/feasibleSpace/min", "low", "is not a double"),
    ("spec/parameters/0/feasibleSpace/max", ..., "needs min and max"),
    ("spec/parameters/0/feasibleSpace/step", "0", "must be above 0"),
    ("spec/parameters/0/feasibleSpace/list", ["1"], "list: is not for double"),
    ("spec/parameters/0/feasibleSpace/distribution", "log", "distribution: must be one of"),
    ("spec/parameters/0/feasibleSpace/distribution", "logUniform", "needs a min above 0"),
    ("spec/parameters/0/feasibleSpace/distribution", "normal", "knows no normal distribution"),
    ("spec/parameters/7/feasibleSpace/min", "1", "min, max and step are not for categorical"),
    ("spec/parameters/7/feasibleSpace/list", [], "needs one"),
    ("spec/parameters/7/feasibleSpace/list", ["sgd", "sgd"], "each value only once"),
    ("spec/trialTemplate", ..., "trialTemplate: is missing"),
    ("spec/trialTemplate/retained", True, "is not a field of a trial template"),
    ("spec/trialTemplate/primaryContainerName", "main", "is not a container of the trial's pod"),
    ("spec/trialTemplate/configMap", {"configMapName": "x"}, "either trialSpec or configMap"),
    ("spec/trialTemplate/trialParameters", ..., "trialParameters: is missing"),
    ("spec/trialTemplate/trialParameters/0/name", "x{y}", "a name without braces"),
    ("spec/trialTemplate/trialParameters/0/name", "other", "${trialParameters.other} is not used"),
    ("spec/trialTemplate/trialParameters/0/reference", "other", "none of spec.parameters"),
    ("spec/trialTemplate/trialParameters/1/reference", "beta_1_position", "stands there twice"),
    ("spec/trialTemplate/trialParameters/9/reference", "${trialSpec.Uid}", "none of spec.parameters"),
    (f"{CONTAINER}/env/0/value", "${trialParameters.more}", "which trialParameters do not name"),
    ("spec/trialTemplate/trialSpec/metadata", {"name": "x"}, "Katib's to set"),
    ("spec/trialTemplate/trialSpec/apiVersion", "", "needs apiVersion and kind"),
    ("spec/trialTemplate/trialSpec/spec/backofLimit", 0, "did you mean backoffLimit?"),
    ("spec/trialTemplate/trialSpec/spec/backoffLimit", "0", "must be integer"),
    (f"{POD}/restartPolicy", "Always", "a Job needs Never or OnFailure"),
    (f"{POD}/nodeSelector", {}, "is empty and would be lost"),
    (f"{POD}/hostNetwork", False, "would be lost"),
    (f"{POD}/volumes/1/emptyDir/sizeLimit", "1.5Gi", '"1536Mi"'),
    (f"{POD}/volumes/1/emptyDir/sizeLimit", "much", "is not an amount"),
    (f"{POD}/volumes/1/name", "scratch", "stands there twice"),
    (f"{CONTAINER}/volumeMounts/0/name", "nothing", "which is not a volume"),
    (f"{CONTAINER}/volumeMounts/0/mountPath", "/trial/data", "two volumes at /trial/data"),
    (f"{CONTAINER}/env/1/value", "", "is empty and would be lost"),
    (f"{CONTAINER}/resources/requests/nvidia.com~gpu", "0", "it must equal the limit"),
    (f"{CONTAINER}/command", ..., "has no command"),
    (f"{CONTAINER}/command", ["python", "-c", "print(1)"], "breaks 'print(1)'"),
    (f"{CONTAINER}/command", ["sh", "-c", "pip install x; python y"], "only the last command"),
    (f"{CONTAINER}/command", ["sh", "-c", "{ pip install x; }; python y"], "only the last command"),
    (f"{CONTAINER}/command", ["sh", "-c", "exec python y"], "without exec"),
    (f"{CONTAINER}/command", ["sh", "-c", "python $(which y)"], "Kubernetes would replace"),
    ("spec/metricsCollectorSpec/collector/kind", "Stdout", "collector.kind: must be one of"),
    (f"{SOURCE}/filter/metricsFormat", ["([a-z]+)="], "needs two groups"),
    (f"{SOURCE}/filter/metricsFormat", ["(a)(b"], "is not a regular expression"),
    (f"{SOURCE}/filter/metricsFormat", ["(a);(b)"], "semicolon"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "words"), VIOLATIONS)
def test_a_violation_is_named(path: str, value: Any, words: str) -> None:
    experiment = make_experiment()
    assert find_problems(experiment) == []
    way = path.split("/")
    if way[-1] == "nvidia.com~gpu":
        experiment[way[0]]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0]["resources"][
            "requests"
        ]["nvidia.com/gpu"] = value
    else:
        experiment = change(experiment, path, value)
    problems = find_problems(experiment)
    assert any(words in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("collector", "source", "words"),
    [
        ("File", {"fileSystemPath": {"path": "metrics.log"}}, "absolute path"),
        ("File", {"fileSystemPath": {"path": "/m", "format": "CSV"}}, "TEXT or JSON"),
        ("File", {"fileSystemPath": {"path": "/m", "format": "JSON"}, "filter": {"metricsFormat": ["(a)(b)"]}},
         "not for files of the format JSON"),
        ("TensorFlowEvent", {"fileSystemPath": {"path": "log", "kind": "Directory"}}, "absolute path"),
        ("TensorFlowEvent", {"fileSystemPath": {"path": "/log", "format": "TEXT"}}, "is not for TensorFlowEvent"),
        ("PrometheusMetric", {"httpGet": {"port": 0}}, "above 0"),
        ("PrometheusMetric", {"httpGet": {"port": 80, "path": "metrics"}}, "must start with /"),
        ("Custom", {}, "customCollector: is missing"),
        ("Push", {}, ""),
    ],
)  # fmt: skip
def test_every_collector_has_its_rules(collector: str, source: dict[str, Any], words: str) -> None:
    spec = {"collector": {"kind": collector}, "source": source}
    problems = find_problems(change(make_experiment(), "spec/metricsCollectorSpec", spec))
    assert (problems == []) if not words else any(words in problem for problem in problems)


@pytest.mark.parametrize(
    ("algorithm", "parameter", "words"),
    [
        ("bayesianoptimization", {"min": "0.0", "max": "0.9"}, "fails on a min of 0.0"),
        ("grid", {"min": "0.1", "max": "0.9"}, "grid needs a step"),
        ("grid", {"min": "0.1", "max": "0.9", "step": "0.4"}, "more than the grid's 3 combinations"),
        ("hyperband", {"min": "0.1", "max": "0.9"}, "hyperband needs r_l"),
        ("cmaes", {"min": "0.1", "max": "0.9"}, "at least 2 numeric parameters"),
    ],
)
def test_algorithms_refuse_what_their_services_fail_on(algorithm: str, parameter: dict[str, str], words: str) -> None:
    experiment = make_experiment()
    experiment["spec"]["algorithm"] = {"algorithmName": algorithm}
    experiment["spec"]["parameters"] = [{"name": "momentum", "parameterType": "double", "feasibleSpace": parameter}]
    assert any(words in problem for problem in find_problems(experiment))


def test_hyperband_needs_room_for_its_first_bracket() -> None:
    search = make_search({"optimizer": "sgd"}, strategy="hyperband", max_trials=30)
    (experiment,) = build_experiments(search, make_options())
    document = json.loads(json.dumps(experiment.document))
    document["spec"]["parallelTrialCount"] = 8
    assert find_problems(document) == ["spec.parallelTrialCount: hyperband needs at least 9 for r_l 9 and eta 3, got 8"]
    document["spec"]["earlyStopping"] = make_experiment()["spec"]["earlyStopping"]
    assert len(find_problems(document)) == 2


def test_all_violations_are_told_at_once() -> None:
    experiment = change(change(make_experiment(), "spec/maxTrials", 1), "spec/objective/type", "best")
    with pytest.raises(EngineError) as raised:
        check_experiment(experiment)
    assert len(raised.value.problems) == 2
    assert all(re.match(r"Experiment ic-[0-9a-f]{16}: spec\.", problem) for problem in raised.value.problems)


@pytest.mark.parametrize(
    ("status", "changes", "words"),
    [
        ({}, {"parallelTrialCount": 1}, ""),
        ({"trials": 5}, {"maxTrialCount": 5}, "above the 5 existing"),
        ({}, {"algorithm": {}}, "only parallelTrialCount"),
        ({"conditions": [{"type": "Succeeded", "status": "True", "reason": "ExperimentGoalReached"}]},
         {"maxTrialCount": 30}, "can continue only if"),
        ({"conditions": [{"type": "Succeeded", "status": "True", "reason": "ExperimentMaxTrialsReached"}]},
         {"maxTrialCount": 30, "resumePolicy": "LongRunning"}, ""),
    ],
)  # fmt: skip
def test_a_change_of_a_running_experiment_has_its_rules(
    status: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    old = make_experiment() | {"status": status}
    old["spec"]["resumePolicy"] = changes.get("resumePolicy", "Never")
    problems = find_update_problems(old, {**old, "spec": {**old["spec"], **changes}})
    assert (problems == []) if not words else any(words in problem for problem in problems)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("2Gi", "2Gi"), ("2048Mi", "2Gi"), ("1.5Gi", "1536Mi"), ("0.5", "500m"), ("1000m", "1"), ("2000M", "2G"),
     ("1024", "1024"), ("1e3", "1k"), ("0", "0"), ("2 Gi", None), ("", None), ("-1Gi", "-1Gi")],
)  # fmt: skip
def test_amounts_in_kubernetes_own_form(text: str, canonical: str | None) -> None:
    assert canonical_quantity(text) == canonical


def test_the_table_of_kubernetes_fields_is_that_of_its_published_schemas() -> None:
    assert json.loads(TABLE.read_text()) == make_table()
    assert kubernetes_types()["Toleration"]["key"] == "string"


def test_documents_are_made_and_checked_without_a_kubernetes_client() -> None:
    import subprocess
    import sys

    rooms = (
        "import kfp_image_tuning.engines.katib.request.planning, sys; print(sorted(m for m in sys.modules if m in "
        + ("('kubernetes', 'torch', 'kfp', 'numpy', 'obstore')))")
    )
    assert subprocess.run([sys.executable, "-c", rooms], capture_output=True, text=True, check=True).stdout == "[]\n"
