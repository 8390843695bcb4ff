"""From labelled images to a model package.

torch is imported by `fit`, `calibrate`, `export` and `architectures` alone, so that a package can
be evaluated, and images inspected, on a machine that has none.
"""
