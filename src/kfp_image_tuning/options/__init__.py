"""Every option of the product, declared once: `declared` has the declarations, `pipelines` says who has which.

The command line, the settings of a search, the checks of the first step, the components' faces, the pipelines'
parameters and the references are made from them.
"""
