"""A model's quality on images that no trial saw: scores, interval, gate, comparison with a baseline.

Scoring is NumPy only, so that every engine's predictions are scored by the same code.
"""
