"""The pipeline on a cluster: images → data set → best model by Katib's trial pods → evaluation.

Parameters carry the prefix of the step that they belong to, because the KFP console sorts them by name.
"""

from kfp import dsl

from kfp_image_tuning.components.evaluation.model_evaluation import model_evaluation
from kfp_image_tuning.components.training.katib_tuning import katib_tuning
from kfp_image_tuning.pipelines.step_resources import limit
from kfp_image_tuning.pipelines.steps import ImageTuningOutputs, check, collect, evaluate, prepare, search
from kfp_image_tuning.pipelines.store_access import reach_own_store, reach_stores


@dsl.pipeline(  # type: ignore[untyped-decorator]
    name="image-tuning-katib",
    display_name="Image classification tuning, with Katib",
    description="Prepare labelled images, search a classifier's hyperparameters in GPU pods, evaluate the best model.",
)
def image_tuning_katib(
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
    data_secret: str = "mlpipeline-minio-artifact",
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
    tune_gpus: int = 1,
    tune_storage: str = "",
    tune_storage_mount: str = "",
    tune_data: str = "",
    tune_run: str = "",
    tune_katib_options: dict = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON
    eval_min_accuracy: float = 0.0,
    eval_baseline: str = "",
    eval_cpu: str = "0",
    eval_memory: str = "0",
    eval_accelerator: str = "",
    eval_accelerator_count: str = "0",
    # The end of what is made.
) -> ImageTuningOutputs:
    """Prepare images, search in GPU pods of the cluster, evaluate the best model.

    Args:
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
        data_secret: Secret with the keys of the object store where the images are: accesskey and secretkey, or
            AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL, AWS_REGION), or key.json for gs://; the
            default is that of Kubeflow's own store.
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
        eval_min_accuracy: Test accuracy below which the model does not pass, from 0 to 1; 0: every model passes.
        eval_baseline: What must be beaten by more than noise: path or address of the evaluation.json of a model; empty:
            none.
        eval_cpu: Processors of the step's pod, such as 4; 0: no limit.
        eval_memory: Memory of the step's pod, such as 16Gi; 0: no limit.
        eval_accelerator: What the step's GPUs are called on the nodes, such as nvidia.com/gpu; empty: none.
        eval_accelerator_count: How many GPUs the step gets, such as 1.

    Returns:
        dataset: The data set: dataset.json with train, validation and test record files.
        best_model: The best trial's model: model.safetensors and model.json.
        tuning_result: result.json with the search and every trial.
        evaluation: evaluation.json with every measure on the test images.
        report: The whole run on one page.
        best_hyperparameters: The best trial's hyperparameters.
        accuracy: Fraction of the test images that are classified right.
        passed: Whether the model is good enough.
    """
    given = dict(locals())
    checked = check("katib", given)
    reach_stores(checked, data_secret)
    prepared = prepare(checked, given)
    reach_stores(prepared, data_secret)
    limit(prepared, cpu=data_cpu, memory=data_memory)
    tuned = search(katib_tuning, prepared, checked, given)
    # Where the trials' models are if no other storage is given.
    reach_own_store(tuned)
    evaluated = evaluate(
        model_evaluation,
        prepared,
        tuned,
        given,
        secret=data_secret,
    )
    limit(
        evaluated,
        cpu=eval_cpu,
        memory=eval_memory,
        accelerator=eval_accelerator,
        accelerator_count=eval_accelerator_count,
    )
    return collect(prepared, tuned, evaluated)
