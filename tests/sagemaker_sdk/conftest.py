"""Against AWS's own SDK, which has an environment of its own. ``make test-sagemaker-sdk`` sets it up.

Where the SDK is not installed nothing here is collected.
"""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("sagemaker") else ["test_*.py"]
