"""A launcher as a pod runs it: one process that runs a search on SageMaker. Started by the tests of restarts."""

import json
import sys
from pathlib import Path

from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.engines.sagemaker.engine import SageMakerEngine
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.search.search import Search


def main() -> None:
    """Run the search of the document in the first argument; the result goes to the second."""
    document = json.loads(Path(sys.argv[1]).read_text())
    engine = SageMakerEngine(SageMakerOptions.from_dict(document["options"]))
    search = Search.from_dict(document["search"])
    run_search(engine, engine.plan(search), Path(sys.argv[2]), show=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
