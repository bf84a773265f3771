"""The pipelines, their compiled YAML, and the command line.

Importing the command line costs no kfp and no torch: each command imports what it needs.
"""
