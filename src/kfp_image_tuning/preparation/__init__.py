"""Labelled images from anywhere into a RecordIO data set with train, validation and test splits.

Splitting, resizing and writing live here, forms of sources in ``sources``; the formats themselves live in ``dataset``.
"""
