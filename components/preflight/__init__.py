"""All parameters of a run, checked first: the component's face."""
