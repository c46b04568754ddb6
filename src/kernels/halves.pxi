# Products of bfloat16 by vectors.
#
# What they are given is float32 in lanes whose lower halves are zero.  Two neighbouring channels become one array of
# pairs, exactly, a pair in the place of a number; so do weights, and a convolution over pairs is `conv` as it is, but
# that a product is two of them, which add up in float32.

include "half_vectors.pxi"
include "tile.pxi"

cdef enum:
    ROWS = 1                   # output channels whose weights lie side by side,
    MOST_PAIRS = 1             # and pairs

include "half_table.pxi"

TABLE.rate = 2                 # as AMD's do it
