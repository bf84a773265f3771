"""An evaluation as a pod runs it, in a process of its own. Started by the tests of restarts."""

import json
import sys

from kfp_image_tuning.components.plain_errors import plain_errors
from kfp_image_tuning.components.sagemaker_evaluation.launcher import launch
from kfp_image_tuning.components.sagemaker_tuning.job_options import Account


def main() -> None:
    """Evaluate as the JSON object in the first argument says."""
    document = json.loads(sys.argv[1])
    with plain_errors():
        launch(Account(**document["account"]), **document["arguments"])


if __name__ == "__main__":
    main()
