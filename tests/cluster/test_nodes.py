"""Nodes that vanish under running trials, with the node controller's own means: not heard of, or deleted."""

from tests.cluster.bench import Bench, flat, sleeping
from tests.cluster.control_plane import ControlPlane


def test_trials_of_a_node_that_is_not_heard_of_any_more_run_again_on_another(
    bench: Bench, control_plane: ControlPlane
) -> None:
    agent, namespace = bench.place.agent, bench.place.namespace
    thread, outcome = bench.in_background(flat(max_trials=3), bench.options(pods=sleeping(4)))
    bench.wait_until(lambda: agent.running == 2)
    agent.add_node(f"spare-{namespace}", gpus=2)
    agent.lose_node(f"node-{namespace}")
    thread.join(timeout=120)
    assert [trial.status for trial in outcome[0].trials] == ["completed"] * 3
    assert any(f"2 trials: nothing is heard of the node node-{namespace}" in line for line in bench.lines)
    # The lost pods themselves stay until somebody deletes the Node.
    bench.wait_until(lambda: not bench.objects("experiments") and not bench.objects("trials") and not bench.jobs())


def test_trials_of_a_node_that_is_deleted_run_again_on_another(bench: Bench) -> None:
    agent, namespace = bench.place.agent, bench.place.namespace
    thread, outcome = bench.in_background(flat(max_trials=2), bench.options(pods=sleeping(4)))
    bench.wait_until(lambda: agent.running == 2)
    agent.add_node(f"spare-{namespace}", gpus=2)
    agent.remove_node(f"node-{namespace}")
    # Kubernetes collects the pods of a deleted Node after 40 to 60 seconds.
    thread.join(timeout=150)
    assert [trial.status for trial in outcome[0].trials] == ["completed"] * 2
    bench.wait_until_nothing_is_left()
