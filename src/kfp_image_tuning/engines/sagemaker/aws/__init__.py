"""The service itself: clients, calls with retries, files in S3.

boto3 may enter, only where something is sent.
"""
