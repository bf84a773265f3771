"""The image data set on disk: RecordIO files, ``dataset.json``, image codec, splits, the decoded pixel store.

NumPy and the image codecs may enter; torch, KFP and clouds may not.
"""
