"""What a user says of the cluster that the end-to-end tests run on: environment variables, all checked at once."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HELP = """\
Runs this project's pipelines on a cluster with Kubeflow Pipelines, and with Katib if it is there. Without KUBECONFIG it
starts stand-ins for all of it on this machine. What the cluster is, in environment variables:

KUBECONFIG             the cluster; its current context is used
KFP_ENDPOINT           address of KFP's API from here, such as http://localhost:8888 (a forwarded port)
E2E_STORE              address of the artifact store from here, such as http://localhost:9000 (a forwarded port)

and if they are needed:

KFP_NAMESPACE          where the pods of runs are (default: kubeflow)
KFP_TOKEN, KFP_COOKIE, KFP_CA_CERT    as kfp.Client's existing_token, cookies (Dex), ssl_ca_cert
KFP_SERVICE_ACCOUNT    of the runs' pods (default: pipeline-runner; with profiles: default-editor)
E2E_STORE_IN_CLUSTER   address of the same store for pods (default: http://seaweedfs.kubeflow:9000)
E2E_BUCKET             its bucket for test images and Katib's models (default: mlpipeline)
E2E_IMAGE              image for all steps and trials (make image); default: the ConfigMap, installed and removed again
E2E_COMPILE_OPTIONS    more options of kfp-image-tuning compile, such as --index-url URL --base-image REF
E2E_KATIB_OPTIONS      JSON for --katib-options, such as {"pods": {"base_image": "REF", "packages_index": "URL"}}
E2E_CALLBACK           this machine's address as pods reach it (kind: the gateway of Docker's network kind), for the
                       emulator of SageMaker; without it the SageMaker pipeline is skipped
E2E_ONLY               names of scenarios, with commas between them (default: all)
E2E_MINUTES            the longest that one run may take (default: 30)
E2E_KEEP               1: remove nothing at the end
"""
BUCKET = "mlpipeline"


class SettingsError(Exception):
    """What is missing or wrong in the environment."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One cluster, and how it is tested.

    Attributes:
        kubeconfig: Path of the kubeconfig.
        kfp: Address of KFP's API.
        store: Address of the artifact store from here.
        namespace: Where runs' pods are.
        service_account: Of those pods; empty: the usual one.
        client: More arguments of `kfp.Client`.
        store_in_cluster: Address of the store for pods; empty: Kubeflow's usual one.
        bucket: In the store.
        image: For all steps and trials; empty: the ConfigMap.
        compile_options: For ``kfp-image-tuning compile``.
        katib_options: For ``--katib-options``.
        callback: This machine's address for pods; empty: they do not reach it.
        only: Scenarios; empty: all.
        seconds: The longest that one run may take.
        keep: Whether everything is left in place.
    """

    kubeconfig: Path
    kfp: str
    store: str
    namespace: str = "kubeflow"
    service_account: str = ""
    client: Mapping[str, Any] = field(default_factory=dict)
    store_in_cluster: str = ""
    bucket: str = BUCKET
    image: str = ""
    compile_options: tuple[str, ...] = ()
    katib_options: Mapping[str, Any] = field(default_factory=dict)
    callback: str = ""
    only: tuple[str, ...] = ()
    seconds: float = 1800.0
    keep: bool = False

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """Read a user's.

        Raises:
            SettingsError: With everything that is missing or wrong.
        """
        problems = [
            f"{name} is not set; {hint}"
            for name, hint in (
                ("KFP_ENDPOINT", "kubectl -n kubeflow port-forward svc/ml-pipeline 8888, then http://localhost:8888"),
                ("E2E_STORE", "kubectl -n kubeflow port-forward svc/seaweedfs 9000, then http://localhost:9000"),
            )
            if not variables.get(name)
        ]
        katib_options: Any = {}
        try:
            katib_options = json.loads(variables.get("E2E_KATIB_OPTIONS") or "{}")
            seconds = 60 * float(variables.get("E2E_MINUTES") or 30)
        except ValueError as error:
            problems.append(f"E2E_KATIB_OPTIONS must be a JSON object and E2E_MINUTES a number: {error}")
        kubeconfig = Path(variables["KUBECONFIG"].split(os.pathsep)[0])
        if not kubeconfig.is_file():
            problems.append(f"KUBECONFIG: there is no file {kubeconfig}")
        if problems:
            raise SettingsError("\n".join(problems))
        given = {"existing_token": "KFP_TOKEN", "cookies": "KFP_COOKIE", "ssl_ca_cert": "KFP_CA_CERT"}
        return cls(
            kubeconfig=kubeconfig,
            kfp=variables["KFP_ENDPOINT"].rstrip("/"),
            store=variables["E2E_STORE"].rstrip("/"),
            namespace=variables.get("KFP_NAMESPACE") or "kubeflow",
            service_account=variables.get("KFP_SERVICE_ACCOUNT", ""),
            client={argument: variables[name] for argument, name in given.items() if variables.get(name)},
            store_in_cluster=variables.get("E2E_STORE_IN_CLUSTER", "").rstrip("/"),
            bucket=variables.get("E2E_BUCKET") or BUCKET,
            image=variables.get("E2E_IMAGE", ""),
            compile_options=tuple(shlex.split(variables.get("E2E_COMPILE_OPTIONS", ""))),
            katib_options=katib_options,
            callback=variables.get("E2E_CALLBACK", ""),
            seconds=seconds,
            **choices(variables),
        )


def choices(variables: Mapping[str, str]) -> dict[str, Any]:
    """What is said of the tests alone, on stand-ins as well."""
    only = tuple(name.strip() for name in variables.get("E2E_ONLY", "").split(",") if name.strip())
    return {"only": only, "keep": variables.get("E2E_KEEP", "") not in ("", "0")}
