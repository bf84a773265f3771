"""A search on a cluster: launched or adopted, followed, stopped, collected.

The Kubernetes client may enter, in ``cluster``; what is sent is made in ``request``.
"""
