"""Pipelines and their versions as KFP's API keeps them.

From reading: names are unique; a pipeline with versions is not deleted unless ``cascade`` is set.
"""

import uuid
from typing import Any

import flask
import yaml

from tests.emulators.kfp_backend.api_answers import ApiError, find, listed, now
from tests.emulators.kfp_backend.request import Pipeline, RequestRefused

Document = dict[str, Any]


class Uploads:
    """What was uploaded; methods answer the request that Flask has at hand."""

    def __init__(self) -> None:
        self.pipelines: dict[str, Document] = {}
        self.versions: dict[str, Document] = {}

    def _upload(self, pipeline: Document, version: str) -> Document:
        text = flask.request.files["uploadfile"].read().decode()
        try:
            Pipeline.read(text)
        except (RequestRefused, yaml.YAMLError) as error:
            raise ApiError(400, f"Failed to create a pipeline: {error}") from None
        documents = list(yaml.safe_load_all(text))
        identity = str(uuid.uuid4())
        specification = documents[0]
        if len(documents) > 1:
            specification = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        self.versions[identity] = {
            "documents": documents,
            "pipeline_id": pipeline["pipeline_id"],
            "pipeline_version_id": identity,
            "display_name": version,
            "name": version,
            "created_at": now(),
            "pipeline_spec": specification,
        }
        return shown(self.versions[identity])

    def upload_pipeline(self) -> Document:
        name = flask.request.args.get("name") or "pipeline"
        if any(entry["name"] == name for entry in self.pipelines.values()):
            raise ApiError(409, f"Already exist error: The name {name} already exist. Please specify a new name")
        identity = str(uuid.uuid4())
        pipeline = {"pipeline_id": identity, "display_name": name, "name": name, "created_at": now()}
        self._upload(pipeline, name)
        self.pipelines[identity] = pipeline
        return pipeline

    def upload_version(self) -> Document:
        pipeline = find(self.pipelines, flask.request.args["pipelineid"], "Pipeline")
        return self._upload(pipeline, flask.request.args["name"])

    def delete_pipeline(self, identity: str) -> None:
        find(self.pipelines, identity, "Pipeline")
        versions = [name for name, version in self.versions.items() if version["pipeline_id"] == identity]
        if versions and flask.request.args.get("cascade", "").lower() != "true":
            raise ApiError(400, "InvalidInputError: Failed to delete pipeline as it has existing pipeline versions")
        for name in versions:
            del self.versions[name]
        del self.pipelines[identity]

    def list_versions(self, pipeline: str) -> Document:
        versions = [shown(entry) for entry in self.versions.values() if entry["pipeline_id"] == pipeline]
        return listed("pipeline_versions", versions)


def shown(version: Document) -> Document:
    """A version without what the server keeps for itself."""
    return {name: value for name, value in version.items() if name != "documents"}
