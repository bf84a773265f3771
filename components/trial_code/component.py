"""The KFP component that packs the trainer for the pods in which Katib's trials train."""

from kfp import dsl

INSTALLED_EXTRAS = ()


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)  # type: ignore[untyped-decorator]
def trial_code(code: dsl.Output[dsl.Artifact]) -> None:
    """Pack the trainer for the pods in which Katib's trials train: nothing need be built or published.

    Returns:
        code: The trainer's modules, as one JSON file that Katib tuning takes and puts into a ConfigMap.
    """
    from kfp_image_tuning.katib.code_collection import collect_trial_code

    collect_trial_code().save(code.path)
