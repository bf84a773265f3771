"""The SageMaker engine: a search as one hyperparameter tuning job of the built-in Image Classification algorithm.

``request`` is made and checked offline, ``tuning`` follows the job, ``transform`` predicts, ``aws`` talks to AWS.
"""
