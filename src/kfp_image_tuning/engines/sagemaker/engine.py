"""The SageMaker engine: a search is one tuning job of the user's AWS account."""

from kfp_image_tuning.engines.protocol import Plan
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.engines.sagemaker.request.planning import plan_search
from kfp_image_tuning.engines.sagemaker.tuning.session import SageMakerSession
from kfp_image_tuning.search.search import Search


class SageMakerEngine:
    """Runs a search as a SageMaker hyperparameter tuning job.

    Args:
        options: Where and how.
    """

    def __init__(self, options: SageMakerOptions) -> None:
        self._options = options

    def plan(self, search: Search) -> Plan:
        """Make and check the request."""
        return plan_search(search, self._options)

    def start(self, plan: Plan) -> SageMakerSession:
        """The session of a plan."""
        return SageMakerSession(plan, self._options)
