"""A model's quality on images that no trial saw: metrics, interval, gate.

Scoring is NumPy only, so that every engine's predictions are scored by the same code.
"""
