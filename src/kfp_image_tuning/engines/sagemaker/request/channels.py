"""The input channels of a training job: which data, in which form, reaches the container under which name.

Forms and content types as AWS documents them for the algorithm ("Input/Output Interface for the Image Classification
Algorithm", Amazon SageMaker developer guide).
"""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions

RECORDIO = "application/x-recordio"
IMAGE = "application/x-image"
MODEL = "application/x-sagemaker-model"

CHANNEL_NAMES = {
    "recordio": ("train", "validation"),
    "images": ("train", "validation", "train_lst", "validation_lst"),
    "augmented_manifest": ("train", "validation"),
}
"""The channels that each kind of content needs; ``model`` may come with any."""


def input_channels(options: SageMakerOptions, *, multi_label: bool) -> list[dict[str, Any]]:
    """The ``InputDataConfig`` of every training job."""
    channels = [_channel(options, name, multi_label) for name in CHANNEL_NAMES[options.content]]
    if options.initial_model:
        channels.append(
            {
                "ChannelName": "model",
                "DataSource": {"S3DataSource": _source("S3Prefix", options.initial_model)},
                "ContentType": MODEL,
                # A single archive is never streamed, whatever the images' mode.
                "InputMode": "File",
            }
        )
    return channels


def channel_uri(options: SageMakerOptions, name: str) -> str:
    """Where a channel's data is: as given, or at its place in the data set's folder."""
    if given := options.channels.get(name):
        return given
    folder = options.data.rstrip("/")
    if options.content == "augmented_manifest":
        return f"{folder}/{name}.manifest"
    if options.content == "images":
        return f"{folder}/{name}/"
    if name == "train" and options.record_shards > 1:
        return f"{folder}/{name}/"
    # The file's own key, not its folder: an index and a list are beside it, which Pipe mode would stream as well.
    return f"{folder}/{name}/{name}.rec"


def _channel(options: SageMakerOptions, name: str, multi_label: bool) -> dict[str, Any]:
    uri = channel_uri(options, name)
    if options.content == "augmented_manifest":
        label_format = f"; label-format={options.manifest_label_format}" if multi_label else ""
        source = _source("AugmentedManifestFile", uri) | {"AttributeNames": list(options.manifest_attributes)}
        return {
            "ChannelName": name,
            "DataSource": {"S3DataSource": source},
            "ContentType": RECORDIO + label_format,
            "RecordWrapperType": "RecordIO",
            "CompressionType": "None",
        }
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": _source("S3Prefix", uri, sharded=options.shard_data and name == "train")},
        "ContentType": RECORDIO if options.content == "recordio" else IMAGE,
        "CompressionType": "None",
    }


def _source(kind: str, uri: str, *, sharded: bool = False) -> dict[str, Any]:
    return {
        "S3DataType": kind,
        "S3Uri": uri,
        "S3DataDistributionType": "ShardedByS3Key" if sharded else "FullyReplicated",
    }


def channels_by_name(definition: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The channels of a training job definition."""
    return {channel["ChannelName"]: channel for channel in definition.get("InputDataConfig", ())}
