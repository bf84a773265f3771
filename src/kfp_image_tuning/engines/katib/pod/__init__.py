"""The program of a trial's pod, and the sign of life of its launcher that it looks for.

It runs in a public image with PyTorch: neither Kubernetes nor KFP may enter.
"""
