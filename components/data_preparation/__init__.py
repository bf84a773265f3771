"""Images into a data set: the component's face."""
