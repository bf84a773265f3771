"""A model: the network, its files on disk, MXNet's format.

PyTorch, safetensors, ``dataset``, ``search`` and ``core`` may enter; training may not.
"""
