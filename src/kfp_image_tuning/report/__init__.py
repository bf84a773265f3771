"""Result documents into one self-contained HTML page.

Standard library and NumPy; reads ``tuning`` and ``dataset`` documents, runs nothing.
"""
