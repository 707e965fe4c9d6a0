"""How many elements of a mask are set, asked some forty times a batch.

`np.count_nonzero` is two Python functions around this one in C; with fifty messages in a batch
they cost more than the counting.
"""

from numpy._core.multiarray import count_nonzero

__all__ = ["count_nonzero"]
