"""One folder for each KFP component, by category, in the form of Kubeflow's catalogue.

Its ``component.py`` is a typed face, whose body calls one step of ``kfp_image_tuning.steps``.

Only the standard library and kfp are imported at the top of a ``component.py``.
"""
