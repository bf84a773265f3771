"""Experiments as plain data, from options and a search, and Katib's and Kubernetes' rules for them.

No Kubernetes client may enter: what is made here is made without a network.
"""
