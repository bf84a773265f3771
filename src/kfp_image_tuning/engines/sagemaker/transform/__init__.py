"""Predictions of a model by batch transform.

Calls go through ``aws``.
"""
