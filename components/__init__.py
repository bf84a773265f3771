"""One folder for each KFP component: its typed face (``component.py``) and the code that does its work.

Only the standard library and kfp are imported at the top of a ``component.py``.
"""
