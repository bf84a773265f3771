"""The tuning job as plain data, and the service's and the algorithm's rules for it: limits, images, model of requests.

What is made here is made without a network.
"""
