"""A search in lines for a reader: ranges and why, the recipe of a trial, limits, what will run where, warnings."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.protocol import Plan
from kfp_image_tuning.search.hyperparameter_table import format_value
from kfp_image_tuning.search.prior import explain_prior
from kfp_image_tuning.search.search import DATA_FACTS, Search
from kfp_image_tuning.steps.tuning_settings import TuningSettings


def plan_here(
    settings: TuningSettings, dataset: Dataset | None, prior: str = "auto"
) -> tuple[list[str], dict[str, Any]]:
    """What a search would do.

    Args:
        settings: What is searched.
        dataset: The prepared images; None: only what does not depend on them.
        prior: ``auto`` or ``none``.

    Returns:
        The lines for a reader, and the same for the line of JSON.

    Raises:
        ImageTuningError: If the search could not be run.
    """
    if dataset is None:
        space, budget = settings.to_space(), settings.to_budget()
        warnings = [f"Warning: {warning}" for warning in space.warnings]
        lines = [
            f"Search space ({space.preset} preset):",
            *_indent(space.explain()),
            "",
            *_limits(settings),
            *warnings,
            "",
            "Depth of the network, image shape, learning rate schedule, largest mini-batch and the prior depend on the "
            "images.",
            "For the whole plan: kfp-image-tuning prepare --data IMAGES --output DATASET, then",
            "kfp-image-tuning plan --data DATASET",
        ]
        request = {"search": {"space": space.to_dict(), "budget": budget.to_dict()}}
        return lines, {"engine": "local", "request": request, "summary": [], "warnings": list(space.warnings)}
    search = settings.to_search(dataset).with_prior(prior)
    plan = _plan(search, dataset, settings.initial_model)
    lines = [
        *_describe_images(dataset),
        "",
        f"Search space ({search.space.preset} preset, {search.search_mode}):",
        *_indent(line for line in search.space.explain() if " fixed: " not in line),
        "",
        *_describe_prior(search),
        "Every trial:",
        *_indent(
            f"{name:<20} {format_value(name, value)}"
            for name, value in search.space.fixed.items()
            if name not in DATA_FACTS
        ),
        "",
        *_limits(settings),
        *plan.summary,
        *(f"Warning: {warning}" for warning in plan.warnings),
    ]
    return lines, plan_facts(plan)


def plan_facts(plan: Plan) -> dict[str, Any]:
    """A plan for the line of JSON."""
    return {
        "engine": plan.engine,
        "request": dict(plan.request),
        "summary": list(plan.summary),
        "warnings": list(plan.warnings),
    }


def _describe_images(dataset: Dataset) -> list[str]:
    counts = ", ".join(f"{split.images:,} {name}" for name, split in dataset.splits.items())
    shape = ",".join(map(str, dataset.image_shape))
    return [f"Images: {len(dataset.classes)} classes, {counts}, image_shape {shape} ({dataset.source.uri})"]


def _describe_prior(search: Search) -> list[str]:
    if not search.prior:
        return []
    heading = "Prior, where the search looks first (--prior none turns it off):"
    return [heading, *_indent(explain_prior(search.prior)), ""]


def _plan(search: Search, dataset: Dataset, initial_model: str | None) -> Plan:
    # Imported here: the engine brings in Optuna, which a plan without images does not need.
    from kfp_image_tuning.engines.local.engine import LocalEngine

    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        return LocalEngine(dataset.directory, place / "work", place / "model", initial_model).plan(search)


def _limits(settings: TuningSettings) -> list[str]:
    budget = settings.to_budget()
    limits = [f"{budget.max_trials} trials", f"{budget.failures_tolerated} failed trials are tolerated"]
    if budget.max_seconds is not None:
        limits.append(duration(budget.max_seconds))
    if budget.target_objective is not None:
        limits.append(f"until validation accuracy {budget.target_objective:g}")
    if budget.patience is not None:
        limits.append(f"{budget.patience} trials in a row without improvement")
    return [f"Limits: {', '.join(limits)}."]


def _indent(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
