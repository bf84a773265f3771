"""What every package needs: errors, documents and their schemas, atomic files, object stores, signals, the stop guard.

Standard library; obstore where a store is opened. Nothing of images, searches or engines may enter.
"""
