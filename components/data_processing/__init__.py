"""Components that look at images and make data sets of them."""
