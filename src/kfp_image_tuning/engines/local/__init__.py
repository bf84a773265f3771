"""The local engine: Optuna proposes, warm worker processes train, on this machine.

Optuna and the trainer may enter; no cluster and no cloud.
"""
