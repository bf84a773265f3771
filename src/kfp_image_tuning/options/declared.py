"""All options. A new one is a field here: the rest is made from it (`make generate`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from kfp_image_tuning.core.store_address import KUBEFLOW_SECRET
from kfp_image_tuning.options.declaration import Options, Step, option
from kfp_image_tuning.search.search import PriorChoice, SearchMode, Strategy
from kfp_image_tuning.search.search_space import Preset

_SURVIVES = "folder on a volume that outlives the pod, so that a restarted run"
_RUN_MARK = "pipelines write the run's identity in place of {run}"
_IDENTITY = "identity of the run: the same one finds what it has started again"
_PREPARED = "folder where trials find the prepared data set already: in a store, or on a volume claim, that they reach"


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """What data preparation makes of images."""

    step: ClassVar[Step] = "data"
    title: ClassVar[str] = "images"

    images: str = option(
        help="where the images are: a folder of class folders, a zip or tar of one, a table of images (CSV, JSON "
        "Lines, Parquet, .lst, .manifest), .rec files, or a data set that is prepared already; a path, or an s3://, "
        "gs://, minio://, https:// or pvc:// address",
        flag="--data",
        metavar="SOURCE",
        is_place=True,
    )
    image_shape: str = option(
        "auto",
        help="channels, height and width that the network sees, such as 3,224,224; auto: chosen by the images",
        pattern=r"auto|\s*[13]\s*,\s*[1-9]\d*\s*,\s*[1-9]\d*\s*",
        such_as="an image shape; give channels,height,width such as 3,224,224, or auto",
        metavar="C,H,W",
    )
    validation_fraction: float = option(
        0.1, help="fraction of the images on which trials are compared", unit="fraction"
    )
    test_fraction: float = option(
        0.1, help="fraction of the images that no trial sees, for the evaluation", unit="fraction"
    )
    shards: int = option(1, help="number of files that the training images are written to", least=1)
    max_invalid_images: str = option(
        "1%",
        help="unreadable images that are tolerated: a number such as 20, or a percentage such as 1%",
        pattern=r"\d+(\.\d+)?\s*%|\d+",
        such_as="a number of images such as 20, or a percentage such as 5%",
        metavar="N",
    )
    seed: int = option(0, help="seed of the split", least=0, metavar="S")
    encoding: Literal["auto", "jpeg", "png"] = option(
        "auto",
        help="how images are stored",
        choices={"auto": "PNG up to 64 pixels, else JPEG", "jpeg": "", "png": ""},
    )
    quality: int = option(95, help="quality of stored JPEG images", least=1, most=100, metavar="Q")
    training_margin: float | None = option(
        None,
        help="how much larger training images are stored than the image shape",
        unset=-1.0,
        unit="fraction",
        otherwise="1/7 where nine of ten images are so large, else 0",
    )
    splits: str | None = option(
        None,
        help="the folders that are the splits, such as train=fold1,train=fold2,test=fold3; others are not read",
        otherwise="by the folders' names",
        pattern=r"\s*(train|val|validation|test)\s*=[^=,]+(,\s*(train|val|validation|test)\s*=[^=,]+)*",
        such_as="splits and their folders; give such as train=DIR,validation=DIR,test=DIR",
        metavar="SPLIT=DIR,…",
    )
    classes_from: str | None = option(
        None,
        help="which of nested folders name the classes: top, leaf, or the folder whose folders are the classes",
        otherwise="by the layout, which must tell",
        metavar="top|leaf|DIR",
    )
    image_column: str | None = option(
        None, help="the table's column with the images' file names", otherwise="by the columns' names", metavar="NAME"
    )
    label_column: str | None = option(
        None, help="the table's column with the classes", otherwise="by the columns' names", metavar="NAME"
    )
    split_column: str | None = option(
        None, help="the table's column with the splits", otherwise="by the columns' names", metavar="NAME"
    )
    label_separator: str | None = option(
        None, help="what stands between several labels of an image in a table", otherwise="|", metavar="TEXT"
    )
    folder: str | None = option(
        None,
        help="the folder that a table's file names are relative to, itself relative to the table's folder",
        otherwise="found out",
        metavar="DIR",
    )
    extension: str | None = option(
        None, help="what a table's file names lack, such as .jpg", otherwise="found out", metavar=".EXT"
    )
    class_names: str | None = option(
        None,
        help="names for classes that the source only numbers, by number, with commas between them",
        otherwise="the source's",
        metavar="A,B,…",
    )
    classes: str | None = option(
        None, help="the classes to keep, with commas between them", otherwise="all", metavar="A,B,…"
    )
    merge: str | None = option(
        None,
        help="classes to rename or merge, such as puppy=dog,hound=dog",
        otherwise="none",
        pattern="[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*",
        such_as="old and new names; give such as puppy=dog,hound=dog",
        metavar="OLD=NEW,…",
    )
    group_by: str | None = option(
        None,
        help="images that belong together, such as those of one patient or video, stay in one split: the table's "
        "column that says it, or a regular expression whose first group is found in their names",
        otherwise="each image by itself",
        metavar="COLUMN|REGEX",
    )
    allow_empty_classes: bool = option(False, help="accept classes without an image to train on")
    work_directory: str | None = option(
        None, help=f"{_SURVIVES} need not prepare again; {_RUN_MARK}", otherwise="none", flag=""
    )


@dataclass(frozen=True, kw_only=True)
class StoreOptions(Options):
    """What a pipeline needs to read images."""

    step: ClassVar[Step] = "data"

    secret: str = option(
        KUBEFLOW_SECRET,
        help="Secret with the keys of the object store where the images are: accesskey and secretkey, or "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL, AWS_REGION), or key.json for gs://; the "
        "default is that of Kubeflow's own store",
        flag="",
    )


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Options):
    """What is searched."""

    title: ClassVar[str] = "search"

    search_space: Mapping[str, Any] = option(
        dict,
        help="changes to the preset's ranges by hyperparameter, such as "
        '{"learning_rate": {"min": 1e-4, "max": 0.1}, "optimizer": ["sgd", "adam"], "momentum": 0.9}',
        metavar="FILE",
    )
    preset: Preset = option(
        "documented",
        help="where the ranges come from",
        choices={"documented": "AWS's ranges exactly", "practical": "within them, without what never works"},
    )
    strategy: Strategy = option("bayesian", help="how the next trial is chosen")
    search_mode: SearchMode = option(
        "conditional",
        help="what is tuned",
        choices={
            "conditional": "a trial gets what its optimizer uses",
            "flat": "every trial gets everything, and ignores the rest",
        },
    )
    epochs: int | None = option(
        None, help="epochs of every trial", otherwise="the search space's, or the algorithm's default of 30", least=1
    )
    stop_bad_trials: bool = option(
        True, help="whether trials that do worse than others at the same point are ended early"
    )
    seed: int = option(0, help="seed of the search and of every trial's training", least=0, metavar="S")
    initial_model: str | None = option(
        None,
        help="model that every trial starts from: a folder or .tar.gz of one, a path or an s3://, gs:// or https:// "
        "address; with use_pretrained_model 1 in the search space, its last layer starts from scratch",
        otherwise="none",
        metavar="MODEL",
        is_place=True,
    )


@dataclass(frozen=True, kw_only=True)
class BudgetOptions(Options):
    """What a search may cost."""

    title: ClassVar[str] = "limits of the search (the first that is reached ends it)"

    max_trials: int = option(20, help="trials in all", least=1)
    parallel_trials: int | None = option(
        None, help="trials at a time", otherwise="as many as the engine has room for", least=1
    )
    max_seconds: float | None = option(None, help="wall time of the search", unit="seconds", otherwise="no limit")
    target_accuracy: float | None = option(
        None, help="validation accuracy that is good enough to stop", unit="fraction", otherwise="none"
    )
    patience: int | None = option(
        None, help="trials in a row without a better one that end the search", otherwise="no limit", least=3
    )
    max_failed_trials: int | None = option(
        None,
        help="failed trials that are tolerated",
        unset=-1,
        otherwise="a quarter of the trials, at least 3",
        least=0,
    )


@dataclass(frozen=True, kw_only=True)
class LocalOptions(Options):
    """What only the search on one machine, or in one pod, has."""

    title: ClassVar[str] = "with --engine local: trials train on this machine"

    prior: PriorChoice = option(
        "auto",
        help="where the search looks first",
        choices={
            "auto": "with bayesian and hyperband where values are usually good, in ranges that you do not give",
            "none": "evenly everywhere",
        },
    )
    work_directory: str | None = option(
        None,
        help=f"{_SURVIVES} continues with the search; {_RUN_MARK}",
        otherwise="beside the run's artifacts",
        flag="",
    )


@dataclass(frozen=True, kw_only=True)
class KatibPlaceOptions(Options):
    """Where in a cluster Katib's trials run, and what they read."""

    title: ClassVar[str] = "with --engine katib: trials are pods of the current kubeconfig's cluster"

    gpus: int = option(1, help="GPUs of each trial; 0: none", least=0)
    storage: str | None = option(
        None,
        help="where trials read images and leave models: s3://, gs:// or minio://BUCKET/FOLDER, or pvc://CLAIM/FOLDER",
        otherwise="beside the data set, if pods reach that",
        metavar="URI",
    )
    storage_mount: str | None = option(
        None,
        help="where this machine, or the tuning step's pod, sees the folder of storage if that is on a volume claim",
        otherwise="as the pipeline was compiled",
        metavar="DIR",
    )
    data: str | None = option(
        None,
        help=_PREPARED,
        otherwise="it is brought there",
        flag="",
    )
    run: str | None = option(None, help=_IDENTITY, otherwise="Kubeflow's", flag="")
    katib_options: Mapping[str, Any] = option(
        dict,
        help='everything else, such as {"algorithm": "tpe", "pods": {"memory": "16Gi", "queue": "gpus"}}',
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class KatibFieldOptions(Options):
    """What is asked for most among the fields of ``katib_options``, as options of the command line."""

    title: ClassVar[str] = KatibPlaceOptions.title

    namespace: str | None = option(
        None, help="where in the cluster", otherwise="the kubeconfig's", metavar="NAME", inside=("namespace",)
    )
    image: str | None = option(
        None,
        help="image of the trials, with kfp-image-tuning in it, such as make image makes",
        otherwise="a public PyTorch image, into which the trainer is mounted",
        metavar="REF",
        inside=("pods", "image"),
    )
    pending_timeout: float | None = option(
        None,
        help="give up when no trial has run for so long",
        unit="seconds",
        otherwise="1h",
        inside=("pending_timeout_seconds",),
    )
    orphan_timeout: float | None = option(
        None,
        help="trials end when this command has given no sign of life for so long (0: never), such as on a laptop that "
        "sleeps",
        unset=-1.0,
        unit="seconds",
        least=0,
        otherwise="30m",
        inside=("orphan_timeout_seconds",),
    )
    keep_experiments: bool | None = option(
        None,
        help="leave Experiments, trials and logs in the cluster when the search is over",
        otherwise="no",
        inside=("keep_experiments",),
    )


@dataclass(frozen=True, kw_only=True)
class AccountOptions(Options):
    """Where in AWS jobs run."""

    title: ClassVar[str] = "with --engine sagemaker: trials are training jobs in your AWS account"

    role: str = option(help="ARN of the execution role that training and transform jobs assume", metavar="ARN")
    bucket: str = option(
        help="where data and models are stored in S3: my-bucket, or s3://my-bucket/folder", metavar="BUCKET"
    )
    region: str | None = option(
        None, help="AWS region, such as us-east-1", otherwise="from the environment (AWS_REGION)", metavar="REGION"
    )
    data: str | None = option(
        None,
        help=_PREPARED,
        otherwise="it is brought there",
        flag="",
    )
    run: str | None = option(None, help=_IDENTITY, otherwise="Kubeflow's", flag="")
    sagemaker_options: Mapping[str, Any] = option(
        dict,
        help='everything else about the tuning job, such as {"instance_type": "ml.g5.xlarge", "spot": true}',
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class TransformOptions(Options):
    """How a model that SageMaker trained is tested."""

    step: ClassVar[Step] = "eval"
    title: ClassVar[str] = AccountOptions.title

    mode: Literal["transform", "offline"] = option(
        "transform",
        help="where the best model is tested",
        choices={
            "transform": "by batch transform on SageMaker, as the algorithm serves it",
            "offline": "the same network in this pod or on this machine",
        },
        flag="--evaluate",
    )
    instance_type: str = option(
        "ml.m5.xlarge",
        help="machine of the transform job; a processor is enough",
        pattern=r"ml\.[a-z0-9-]+\.[a-z0-9]+",
        such_as="a type of machine; give one such as ml.m5.xlarge",
        flag="",
    )


@dataclass(frozen=True, kw_only=True)
class GateOptions(Options):
    """When a model is good enough."""

    step: ClassVar[Step] = "eval"
    title: ClassVar[str] = "is the model good enough? (exit code 3: no)"

    min_accuracy: float | None = option(
        None,
        help="test accuracy below which the model does not pass",
        unit="fraction",
        otherwise="every model passes",
    )
    baseline: str | None = option(
        None,
        help="what must be beaten by more than noise: path or address of the evaluation.json of a model",
        otherwise="none",
        metavar="FILE",
        is_place=True,
    )


@dataclass(frozen=True, kw_only=True)
class _PodOptions(Options):
    cpu: str = option("0", help="processors of the step's pod, such as 4; 0: no limit", flag="")
    memory: str = option("0", help="memory of the step's pod, such as 16Gi; 0: no limit", flag="")


@dataclass(frozen=True, kw_only=True)
class _GpuPodOptions(_PodOptions):
    accelerator: str | None = option(
        None, help="what the step's GPUs are called on the nodes, such as nvidia.com/gpu", otherwise="none", flag=""
    )
    accelerator_count: str = option("0", help="how many GPUs the step gets, such as 1", flag="")


class DataPodOptions(_PodOptions):
    """The pod that prepares images."""

    step: ClassVar[Step] = "data"


class TunePodOptions(_GpuPodOptions):
    """The pod that searches, with the local engine."""


class EvalPodOptions(_GpuPodOptions):
    """The pod that evaluates."""

    step: ClassVar[Step] = "eval"


class TransformPodOptions(_PodOptions):
    """The pod that evaluates what SageMaker has trained."""

    step: ClassVar[Step] = "eval"
