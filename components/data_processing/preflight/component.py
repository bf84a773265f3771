"""The KFP component that checks all parameters of a run before any other step spends anything."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("sagemaker",)


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)  # type: ignore[untyped-decorator]
def preflight(
    engine: str,
    run_id: str,
    data_images: str,
    data_image_shape: str = "auto",
    data_validation_fraction: float = 0.1,
    data_test_fraction: float = 0.1,
    data_shards: int = 1,
    data_max_invalid_images: str = "1%",
    data_seed: int = 0,
    data_work_directory: str = "",
    data_cpu: str = "0",
    data_memory: str = "0",
    tune_search_space: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    tune_preset: str = "documented",
    tune_strategy: str = "bayesian",
    tune_search_mode: str = "conditional",
    tune_max_trials: int = 20,
    tune_parallel_trials: int = 0,
    tune_epochs: int = 0,
    tune_max_seconds: float = 0.0,
    tune_target_accuracy: float = 0.0,
    tune_patience: int = 0,
    tune_max_failed_trials: int = -1,
    tune_stop_bad_trials: bool = True,
    tune_seed: int = 0,
    tune_prior: str = "auto",
    tune_initial_model: str = "",
    tune_work_directory: str = "",
    tune_cpu: str = "0",
    tune_memory: str = "0",
    tune_accelerator: str = "",
    tune_accelerator_count: str = "0",
    tune_gpus: int = 1,
    tune_storage: str = "",
    tune_storage_mount: str = "",
    tune_data: str = "",
    tune_run: str = "",
    tune_katib_options: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    tune_role: str = "",
    tune_bucket: str = "",
    tune_region: str = "",
    tune_sagemaker_options: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    eval_min_accuracy: float = 0.0,
    eval_baseline: str = "",
    eval_cpu: str = "0",
    eval_memory: str = "0",
    eval_accelerator: str = "",
    eval_accelerator_count: str = "0",
    eval_mode: str = "transform",
    eval_instance_type: str = "ml.m5.xlarge",
) -> NamedTuple(  # type: ignore[valid-type]
    "Outputs", [("source_fingerprint", str), ("data_work_directory", str), ("tune_work_directory", str)]
):
    """Check all parameters of a run, and report everything that is wrong with them at once.

    Takes the parameters of all pipelines under the names of the run form. What an engine's pipeline does not have stays
    at its default.

    Args:
        engine: Whose pipeline it is: local, katib or sagemaker.
        run_id: Kubeflow's identity of the run; pipelines pass it on, so that no result of another run answers for this
            one when caching is on.
        data_images: Where the images are: a folder of class folders, a zip or tar of one, a CSV or Parquet file, or
            .rec files; a path, or an s3://, gs://, minio://, https:// or pvc:// address.
        data_image_shape: Channels, height and width that the network sees, such as 3,224,224; auto: chosen by the
            images.
        data_validation_fraction: Fraction of the images on which trials are compared.
        data_test_fraction: Fraction of the images that no trial sees, for the evaluation.
        data_shards: Number of files that the training images are written to.
        data_max_invalid_images: Unreadable images that are tolerated: a percentage such as 1%, or a number of images
            such as 20.
        data_seed: Seed of the split.
        data_work_directory: Folder on a volume that outlives the pod, so that a restarted run need not prepare again;
            {run} in it stands for the run; empty: none.
        data_cpu: Processors of the pod that prepares images, such as 4; 0: no limit.
        data_memory: Its memory, such as 16Gi; 0: no limit.
        tune_search_space: Changes to the preset's ranges by hyperparameter: {"min": 1e-4, "max": 0.1}, a list of
            choices, or a fixed value.
        tune_preset: documented (AWS's ranges exactly) or practical (within them, without what never works).
        tune_strategy: bayesian, random, grid or hyperband.
        tune_search_mode: conditional (a trial gets what its optimizer uses) or flat (everything, and ignores the rest).
        tune_max_trials: Trials in all.
        tune_parallel_trials: Trials at a time; 0: as many as there are processors or GPUs.
        tune_epochs: Epochs of every trial; 0: the algorithm's default, or the search space's.
        tune_max_seconds: Wall time of the search; 0: no limit.
        tune_target_accuracy: Validation accuracy that is good enough to stop, 0 to 1; 0: none.
        tune_patience: Trials in a row without a better one that end the search; 0: no limit.
        tune_max_failed_trials: Failed trials that are tolerated; -1: a quarter of tune_max_trials, at least 3.
        tune_stop_bad_trials: Whether trials that do worse than others at the same point are ended early.
        tune_seed: Seed of the search and of every trial's training.
        tune_prior: auto (bayesian and hyperband look first where values are usually good, but for ranges of the search
            space) or none (they search every range evenly).
        tune_initial_model: Model that every trial starts from: a folder or .tar.gz of one, a path or an s3://, gs://
            or https:// address; empty: none. With use_pretrained_model 1 in the search space, its last layer starts
            anew.
        tune_work_directory: Folder on a volume that outlives the pod, so that a restarted run goes on with the search;
            {run} in it stands for the run, so that each run of a schedule searches anew; empty: none.
        tune_cpu: Processors of the pod that searches, such as 8; 0: no limit.
        tune_memory: Its memory, such as 32Gi; 0: no limit.
        tune_accelerator: What its GPUs are called on the nodes, such as nvidia.com/gpu; empty: none.
        tune_accelerator_count: How many, such as 1.
        tune_gpus: GPUs of each trial; 0: none.
        tune_storage: Where trials read images and leave models: s3://, gs:// or minio://bucket/folder, or
            pvc://claim/folder; empty: the store of the pipeline's artifacts.
        tune_storage_mount: Where the tuning step's pod sees that folder, if it is on a claim; empty: as compiled.
        tune_data: Where trials find the prepared data set already, in the same forms; empty: it is brought there.
        tune_run: Identity of the run: the same one finds its own Experiments again; empty: Kubeflow's.
        tune_katib_options: Everything else, such as {"algorithm": "tpe", "pods": {"memory": "16Gi", "queue": "gpus"}};
            docs/katib.md lists them.
        tune_role: ARN of the execution role that training and transform jobs assume.
        tune_bucket: Where data and models lie in S3: my-bucket, or s3://my-bucket/folder.
        tune_region: AWS region, such as us-east-1; empty: from the pods' environment (AWS_REGION).
        tune_sagemaker_options: Everything else about the tuning job, such as {"instance_type": "ml.g5.xlarge"} or
            {"spot": true}; docs/sagemaker.md lists them.
        eval_min_accuracy: Test accuracy below which the model does not pass; 0: every model passes.
        eval_baseline: Path or address of the evaluation.json of a model that must be beaten by more than noise;
            empty: none.
        eval_cpu: Processors of the pod that evaluates, such as 4; 0: no limit.
        eval_memory: Its memory, such as 16Gi; 0: no limit.
        eval_accelerator: What its GPUs are called on the nodes, such as nvidia.com/gpu; empty: none.
        eval_accelerator_count: How many, such as 1.
        eval_mode: transform (on SageMaker, as the algorithm serves the model) or offline (the same network in a pod).
        eval_instance_type: Machine of the transform job; a processor is enough.

    Returns:
        source_fingerprint: What changes when the images change; with the run where only reading them would tell.
        data_work_directory: The given one, with the run's identity in place of {run}.
        tune_work_directory: The given one, with the run's identity in place of {run}.
    """
    # First, while there is nothing else: this text travels to the pod, and KFP keeps it nine times.
    values = dict(locals())
    from kfp_image_tuning.steps.plain_errors import plain_errors

    with plain_errors():
        from kfp_image_tuning.steps.preflight.launcher import launch

        outcome = launch(values.pop("engine"), values.pop("run_id"), values)
    return outcome.source_fingerprint, outcome.data_work_directory, outcome.tune_work_directory
