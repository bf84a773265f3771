"""The evaluation of a model of the built-in algorithm: by batch transform on SageMaker, or offline in PyTorch.

Both measure it on the test images that no trial saw, and give the same evaluation as any other engine's model.
"""
