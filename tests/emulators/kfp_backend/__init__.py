"""A stand-in for the backend of Kubeflow Pipelines 2.17: API server, driver, launcher and Argo, on this machine.

It is meant to be as unkind as the real one. Each module says what comes from a record of the real services and what
from reading KFP's documents and sources.
"""

from tests.emulators.kfp_backend.backend import Backend
from tests.emulators.kfp_backend.request import RequestRefused
from tests.emulators.kfp_backend.run import Run, Task

__all__ = ["Backend", "RequestRefused", "Run", "Task"]
