"""The core of a search, in plain data: search space, hyperparameters, budget, trials, result, engine protocol.

Standard library only: no engine, no cloud, no KFP may enter; importing it costs less than 0.1 s.
"""
