# Products of bfloat16 by vectors.
#
# What they are given is float32 in lanes whose lower halves are zero.  Two neighbouring channels become one array of
# pairs, exactly, a pair in the place of a number; so do weights, and a convolution over pairs is `conv` as it is, but
# that a product is two of them, which add up in float32.

include "half_vectors.pxi"
include "tile.pxi"
include "half_table.pxi"

TABLE.rows = 1
TABLE.most_pairs = 1
TABLE.rate = 2
