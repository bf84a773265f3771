"""Who has which options: pipelines, components and the command line's engines."""

from collections.abc import Mapping

from kfp_image_tuning.options.declaration import Option, Options, options_of
from kfp_image_tuning.options.declared import (
    AccountOptions,
    BudgetOptions,
    DataPodOptions,
    EvalPodOptions,
    GateOptions,
    ImageOptions,
    KatibFieldOptions,
    KatibPlaceOptions,
    LocalOptions,
    SearchOptions,
    StoreOptions,
    TransformOptions,
    TransformPodOptions,
    TunePodOptions,
)

ENGINES = ("local", "katib", "sagemaker")
SEARCH: tuple[type[Options], ...] = (SearchOptions, BudgetOptions)
"""What every search has."""

PIPELINES: Mapping[str, tuple[type[Options], ...]] = {
    "local": (
        ImageOptions,
        StoreOptions,
        DataPodOptions,
        *SEARCH,
        LocalOptions,
        TunePodOptions,
        GateOptions,
        EvalPodOptions,
    ),
    "katib": (ImageOptions, StoreOptions, DataPodOptions, *SEARCH, KatibPlaceOptions, GateOptions, EvalPodOptions),
    "sagemaker": (
        ImageOptions,
        StoreOptions,
        DataPodOptions,
        *SEARCH,
        AccountOptions,
        TransformOptions,
        GateOptions,
        TransformPodOptions,
    ),
}
"""The parameters of each engine's pipeline, by classes of options."""

COMPONENTS: Mapping[str, tuple[type[Options], ...]] = {
    "data_preparation": (ImageOptions,),
    "local_tuning": (*SEARCH, LocalOptions),
    "katib_tuning": (*SEARCH, KatibPlaceOptions),
    "sagemaker_tuning": (*SEARCH, AccountOptions),
    "model_evaluation": (GateOptions,),
    "sagemaker_evaluation": (GateOptions, TransformOptions),
}
"""The options among each component's inputs; preflight takes `checked_options`."""

OWN_OPTIONS: Mapping[str, tuple[type[Options], ...]] = {
    "local": (LocalOptions,),
    "katib": (KatibPlaceOptions, KatibFieldOptions),
    "sagemaker": (AccountOptions, TransformOptions),
}
"""What the command line has for one engine only."""


def parameters_of(engine: str) -> tuple[Option, ...]:
    """The parameters of an engine's pipeline."""
    return options_of(*PIPELINES[engine])


def checked_options() -> tuple[Option, ...]:
    """The parameters of all pipelines that can be checked before a run; whether a Secret is there, Kubernetes says."""
    kinds = dict.fromkeys(kind for engine in ENGINES for kind in PIPELINES[engine] if kind is not StoreOptions)
    found = {entry.parameter: entry for entry in options_of(*kinds)}
    return tuple(found.values())
