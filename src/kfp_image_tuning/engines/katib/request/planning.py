"""The plan of a search on Katib: its documents, checked, and what a reader should know before spending."""

from collections.abc import Sequence
from dataclasses import dataclass

from kfp_image_tuning.core.errors import EngineOptionsError, ImageTuningError
from kfp_image_tuning.core.installed_code import config_map_name, install_command
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.katib.request.algorithms import ALGORITHMS, count_hyperband_trials
from kfp_image_tuning.engines.katib.request.experiment import (
    MEDIAN_STOP_EPOCH,
    MEDIAN_STOP_TRIALS,
    PlannedExperiment,
    algorithm_of,
    build_experiments,
    stops_bad_trials,
)
from kfp_image_tuning.engines.katib.request.locations import Location
from kfp_image_tuning.engines.katib.request.options import KatibOptions
from kfp_image_tuning.engines.katib.request.trial_pod import image_of, mounts_code
from kfp_image_tuning.engines.katib.request.validation import check_experiment
from kfp_image_tuning.engines.protocol import Plan
from kfp_image_tuning.search.search import Search

ENGINE_NAME = "katib"


@dataclass(frozen=True, kw_only=True)
class KatibPlan(Plan):
    """What will be applied to the cluster.

    Attributes:
        experiments: The documents of the request, each with what reads its trials.
    """

    experiments: tuple[PlannedExperiment, ...]


def plan_search(search: Search, options: KatibOptions) -> KatibPlan:
    """Make and check the documents; nothing is sent.

    Args:
        search: What is searched.
        options: Where and how.

    Raises:
        SearchSpaceError: If Katib cannot search the space.
        BudgetError: If it cannot keep the budget.
        EngineError: With everything that Katib or Kubernetes would refuse.
    """
    experiments = build_experiments(search, options)
    problems: list[str] = []
    for experiment in experiments:
        try:
            check_experiment(experiment.document)
        except ImageTuningError as error:
            problems += error.problems
    problems += _find_broken_options(options)
    if problems:
        raise EngineOptionsError.from_problems(dict.fromkeys(problems))
    return KatibPlan(
        engine=ENGINE_NAME,
        search=search,
        experiments=experiments,
        request={"documents": [experiment.document for experiment in experiments]},
        parallel_trials=sum(experiment.document["spec"]["parallelTrialCount"] for experiment in experiments),
        summary=tuple(_summary(search, options, experiments)),
        warnings=tuple(_warnings(search, options, experiments)),
    )


def _find_broken_options(options: KatibOptions) -> list[str]:
    """What documents do not show."""
    problems = []
    pods = options.pods
    if pods.user < 1:
        problems.append(f'user: {pods.user} is root, which "restricted" pod security forbids; give a number above 0')
    if pods.gpus < 0 or pods.nodes < 1:
        problems.append(f"gpus and nodes: at least 0 and 1, got {pods.gpus} and {pods.nodes}")
    if pods.image and (pods.package or pods.base_image):
        problems.append("image: holds our code, so package and base_image have no use; give one of them")
    if pods.kind == "Job" and pods.nodes > 1:
        problems.append(f'nodes: a Job trains on one machine, got {pods.nodes}; use kind "TrainJob"')
    if pods.kind == "TrainJob" and pods.priority_class:
        problems.append("priority_class: a TrainJob cannot set one; set it in the training runtime")
    for name in ("pending_timeout_seconds", "orphan_timeout_seconds"):
        if (seconds := getattr(options, name)) < 0:
            problems.append(f"{name}: at least 0, got {seconds}")
    schemes = {
        location.scheme
        for location in (Location.parse("data", options.data), Location.parse("output_uri", options.output_uri))
        if not location.is_volume
    }
    if len(schemes) > 1:
        problems.append(
            f"data and output_uri: are in stores of two kinds ({' and '.join(sorted(schemes))}), a trial has one set "
            "of credentials; put both into the same store, or one on a volume"
        )
    return problems


def _summary(search: Search, options: KatibOptions, experiments: Sequence[PlannedExperiment]) -> list[str]:
    algorithm = algorithm_of(search, options)
    pods = options.pods
    gpus = f"{pods.gpus} {pods.gpu_resource}" if pods.gpus else "no GPU"
    machines = f" on each of {pods.nodes} machines" if pods.nodes > 1 else ""
    specs = [experiment.document["spec"] for experiment in experiments]
    trials, parallel = (sum(spec[name] for spec in specs) for name in ("maxTrialCount", "parallelTrialCount"))
    lines = [
        f"Katib search, {algorithm} over {', '.join(search.space.optimizers)}: up to {trials} trials of at most "
        f"{search.max_epochs} epochs, {parallel} at a time, with {gpus}{machines} each, in {image_of(options)}.",
        "Katib's objective Validation-accuracy is validation:accuracy of the trial's best epoch (metric strategy max), "
        "the model that it leaves behind.",
    ]
    lines.append(f"Trials read {options.data} and leave their models in {options.output_uri}.")
    if mounts_code(options):
        command = install_command(options.namespace or "NAMESPACE")
        lines.append(f"Their code is in the namespace's ConfigMap {config_map_name()}; {command} puts it there.")
    for experiment, spec in zip(experiments, specs, strict=True):
        tuned = ", ".join(parameter.name for parameter in experiment.parameters)
        lines.append(
            f"Experiment {experiment.name}: {spec['maxTrialCount']} trials, {spec['parallelTrialCount']} at a time, "
            f"tunes {tuned}"
        )
    if stops_bad_trials(search, options):
        lines.append(
            f"Bad trials are ended early: after epoch {MEDIAN_STOP_EPOCH}, below the mean of what {MEDIAN_STOP_TRIALS} "
            "or more finished trials had reached there (Katib calls it medianstop)."
        )
    hours = trials * pods.max_trial_seconds / 3600 * pods.nodes
    lines.append(
        f"Cost: at most {hours * pods.gpus:.1f} GPU-hours, if every trial runs {duration(pods.max_trial_seconds)}."
        if pods.gpus
        else f"Cost: at most {hours:.1f} pod-hours, if every trial runs {duration(pods.max_trial_seconds)}."
    )
    return lines


def _warnings(search: Search, options: KatibOptions, experiments: Sequence[PlannedExperiment]) -> list[str]:
    algorithm = algorithm_of(search, options)
    notes = list(search.space.warnings)
    parameters = [parameter for experiment in experiments for parameter in experiment.parameters]
    encoded = sorted({parameter.name for parameter in parameters if parameter.encoding != "value"})
    if encoded:
        notes.append(
            f"{', '.join(encoded)}: {algorithm} on Katib does not know this scaling, so the Experiment tunes the "
            "position in the range (NAME_position); trials and results have the values"
        )
    if not ALGORITHMS[algorithm].takes_seed:
        notes.append(f"seed: {algorithm} on Katib takes none, another run tries other values")
    if algorithm == "hyperband":
        notes += _hyperband_warnings(search, experiments)
    if search.stop_bad_trials and search.max_epochs <= MEDIAN_STOP_EPOCH and stops_bad_trials(search, options):
        notes.append(
            f"early stopping: acts after epoch {MEDIAN_STOP_EPOCH} only, trials have at most {search.max_epochs} epochs"
        )
    if search.budget.patience is not None or search.budget.max_seconds is not None:
        notes.append(
            "the time limit and the wait for improvement act only while the launcher runs; Katib knows neither"
        )
    if not options.pods.image:
        notes.append(
            "the public image installs packages (70 MB) from a package index at each trial's start; without one, "
            "build an image of your own"
        )
    if not options.pods.memory:
        notes.append("memory: no limit is asked for; a namespace with a quota refuses such pods")
    if options.pods.kind == "TrainJob":
        notes.append(
            "TrainJob: needs Kubeflow Trainer 2.2 or newer; some releases of Katib leave finished trials hanging"
        )
    return notes


def _hyperband_warnings(search: Search, experiments: Sequence[PlannedExperiment]) -> list[str]:
    notes = [
        "hyperband: one failed trial ends its Experiment, and trials that continue start from scratch with more epochs"
    ]
    if search.stop_bad_trials:
        notes.append("hyperband: ends bad trials by its nature; median stopping is off")
    for experiment in experiments:
        spec = experiment.document["spec"]
        settings = {entry["name"]: entry["value"] for entry in spec["algorithm"]["algorithmSettings"]}
        whole = count_hyperband_trials(float(settings["r_l"]), int(settings["eta"]))
        if spec["maxTrialCount"] < whole:
            notes.append(
                f"hyperband: all brackets of {experiment.name} have {whole} trials, the budget ends them after "
                f"{spec['maxTrialCount']}"
            )
    return notes
