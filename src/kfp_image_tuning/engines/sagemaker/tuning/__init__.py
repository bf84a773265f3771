"""A tuning job: launched or attached to, followed, stopped.

What is sent is made in ``request``; calls go through ``aws``.
"""
