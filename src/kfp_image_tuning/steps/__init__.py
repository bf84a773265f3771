"""What a step of a pipeline does: artifacts in, artifacts out. Component faces and the command line call nothing else.

Steps bring preparation, engines, evaluation and report together; they run and are tested without KFP.
"""
