"""A search on this machine, in one pod: the component's face."""
