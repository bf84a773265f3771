"""A tuning job: launched or adopted, followed, stopped, collected.

What is sent is made in ``request``; calls go through ``aws``.
"""
