"""The code that Katib's trials run, packed in a step of its own: it would not fit beside the code of the search."""
