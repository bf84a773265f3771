"""The pipelines and their compiled YAML.

kfp may enter; what runs in steps may not.
"""
