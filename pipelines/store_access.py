"""What a step needs to reach object stores: a secret's keys as variables, and where KFP says that the stores are."""

from typing import Any

from kfp import kubernetes

from kfp_image_tuning.core.store_address import (
    ARTIFACT_STORE_KEYS,
    KUBEFLOW_SECRET,
    KUBEFLOW_SECRET_KEYS,
    LAUNCHER_VARIABLE,
)

LAUNCHER_CONFIG = "kfp-launcher"
_USUAL = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL")
_OWN_KEYS = {key: name for name, key in KUBEFLOW_SECRET_KEYS.items()}
_SECRET_KEYS = {**_OWN_KEYS, **{name: name for name in _USUAL}, "key.json": "GOOGLE_SERVICE_ACCOUNT_KEY"}
"""Key in a secret to variable: Kubeflow's form, that of Amazon's variables, and a key file of Google's."""


def reach_stores(task: Any, secret: Any, *, writes_artifacts: bool = False) -> None:
    """Let a task read object stores with the keys of a secret; what the secret or the namespace lacks is skipped.

    Args:
        task: The task.
        secret: Name of the secret, text or a pipeline parameter; never empty.
        writes_artifacts: Whether it also writes into Kubeflow's own store by itself.
    """
    _describe_stores(task)
    if writes_artifacts:
        keys = {key: name for name, key in ARTIFACT_STORE_KEYS.items()}
        kubernetes.use_secret_as_env(task, secret_name=KUBEFLOW_SECRET, secret_key_to_env=keys, optional=True)
    kubernetes.use_secret_as_env(task, secret_name=secret, secret_key_to_env=_SECRET_KEYS, optional=True)


def reach_own_store(task: Any) -> None:
    """Let a task use Kubeflow's own store, and no other keys: its variables are handed on to pods of its own."""
    _describe_stores(task)
    kubernetes.use_secret_as_env(task, secret_name=KUBEFLOW_SECRET, secret_key_to_env=_OWN_KEYS, optional=True)


def _describe_stores(task: Any) -> None:
    names = {"providers": LAUNCHER_VARIABLE}
    kubernetes.use_config_map_as_env(task, config_map_name=LAUNCHER_CONFIG, config_map_key_to_env=names, optional=True)
