"""The service itself: clients, calls with retries, its model of requests, its limits, images and storage.

boto3 may enter, only where something is sent or checked.
"""
