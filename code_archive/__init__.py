"""Our own code as an archive that travels: inside a compiled pipeline, or to a cluster that runs trials.

`packing` collects and packs the modules that a piece of code needs, `unpacking` is the program that the other end runs.
Nothing here knows what the code is for, and nothing is imported but the standard library.
"""
