"""The SageMaker engine: a search as one hyperparameter tuning job of the built-in Image Classification algorithm.

What is sent (`request`, checked by `validation` and `rules`) is made without a network; `engine` sends it, follows the
tuning job and brings its result in. Only boto3 is needed, and only where something is sent or checked.
"""
