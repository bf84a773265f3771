"""The Katib engine: the same search as on this machine, in GPU pods of a Kubernetes cluster.

``request`` makes and checks Experiments offline, ``session`` talks to the cluster, ``pod`` runs in a trial's pod.
"""
