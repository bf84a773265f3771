"""``make test-e2e``: all scenarios on one cluster, and a table of what came of them."""

import json
import os
import sys
import textwrap
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import kfp_server_api
import kubernetes
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from tests.e2e.bench import Bench, working_folder
from tests.e2e.outcomes import ScenarioFailed, Skipped
from tests.e2e.scenarios import SCENARIOS
from tests.e2e.settings import HELP, Settings, SettingsError, choices

NO_CLUSTER = (
    ScenarioFailed,
    kubernetes.client.ApiException,
    kubernetes.config.ConfigException,
    kfp_server_api.ApiException,
    HTTPError,
    ClientError,
    BotoCoreError,
    TimeoutError,
)
"""What goes wrong while everything is set up: an address, a right or a secret is not there."""


NOTE_WIDTH = 240


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    scenario: str
    outcome: str
    seconds: float
    workflow_bytes: int
    note: str


@contextmanager
def cluster_of_the_user() -> Iterator[Settings]:
    """The cluster that the environment names, or stand-ins."""
    if os.environ.get("KUBECONFIG"):
        yield Settings.read(os.environ)
        return
    from tests.e2e.stand_ins import stand_ins

    print("KUBECONFIG is not set: starting stand-ins for the cluster, Katib and KFP on this machine", flush=True)
    with stand_ins(**choices(os.environ)) as settings:
        yield settings


def main() -> int:
    """Run what is chosen; 0 if nothing failed."""
    if sys.argv[1:]:
        print(HELP)
        return 2
    unknown = set(choices(os.environ)["only"]) - set(SCENARIOS)
    if unknown:
        print(f"E2E_ONLY: there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
        return 2
    with working_folder() as folder:
        try:
            with cluster_of_the_user() as settings:
                bench = Bench(settings, folder)
                print(bench.description, flush=True)
                try:
                    bench.set_up()
                    rows = [try_out(name, bench) for name in settings.only or SCENARIOS]
                finally:
                    left = [] if settings.keep else bench.close()
        except SettingsError as error:
            print(f"{error}\n\n{HELP}")
            return 2
        except NO_CLUSTER as error:
            print(f"could not be set up: {reason_of(error)}; python -m tests.e2e --help says what is needed")
            return 2
    print_table(rows)
    for line in left:
        print(f"not removed: {line}")
    return int(any(row.outcome == "FAILED" for row in rows) or bool(left))


def try_out(name: str, bench: Bench) -> Row:
    """Try one scenario."""
    print(f"\n== {name}", flush=True)
    began, size = time.monotonic(), 0
    try:
        run, note = SCENARIOS[name](bench)
        outcome = "passed"
        size = bench.cluster.workflow(run)[1] if run else 0
    except Skipped as skipped:
        outcome, note = "skipped", str(skipped)
    except ScenarioFailed as failure:
        outcome, note = "FAILED", textwrap.shorten(str(failure).splitlines()[0], NOTE_WIDTH)
        print(failure, flush=True)
    except Exception as error:
        outcome, note = "FAILED", textwrap.shorten(reason_of(error), NOTE_WIDTH)
        traceback.print_exc()
    seconds = time.monotonic() - began
    print(f"== {name}: {outcome} after {seconds:.0f} s ({note})", flush=True)
    return Row(name, outcome, seconds, size, note)


def reason_of(error: Exception) -> str:
    """An error in a line; of an API server's, what it says."""
    try:
        text = json.loads(getattr(error, "body", None) or "{}").get("message", "")
    except ValueError:
        text = ""
    return f"{type(error).__name__}: {text or (str(error).splitlines() or [''])[0]}"


def print_table(rows: list[Row]) -> None:
    print(f"\n{'scenario':<17}{'outcome':<9}{'seconds':>8}{'Workflow bytes':>16}  note")
    for row in rows:
        size = f"{row.workflow_bytes:,}" if row.workflow_bytes else "-"
        print(f"{row.scenario:<17}{row.outcome:<9}{row.seconds:>8.0f}{size:>16}  {row.note}")
    total = sum(row.seconds for row in rows)
    counts = {outcome: sum(row.outcome == outcome for row in rows) for outcome in ("passed", "FAILED", "skipped")}
    print(
        f"{counts['passed']} passed, {counts['FAILED']} failed, {counts['skipped']} skipped in {total:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
