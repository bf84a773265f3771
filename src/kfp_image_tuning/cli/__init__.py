"""The command line: one module for each command; ``add_to`` declares its options, ``execute`` runs it.

At their top these modules import the standard library and what is as light.
"""
