"""Our own package as one archive, installed once in a namespace and mounted into steps and trials."""
