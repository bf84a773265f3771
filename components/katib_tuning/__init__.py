"""A search by Katib: the component's face."""
