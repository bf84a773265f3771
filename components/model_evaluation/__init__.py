"""A model on images that no trial saw: the component's face."""
