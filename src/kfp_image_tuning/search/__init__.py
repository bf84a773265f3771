"""A search in plain data: ranges, hyperparameter contract, budget, trials, result.

Standard library and ``core`` only; importing it costs less than 0.1 s.
"""
