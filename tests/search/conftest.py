"""No deadline for drawn examples: a loaded machine may take long over one that takes no time."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
