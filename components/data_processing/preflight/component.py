"""The KFP component that checks all parameters of a run before any other step spends anything."""

from typing import NamedTuple

from kfp import dsl

INSTALLED_EXTRAS = ("sagemaker",)


@dsl.component(base_image="python:3.11-slim", install_kfp_package=False)  # type: ignore[untyped-decorator]
def preflight(
    engine: str,
    run_id: str,
    # Options, made by `make generate`.
    data_images: str,
    data_image_shape: str = "auto",
    data_validation_fraction: float = 0.1,
    data_test_fraction: float = 0.1,
    data_shards: int = 1,
    data_max_invalid_images: str = "1%",
    data_seed: int = 0,
    data_encoding: str = "auto",
    data_quality: int = 95,
    data_training_margin: float = -1.0,
    data_splits: str = "",
    data_classes_from: str = "",
    data_image_column: str = "",
    data_label_column: str = "",
    data_split_column: str = "",
    data_label_separator: str = "",
    data_folder: str = "",
    data_extension: str = "",
    data_class_names: str = "",
    data_classes: str = "",
    data_merge: str = "",
    data_group_by: str = "",
    data_allow_empty_classes: bool = False,
    data_work_directory: str = "",
    data_cpu: str = "0",
    data_memory: str = "0",
    tune_search_space: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    tune_preset: str = "documented",
    tune_strategy: str = "bayesian",
    tune_search_mode: str = "conditional",
    tune_epochs: int = 0,
    tune_stop_bad_trials: bool = True,
    tune_seed: int = 0,
    tune_initial_model: str = "",
    tune_max_trials: int = 20,
    tune_parallel_trials: int = 0,
    tune_max_seconds: float = 0.0,
    tune_target_accuracy: float = 0.0,
    tune_patience: int = 0,
    tune_max_failed_trials: int = -1,
    tune_prior: str = "auto",
    tune_work_directory: str = "",
    tune_cpu: str = "0",
    tune_memory: str = "0",
    tune_accelerator: str = "",
    tune_accelerator_count: str = "0",
    eval_min_accuracy: float = 0.0,
    eval_baseline: str = "",
    eval_cpu: str = "0",
    eval_memory: str = "0",
    eval_accelerator: str = "",
    eval_accelerator_count: str = "0",
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
    eval_mode: str = "transform",
    eval_instance_type: str = "ml.m5.xlarge",
    # The end of what is made.
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
        data_images: Where the images are: a folder of class folders, a zip or tar of one, a table of images (CSV, JSON
            Lines, Parquet, .lst, .manifest), .rec files, or a data set that is prepared already; a path, or an s3://,
            gs://, minio://, https:// or pvc:// address.
        data_image_shape: Channels, height and width that the network sees, such as 3,224,224; auto: chosen by the
            images.
        data_validation_fraction: Fraction of the images on which trials are compared, from 0 to 1.
        data_test_fraction: Fraction of the images that no trial sees, for the evaluation, from 0 to 1.
        data_shards: Number of files that the training images are written to.
        data_max_invalid_images: Unreadable images that are tolerated: a number such as 20, or a percentage such as 1%.
        data_seed: Seed of the split.
        data_encoding: How images are stored: auto (PNG up to 64 pixels, else JPEG), jpeg or png.
        data_quality: Quality of stored JPEG images, at most 100.
        data_training_margin: How much larger training images are stored than the image shape, from 0 to 1; -1: 1/7
            where nine of ten images are so large, else 0.
        data_splits: The folders that are the splits, such as train=fold1,train=fold2,test=fold3; others are not read;
            empty: by the folders' names.
        data_classes_from: Which of nested folders name the classes: top, leaf, or the folder whose folders are the
            classes; empty: by the layout, which must tell.
        data_image_column: The table's column with the images' file names; empty: by the columns' names.
        data_label_column: The table's column with the classes; empty: by the columns' names.
        data_split_column: The table's column with the splits; empty: by the columns' names.
        data_label_separator: What stands between several labels of an image in a table; empty: |.
        data_folder: The folder that a table's file names are relative to, itself relative to the table's folder; empty:
            found out.
        data_extension: What a table's file names lack, such as .jpg; empty: found out.
        data_class_names: Names for classes that the source only numbers, by number, with commas between them; empty:
            the source's.
        data_classes: The classes to keep, with commas between them; empty: all.
        data_merge: Classes to rename or merge, such as puppy=dog,hound=dog; empty: none.
        data_group_by: Images that belong together, such as those of one patient or video, stay in one split: the
            table's column that says it, or a regular expression whose first group is found in their names; empty: each
            image by itself.
        data_allow_empty_classes: Accept classes without an image to train on.
        data_work_directory: Folder on a volume that outlives the pod, so that a restarted run need not prepare again;
            pipelines write the run's identity in place of {run}; empty: none.
        data_cpu: Processors of the step's pod, such as 4; 0: no limit.
        data_memory: Memory of the step's pod, such as 16Gi; 0: no limit.
        tune_search_space: Changes to the preset's ranges by hyperparameter, such as {"learning_rate": {"min": 1e-4,
            "max": 0.1}, "optimizer": ["sgd", "adam"], "momentum": 0.9}.
        tune_preset: Where the ranges come from: documented (AWS's ranges exactly) or practical (within them, without
            what never works).
        tune_strategy: How the next trial is chosen: bayesian, random, grid or hyperband.
        tune_search_mode: What is tuned: conditional (a trial gets what its optimizer uses) or flat (every trial gets
            everything, and ignores the rest).
        tune_epochs: Epochs of every trial; 0: the search space's, or the algorithm's default of 30.
        tune_stop_bad_trials: Whether trials that do worse than others at the same point are ended early.
        tune_seed: Seed of the search and of every trial's training.
        tune_initial_model: Model that every trial starts from: a folder or .tar.gz of one, a path or an s3://, gs:// or
            https:// address; with use_pretrained_model 1 in the search space, its last layer starts from scratch;
            empty: none.
        tune_max_trials: Trials in all.
        tune_parallel_trials: Trials at a time; 0: as many as the engine has room for.
        tune_max_seconds: Wall time of the search, in seconds; 0: no limit.
        tune_target_accuracy: Validation accuracy that is good enough to stop, from 0 to 1; 0: none.
        tune_patience: Trials in a row without a better one that end the search, at least 3; 0: no limit.
        tune_max_failed_trials: Failed trials that are tolerated; -1: a quarter of the trials, at least 3.
        tune_prior: Where the search looks first: auto (with bayesian and hyperband where values are usually good, in
            ranges that you do not give) or none (evenly everywhere).
        tune_work_directory: Folder on a volume that outlives the pod, so that a restarted run continues with the
            search; pipelines write the run's identity in place of {run}; empty: beside the run's artifacts.
        tune_cpu: Processors of the step's pod, such as 4; 0: no limit.
        tune_memory: Memory of the step's pod, such as 16Gi; 0: no limit.
        tune_accelerator: What the step's GPUs are called on the nodes, such as nvidia.com/gpu; empty: none.
        tune_accelerator_count: How many GPUs the step gets, such as 1.
        eval_min_accuracy: Test accuracy below which the model does not pass, from 0 to 1; 0: every model passes.
        eval_baseline: What must be beaten by more than noise: path or address of the evaluation.json of a model; empty:
            none.
        eval_cpu: Processors of the step's pod, such as 4; 0: no limit.
        eval_memory: Memory of the step's pod, such as 16Gi; 0: no limit.
        eval_accelerator: What the step's GPUs are called on the nodes, such as nvidia.com/gpu; empty: none.
        eval_accelerator_count: How many GPUs the step gets, such as 1.
        tune_gpus: GPUs of each trial; 0: none.
        tune_storage: Where trials read images and leave models: s3://, gs:// or minio://BUCKET/FOLDER, or
            pvc://CLAIM/FOLDER; empty: beside the data set, if pods reach that.
        tune_storage_mount: Where this machine, or the tuning step's pod, sees the folder of storage if that is on a
            volume claim; empty: as the pipeline was compiled.
        tune_data: Folder where trials find the prepared data set already: in a store, or on a volume claim, that they
            reach; empty: it is brought there.
        tune_run: Identity of the run: the same one finds what it has started again; empty: Kubeflow's.
        tune_katib_options: Everything else, such as {"algorithm": "tpe", "pods": {"memory": "16Gi", "queue": "gpus"}}.
            Fields, which docs/reference.md describes: initial_model, namespace, name_prefix, algorithm,
            algorithm_settings, resume_policy, keep_experiments, pending_timeout_seconds, orphan_timeout_seconds,
            credentials_secret, credentials_keys, endpoint_url, region, pods, pods.kind, pods.image, pods.base_image,
            pods.package, pods.packages_index, pods.trusted_host, pods.gpu_resource, pods.nodes, pods.runtime, pods.cpu,
            pods.memory, pods.shared_memory, pods.scratch, pods.node_selector, pods.tolerations, pods.affinity,
            pods.priority_class, pods.service_account, pods.image_pull_secrets, pods.queue, pods.istio,
            pods.max_trial_seconds, pods.user, pods.env, pods.volumes, pods.volume_mounts, pods.labels,
            pods.annotations.
        tune_role: ARN of the execution role that training and transform jobs assume.
        tune_bucket: Where data and models are stored in S3: my-bucket, or s3://my-bucket/folder.
        tune_region: AWS region, such as us-east-1; empty: from the environment (AWS_REGION).
        tune_sagemaker_options: Everything else about the tuning job, such as {"instance_type": "ml.g5.xlarge", "spot":
            true}. Fields, which docs/reference.md describes: region, name_prefix, instance_type, nodes, volume_gb,
            instance_configs, instance_configs.instance_type, instance_configs.nodes, instance_configs.volume_gb,
            max_trial_seconds, pending_timeout_seconds, max_seconds, spot, max_wait_seconds, checkpoints,
            retry_attempts, subnets, security_groups, volume_kms_key, output_kms_key, network_isolation,
            encrypt_traffic, tags, env, input_mode, content, channels, shard_data, manifest_attributes,
            manifest_label_format, initial_model, warm_start, warm_start.parents, warm_start.kind, autotune,
            auto_parameters, early_stopping, stop_on_convergence, hyperband_min_epochs, image, on_stopped, assume_role,
            endpoint_url, poll_seconds.
        eval_mode: Where the best model is tested: transform (by batch transform on SageMaker, as the algorithm serves
            it) or offline (the same network in this pod or on this machine).
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
