"""The Katib engine: the same search as on this machine, in GPU pods of a Kubernetes cluster.

Documents first: `experiment` makes Katib Experiments as plain data, `validation` checks them by Katib's own rules. Only
`engine` and what it rests on talk to a cluster; nothing else here imports a Kubernetes client.
"""
