"""The program of a trial's pod: it brings the data, trains, leaves the model, and looks for its launcher.

It runs in a public image with PyTorch: neither Kubernetes nor KFP may enter, nor what a launcher does.
"""
