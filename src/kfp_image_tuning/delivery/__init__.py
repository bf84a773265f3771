"""How our code reaches pods (ConfigMap, package, image), and the compiling of pipelines for it.

kfp may enter where something is compiled, the Kubernetes client where something is installed.
"""
