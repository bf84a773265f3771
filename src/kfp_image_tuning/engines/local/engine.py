"""The local engine: trials are trained by processes on this machine."""

from dataclasses import dataclass
from pathlib import Path

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.wording import duration
from kfp_image_tuning.engines.local.devices import Device, Machine
from kfp_image_tuning.engines.local.session import LocalSession
from kfp_image_tuning.engines.protocol import Plan
from kfp_image_tuning.search.grid import make_grid
from kfp_image_tuning.search.search import Search

ENGINE_NAME = "local"


@dataclass(frozen=True, kw_only=True)
class LocalPlan(Plan):
    """What will run on this machine.

    Attributes:
        devices: What trials train on, one at a time each.
    """

    devices: tuple[Device, ...]


class LocalEngine:
    """Runs trials on this machine.

    Args:
        dataset_directory: The prepared data set.
        work_directory: Where the search keeps its state; the search that is already there continues.
        model_directory: Gets the best trial's model.
        initial_model: A model that every trial starts from.
        initial_model_name: What a search that continues knows it by; empty: its path.
        machine: What there is to train on; None: what this machine has.
    """

    def __init__(
        self,
        dataset_directory: Path,
        work_directory: Path,
        model_directory: Path,
        initial_model: str | None = None,
        initial_model_name: str = "",
        machine: Machine | None = None,
    ) -> None:
        self._dataset_directory = dataset_directory
        self._work_directory = work_directory
        self._model_directory = model_directory
        self._initial_model = initial_model
        self._initial_model_name = initial_model_name or initial_model
        self._machine = machine or Machine.here()

    def plan(self, search: Search) -> LocalPlan:
        """Say what will run on this machine."""
        if search.space.fixed.get("use_pretrained_model") and self._initial_model is None:
            raise EngineError(
                "use_pretrained_model: is 1, but there is no model to start from; give one as --initial-model (in a "
                "pipeline: tune_initial_model), or set it to 0"
            )
        devices = self._machine.choose_devices(search.budget.parallel_trials)[: search.budget.max_trials]
        warnings = list(search.space.warnings)
        if search.strategy == "hyperband" and not search.stop_bad_trials:
            warnings.append("hyperband ends bad trials by its nature; choose random to let all of them run")
        return LocalPlan(
            engine=ENGINE_NAME,
            search=search,
            request={
                "search": search.to_dict(),
                "dataset": str(self._dataset_directory),
                "initial_model": self._initial_model_name,
                "devices": [vars(device) for device in devices],
            },
            devices=devices,
            parallel_trials=len(devices),
            summary=_summary(search, devices),
            warnings=tuple(warnings),
        )

    def start(self, plan: LocalPlan) -> LocalSession:
        """The session of a plan."""
        return LocalSession(
            plan.search,
            plan.devices,
            Path(plan.request["dataset"]),
            self._work_directory,
            self._model_directory,
            initial_model=self._initial_model,
            initial_model_name=plan.request["initial_model"],
        )


def _summary(search: Search, devices: tuple[Device, ...]) -> tuple[str, ...]:
    chosen: str = search.strategy
    if chosen == "grid":
        chosen = f"grid of {len(make_grid(search))} combinations"
    limit = "" if search.budget.max_seconds is None else f" in {duration(search.budget.max_seconds)}"
    names = ", ".join(sorted({device.name for device in devices}))
    threads = "1 thread" if devices[0].threads == 1 else f"{devices[0].threads} threads"
    line = (
        f"Local search, {chosen} over {', '.join(search.space.optimizers)}: up to "
        f"{search.budget.max_trials} trials of {search.max_epochs} epochs{limit}, "
        f"{len(devices)} at a time on {names}, {threads} each."
    )
    if not search.prior:
        return (line,)
    return (
        line,
        "It looks first where such networks usually train well: the prior, which `kfp-image-tuning plan` shows and "
        "--prior none (in a pipeline: tune_prior) turns off.",
    )
