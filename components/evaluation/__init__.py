"""Components that measure a model on images that no trial saw."""
