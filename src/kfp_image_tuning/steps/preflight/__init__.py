"""The first step of every pipeline: all parameters of all steps are checked before anything is spent."""
