"""What AWS documents for the Image Classification algorithm's training jobs: hyperparameters, channels, machines.

Source: the developer guide's pages on the algorithm ("Image Classification - MXNet", "Hyperparameters", "Tune an Image
Classification Model"). With another training image, what only the built-in algorithm demands is not asked for.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kfp_image_tuning.engines.sagemaker.request.channels import CHANNEL_NAMES, IMAGE, MODEL, channels_by_name
from kfp_image_tuning.engines.sagemaker.request.rules import definitions_of, ranges_of, tuned_names
from kfp_image_tuning.engines.sagemaker.request.training_image import is_built_in, partition
from kfp_image_tuning.search.hyperparameter_table import parse_strings
from kfp_image_tuning.search.hyperparameters import find_problems, required_names
from kfp_image_tuning.search.search import OBJECTIVE_METRIC
from kfp_image_tuning.search.search_space import DOCUMENTED_RANGES

GPU_FAMILIES = ("p2", "p3", "g4dn", "g5")
"""The machines that AWS documents for training with this algorithm."""

_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_IMAGE_REGION = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.")


def find_broken_algorithm_rules(request: Mapping[str, Any], region: str) -> list[str]:
    """Every rule of the algorithm that a request breaks, one sentence each.

    Args:
        request: The whole request.
        region: Where it will be sent.
    """
    ranges = [entry for _, entry in ranges_of(request)]
    problems: list[str] = []
    for number, (place, definition) in enumerate(definitions_of(request)):
        image = definition["AlgorithmSpecification"].get("TrainingImage", "")
        definition_ranges = ranges[number] if number < len(ranges) else {}
        problems += _hyperparameters(place, definition, definition_ranges, built_in=is_built_in(image))
        problems += _objective(place, definition, request)
        problems += _channels(place, definition)
        problems += _locations(place, definition, region)
        if is_built_in(image):
            problems += _machines(place, definition)
    return problems


def _hyperparameters(
    place: str, definition: Mapping[str, Any], ranges: Mapping[str, Any], *, built_in: bool
) -> Iterator[str]:
    statics = definition.get("StaticHyperParameters", {})
    typed, unreadable = parse_strings(statics)
    tuned = tuned_names(ranges)
    here = f"{place}.StaticHyperParameters"
    yield from (f"{here}.{problem}" for problem in unreadable + find_problems(typed))
    for name in required_names():
        if name not in statics:
            yield f"{here}.{name}: is required by the algorithm and missing; give it"
    for name in tuned:
        if built_in and name not in DOCUMENTED_RANGES:
            yield (
                f"{place}.{name}: the built-in algorithm can tune {', '.join(DOCUMENTED_RANGES)} only; fix {name} to "
                "one value"
            )
    images = typed.get("num_training_samples")
    for entry in ranges.get("IntegerParameterRanges", ()):
        largest = entry["MaxValue"]
        too_large = images is not None and largest.isdigit() and int(largest) > images
        if entry["Name"] == "mini_batch_size" and too_large:
            yield (
                f"{place}.mini_batch_size: the maximum {largest} is more than the {images} training images, no step "
                f"could be made; lower it to {images} at most"
            )
    if any(channel.get("ContentType") == IMAGE for channel in definition["InputDataConfig"]) and not typed.get(
        "resize"
    ):
        height, width = (typed.get("image_shape") or (3, 224, 224))[1:]
        yield (
            f"{here}.resize: is required with image files (content {IMAGE}) and missing; fix resize to more than the "
            f"image shape, such as {round(max(height, width) * 8 / 7)}"
        )


def _objective(place: str, definition: Mapping[str, Any], request: Mapping[str, Any]) -> Iterator[str]:
    objective = definition.get("TuningObjective") or request["HyperParameterTuningJobConfig"].get(
        "HyperParameterTuningJobObjective", {}
    )
    if objective and (objective.get("MetricName"), objective.get("Type")) != (OBJECTIVE_METRIC, "Maximize"):
        yield (
            f"{place}: the algorithm is tuned for {OBJECTIVE_METRIC}, Maximize, got {objective.get('MetricName')!r}, "
            f"{objective.get('Type')}"
        )
    algorithm = definition["AlgorithmSpecification"]
    metrics = {metric["Name"] for metric in algorithm.get("MetricDefinitions", ())}
    built_in = is_built_in(algorithm.get("TrainingImage", ""))
    if built_in and metrics:
        yield f"{place}.AlgorithmSpecification.MetricDefinitions: the built-in algorithm brings its own; leave them out"
    if not built_in and objective.get("MetricName") not in metrics:
        yield f"{place}.AlgorithmSpecification.MetricDefinitions: must define {OBJECTIVE_METRIC} for a training image"


def _channels(place: str, definition: Mapping[str, Any]) -> Iterator[str]:
    channels = channels_by_name(definition)
    here = f"{place}.InputDataConfig"
    mode = definition["AlgorithmSpecification"].get("TrainingInputMode")
    kinds = {
        name: channel["DataSource"].get("S3DataSource", {}).get("S3DataType") for name, channel in channels.items()
    }
    images = [name for name, channel in channels.items() if channel.get("ContentType") == IMAGE]
    lists = kinds.get("train") == "S3Prefix" and "train" in images
    needed = CHANNEL_NAMES["images" if lists else "recordio"]
    for name in needed:
        if name not in channels:
            yield f"{here}.{name}: is required and missing; give its location"
    if len(channels) != len(definition["InputDataConfig"]):
        yield f"{here}: each channel may stand once only"
    for name, channel in channels.items():
        streamed = channel.get("InputMode", mode) == "Pipe"
        if streamed and name in images and kinds[name] != "AugmentedManifestFile":
            yield (
                f"{here}.{name}: image files cannot be streamed (Pipe) from a folder; use input_mode File, RecordIO "
                'files, or content "augmented_manifest"'
            )
        if kinds[name] == "AugmentedManifestFile":
            yield from _augmented_manifest(f"{here}.{name}", channel, streamed=streamed)
        if name == "model" and channel.get("ContentType") != MODEL:
            yield f"{here}.model: the content type must be {MODEL}, got {channel.get('ContentType')!r}"
    yield from _shards(here, channels, definition, mode)


def _augmented_manifest(place: str, channel: Mapping[str, Any], *, streamed: bool) -> Iterator[str]:
    if not streamed:
        yield f'{place}: augmented manifests can only be streamed; set input_mode to "Pipe"'
    if channel.get("RecordWrapperType") != "RecordIO":
        yield f"{place}.RecordWrapperType: must be RecordIO with augmented manifests"
    names = channel["DataSource"]["S3DataSource"].get("AttributeNames", ())
    if len(names) != 2:
        yield f"{place}.AttributeNames: must name the image, then the label, got {list(names)}"


def _shards(
    place: str, channels: Mapping[str, Mapping[str, Any]], definition: Mapping[str, Any], mode: str | None
) -> Iterator[str]:
    source = channels.get("train", {}).get("DataSource", {}).get("S3DataSource", {})
    uri = str(source.get("S3Uri", ""))
    recordio = "recordio" in str(channels.get("train", {}).get("ContentType"))
    if mode == "Pipe" and recordio and source.get("S3DataType") == "S3Prefix" and uri.endswith("/"):
        yield (
            f"{place}.train: in Pipe mode everything in {uri} is streamed as records, the index and list files too; "
            "prepare a single .rec file, use input_mode FastFile, or point channels.train to a folder of .rec files "
            "alone, without a slash at its end"
        )
    if source.get("S3DataDistributionType") != "ShardedByS3Key":
        return
    if mode == "Pipe":
        yield f"{place}.train: RecordIO in Pipe mode must be FullyReplicated; leave shard_data out"
    if uri.endswith(".rec"):
        yield f"{place}.train: {uri} is a single file and cannot be shared out; prepare the data with shards"
    config = definition.get("ResourceConfig") or definition.get("HyperParameterTuningResourceConfig") or {}
    counts = [choice.get("InstanceCount", 1) for choice in config.get("InstanceConfigs", (config,))]
    if max(counts, default=1) < 2:
        yield f"{place}.train: there is one machine, nothing to share out; leave shard_data out or use nodes"


def _locations(place: str, definition: Mapping[str, Any], region: str) -> Iterator[str]:
    uris = {f"InputDataConfig.{name}": _uri(channel) for name, channel in channels_by_name(definition).items()}
    uris["OutputDataConfig.S3OutputPath"] = definition["OutputDataConfig"].get("S3OutputPath", "")
    if "CheckpointConfig" in definition:
        uris["CheckpointConfig.S3Uri"] = definition["CheckpointConfig"].get("S3Uri", "")
    for name, uri in uris.items():
        if not _BUCKET.fullmatch(uri):
            yield f"{place}.{name}: {uri!r} is not an S3 location; give one such as s3://bucket/folder"
    expected = f"arn:{partition(region)}:"
    if not definition["RoleArn"].startswith(expected):
        role = definition["RoleArn"]
        yield f"{place}.RoleArn: region {region} needs a role of its own partition ({expected}…), got {role!r}"
    image = definition["AlgorithmSpecification"].get("TrainingImage", "")
    found = _IMAGE_REGION.match(image)
    if found and found[1] != region:
        yield f"{place}.TrainingImage: {image} is in {found[1]}, the training jobs run in {region}; copy it there"


def _uri(channel: Mapping[str, Any]) -> str:
    return str(channel["DataSource"].get("S3DataSource", {}).get("S3Uri", ""))


def _machines(place: str, definition: Mapping[str, Any]) -> Iterator[str]:
    config = definition.get("ResourceConfig") or definition.get("HyperParameterTuningResourceConfig") or {}
    for choice in config.get("InstanceConfigs", (config,)):
        kind = str(choice.get("InstanceType", ""))
        family = kind.split(".")[1] if kind.count(".") == 2 else ""
        if family not in GPU_FAMILIES:
            yield (
                f"{place}.ResourceConfig.InstanceType: the built-in algorithm trains on GPU machines of the families "
                f"{', '.join(GPU_FAMILIES)} only, got {kind!r}; use one such as ml.g4dn.xlarge"
            )
