"""Labelled images from anywhere into a RecordIO data set with train, validation and test splits.

Sources, splitting, resizing and writing live here; the formats themselves live in ``dataset``.
"""
