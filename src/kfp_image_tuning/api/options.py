"""What `tune` and `prepare` take besides where images are and results go. Made by `make generate`."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict


class PrepareOptions(TypedDict, total=False):
    """Options of a preparation; one that is left out has its default."""

    image_shape: str
    """Channels, height and width that the network sees, such as 3,224,224; auto: chosen by the images (default:
    auto)."""
    validation_fraction: float
    """Fraction of the images on which trials are compared, from 0 to 1 (default: 0.1)."""
    test_fraction: float
    """Fraction of the images that no trial sees, for the evaluation, from 0 to 1 (default: 0.1)."""
    shards: int
    """Number of files that the training images are written to (default: 1)."""
    max_invalid_images: str
    """Unreadable images that are tolerated: a number such as 20, or a percentage such as 1% (default: 1%)."""
    seed: int
    """Seed of the split (default: 0)."""
    encoding: Literal["auto", "jpeg", "png"]
    """How images are stored: auto (PNG up to 64 pixels, else JPEG), jpeg or png (default: auto)."""
    quality: int
    """Quality of stored JPEG images, at most 100 (default: 95)."""
    training_margin: float
    """How much larger training images are stored than the image shape, from 0 to 1 (default: 1/7 where nine of ten
    images are so large, else 0)."""
    splits: str
    """The folders that are the splits, such as train=fold1,train=fold2,test=fold3; others are not read (default: by the
    folders' names)."""
    classes_from: str
    """Which of nested folders name the classes: top, leaf, or the folder whose folders are the classes (default: by the
    layout, which must tell)."""
    image_column: str
    """The table's column with the images' file names (default: by the columns' names)."""
    label_column: str
    """The table's column with the classes (default: by the columns' names)."""
    split_column: str
    """The table's column with the splits (default: by the columns' names)."""
    label_separator: str
    """What stands between several labels of an image in a table (default: |)."""
    folder: str
    """The folder that a table's file names are relative to, itself relative to the table's folder (default: found
    out)."""
    extension: str
    """What a table's file names lack, such as .jpg (default: found out)."""
    class_names: str
    """Names for classes that the source only numbers, by number, with commas between them (default: the source's)."""
    classes: str
    """The classes to keep, with commas between them (default: all)."""
    merge: str
    """Classes to rename or merge, such as puppy=dog,hound=dog (default: none)."""
    group_by: str
    """Images that belong together, such as those of one patient or video, stay in one split: the table's column that
    says it, or a regular expression whose first group is found in their names (default: each image by itself)."""
    allow_empty_classes: bool
    """Accept classes without an image to train on (default: no)."""


class TuneOptions(PrepareOptions, total=False):
    """Options of a run, those of its preparation included; one that is left out has its default."""

    search_space: Mapping[str, Any]
    """Changes to the preset's ranges by hyperparameter, such as {"learning_rate": {"min": 1e-4, "max": 0.1},
    "optimizer": ["sgd", "adam"], "momentum": 0.9}."""
    preset: Literal["documented", "practical"]
    """Where the ranges come from: documented (AWS's ranges exactly) or practical (within them, without what never
    works) (default: documented)."""
    strategy: Literal["bayesian", "random", "grid", "hyperband"]
    """How the next trial is chosen: bayesian, random, grid or hyperband (default: bayesian)."""
    search_mode: Literal["conditional", "flat"]
    """What is tuned: conditional (a trial gets what its optimizer uses) or flat (every trial gets everything, and
    ignores the rest) (default: conditional)."""
    epochs: int
    """Epochs of every trial (default: the search space's, or the algorithm's default of 30)."""
    stop_bad_trials: bool
    """Whether trials that do worse than others at the same point are ended early (default: yes)."""
    seed: int
    """Seed of the search and of every trial's training; seed of the split (default: 0)."""
    initial_model: str
    """Model that every trial starts from: a folder or .tar.gz of one, a path or an s3://, gs:// or https:// address;
    with use_pretrained_model 1 in the search space, its last layer starts from scratch (default: none)."""
    max_trials: int
    """Trials in all (default: 20)."""
    parallel_trials: int
    """Trials at a time (default: as many as the engine has room for)."""
    max_seconds: float
    """Wall time of the search, in seconds (default: no limit)."""
    target_accuracy: float
    """Validation accuracy that is good enough to stop, from 0 to 1 (default: none)."""
    patience: int
    """Trials in a row without a better one that end the search, at least 3 (default: no limit)."""
    max_failed_trials: int
    """Failed trials that are tolerated (default: a quarter of the trials, at least 3)."""
    min_accuracy: float
    """Test accuracy below which the model does not pass, from 0 to 1 (default: every model passes)."""
    baseline: str
    """What must be beaten by more than noise: path or address of the evaluation.json of a model (default: none)."""
    prior: Literal["auto", "none"]
    """Where the search looks first: auto (with bayesian and hyperband where values are usually good, in ranges that you
    do not give) or none (evenly everywhere) (default: auto)."""
    gpus: int
    """GPUs of each trial; 0: none (default: 1)."""
    storage: str
    """Where trials read images and leave models: s3://, gs:// or minio://BUCKET/FOLDER, or pvc://CLAIM/FOLDER (default:
    beside the data set, if pods reach that)."""
    storage_mount: str
    """Where this machine, or the tuning step's pod, sees the folder of storage if that is on a volume claim (default:
    as the pipeline was compiled)."""
    katib_options: Mapping[str, Any]
    """Everything else, such as {"algorithm": "tpe", "pods": {"memory": "16Gi", "queue": "gpus"}}."""
    namespace: str
    """Where in the cluster (default: the kubeconfig's)."""
    image: str
    """Image of the trials, with kfp-image-tuning in it, such as make image makes (default: a public PyTorch image, into
    which the trainer is mounted)."""
    pending_timeout: float
    """Give up when no trial has run for so long, in seconds (default: 1h)."""
    orphan_timeout: float
    """Trials end when this command has given no sign of life for so long (0: never), such as on a laptop that sleeps,
    in seconds (default: 30m)."""
    keep_experiments: bool
    """Leave Experiments, trials and logs in the cluster when the search is over (default: no)."""
    role: str
    """ARN of the execution role that training and transform jobs assume."""
    bucket: str
    """Where data and models are stored in S3: my-bucket, or s3://my-bucket/folder."""
    region: str
    """AWS region, such as us-east-1 (default: from the environment (AWS_REGION))."""
    sagemaker_options: Mapping[str, Any]
    """Everything else about the tuning job, such as {"instance_type": "ml.g5.xlarge", "spot": true}."""
    evaluate: Literal["transform", "offline"]
    """Where the best model is tested: transform (by batch transform on SageMaker, as the algorithm serves it) or
    offline (the same network in this pod or on this machine) (default: transform)."""
