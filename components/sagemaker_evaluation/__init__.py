"""A model of SageMaker's algorithm on images that no trial saw: the component's face."""
