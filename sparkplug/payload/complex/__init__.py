"""Values that are no scalars: arrays, data sets, files, property sets, templates.

Pure functions from the encoded value to JSON text, plain values or leaf metrics. They
run metric by metric, only where such values occur, and never raise for what a publisher
sends: bytes that are no value of their datatype give None, {} or a typed problem. All
of them bound what hostile bytes can make them build.
"""
