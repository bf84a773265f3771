"""The product from Python: `tune`, `prepare`, `evaluate` and `load_model`, with the command line's options by name.

`kfp_image_tuning` itself gives these four names. Nothing else imports this package; what it does, it has `cli` and
`steps` do.
"""
