"""What engines share: the protocol, the one loop that follows a search (``run``), progress.

One sub-package for each engine. An engine knows neither preparation nor report nor another engine.
"""
