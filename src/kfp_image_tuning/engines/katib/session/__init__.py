"""A search on a cluster: launched or attached to, followed, stopped.

The Kubernetes client may enter, in ``cluster``; what is sent is made in ``request``.
"""
