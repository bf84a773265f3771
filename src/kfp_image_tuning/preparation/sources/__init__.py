"""One module for each form of source: folders, archives, tables, record files, data sets that are prepared already.

A new form is a module here and an entry in ``sources.py``.
"""
