"""An evaluation as a pod runs it, in a process of its own. Started by the tests of restarts."""

import json
import sys

from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
from kfp_image_tuning.options.declared import GateOptions, TransformOptions
from kfp_image_tuning.steps.plain_errors import plain_errors
from kfp_image_tuning.steps.sagemaker_evaluation import launch


def main() -> None:
    """Evaluate as the JSON object in the first argument says."""
    document = json.loads(sys.argv[1])
    with plain_errors():
        config = SageMakerConfig(**document["account"])
        launch(config, GateOptions(), TransformOptions(), **document["arguments"])


if __name__ == "__main__":
    main()
