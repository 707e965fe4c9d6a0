"""A fast count of the elements that are set in a mask, called some forty times a batch.

`np.count_nonzero` is two Python functions around one in C; with fifty messages in a batch
they cost more than the counting. The one in C is private to numpy, and may be elsewhere one day.
"""

try:
    from numpy._core.multiarray import count_nonzero
except ImportError:
    from numpy import count_nonzero

__all__ = ["count_nonzero"]
