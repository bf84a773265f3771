"""Batch transform jobs: one prediction for each image under an S3 prefix or in a manifest, written as ``.out``."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tests.emulators.sagemaker_checks import refuse


class Predictor(Protocol):
    """Who predicts."""

    def predict(self, model_uri: str, image: bytes) -> list[float]:
        """Class probabilities of an encoded image.

        Raises:
            ValueError: If it is not an image.
        """
        ...


class HashPredictor:
    """Probabilities made of the image's own bytes: always the same, and without a model.

    Args:
        classes: How many there are, for a model.
    """

    def __init__(self, classes: Callable[[str], int] = lambda model_uri: 10) -> None:
        self._classes = classes

    def predict(self, model_uri: str, image: bytes) -> list[float]:
        digest = hashlib.sha256(image).digest()
        weights = [1 + digest[n % len(digest)] for n in range(self._classes(model_uri))]
        return [weight / sum(weights) for weight in weights]


class TransformJob:
    """One batch transform job; its predictions are made in the moment in which it would have ended.

    Args:
        request: Its CreateTransformJob request.
        model: The model's description.
        region: Where it was created.
        time: When, on the emulator's clock.
        storage: boto3's S3 client.
        predictor: Who predicts.
        seconds: How long it takes, on the emulator's clock.
    """

    def __init__(
        self, request: Mapping[str, Any], model: Mapping[str, Any], region: str, time: float, storage: Any,
        predictor: Predictor, seconds: float,
    ) -> None:  # fmt: skip
        self._check(request)
        self.request, self.created = request, time
        self.arn = f"arn:aws:sagemaker:{region}:123456789012:transform-job/{request['TransformJobName']}"
        self.status, self.failure = "InProgress", ""
        self.ended: float | None = None
        self._ready = time + seconds
        self._model, self._storage, self._predictor = model, storage, predictor

    def advance(self, now: float) -> None:
        """Let it end when it is due."""
        if self.status == "InProgress" and now >= self._ready:
            failed = [key for bucket, key in self._images() if not self._transform(bucket, key)]
            self.status, self.ended = ("Failed" if failed else "Completed"), self._ready
            if failed:
                # The other images' predictions are there all the same.
                self.failure = (
                    f"ClientError: {len(failed)} images could not be read, such as {failed[0]}. See job logs."
                )

    def stop(self, now: float) -> None:
        """StopTransformJob."""
        if self.status != "InProgress":
            refuse(f"The request was rejected because the transform job is in status {self.status}.")
        self.status, self.ended = "Stopped", now

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeTransformJob."""
        document = {name: value for name, value in self.request.items() if name != "Tags"}
        document |= {"TransformJobArn": self.arn, "TransformJobStatus": self.status, "CreationTime": self.created}
        if self.ended is not None:
            document |= {"TransformStartTime": self.created, "TransformEndTime": self.ended}
        if self.failure:
            document["FailureReason"] = self.failure
        return document

    def _images(self) -> list[tuple[str, str]]:
        source = self.request["TransformInput"]["DataSource"]["S3DataSource"]
        bucket, _, key = source["S3Uri"].removeprefix("s3://").partition("/")
        if source["S3DataType"] == "S3Prefix":
            pages = self._storage.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
            return [(bucket, entry["Key"]) for page in pages for entry in page.get("Contents", ())]
        manifest = json.loads(self._storage.get_object(Bucket=bucket, Key=key)["Body"].read())
        first = manifest[0]["prefix"].removeprefix("s3://")
        bucket, _, prefix = first.partition("/")
        return [(bucket, prefix + name) for name in manifest[1:]]

    def _transform(self, bucket: str, key: str) -> bool:
        image = self._storage.get_object(Bucket=bucket, Key=key)["Body"].read()
        container = self._model.get("PrimaryContainer") or self._model["Containers"][0]
        try:
            probabilities = self._predictor.predict(container["ModelDataUrl"], image)
        except ValueError:
            return False
        output, _, folder = self.request["TransformOutput"]["S3OutputPath"].removeprefix("s3://").partition("/")
        name = f"{folder.rstrip('/')}/{key.rpartition('/')[2]}.out".lstrip("/")
        body = json.dumps({"prediction": probabilities}).encode()
        self._storage.put_object(Bucket=output, Key=name, Body=body)
        return True

    @staticmethod
    def _check(request: Mapping[str, Any]) -> None:
        source = request["TransformInput"]["DataSource"]["S3DataSource"]
        if source["S3DataType"] == "AugmentedManifestFile":
            refuse("AugmentedManifestFile is not supported for transform jobs.")
        if request["TransformInput"].get("SplitType", "None") != "None":
            refuse("Images cannot be split: SplitType must be None.")
        if request.get("BatchStrategy") == "MultiRecord":
            refuse("The algorithm takes one image per request: BatchStrategy must be SingleRecord.")
        payload, concurrent = request.get("MaxPayloadInMB", 6), request.get("MaxConcurrentTransforms", 1)
        if math.prod((payload, max(1, concurrent))) > 100:
            refuse("MaxConcurrentTransforms * MaxPayloadInMB must not exceed 100 MB.")
