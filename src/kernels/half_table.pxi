# All kernels of bfloat16 of one instruction set, gathered into a table of functions.  Before it come `run_tiles`, ROWS and
# MOST_PAIRS.

include "columns.pxi"
include "conv2d.pxi"
include "pairs.pxi"
include "half_weight.pxi"

cdef HalfTable TABLE
TABLE.lanes = LANES
TABLE.rows = ROWS
TABLE.most_pairs = MOST_PAIRS
TABLE.pairs = pairs
TABLE.weight_pairs = weight_pairs
TABLE.conv = conv
TABLE.conv_scratch = conv_scratch
TABLE.across = fewer_lanes_are_empty
TABLE.image_pairs = image_pairs
TABLE.weight = half_weight
TABLE.weight_scratch = half_weight_scratch

table = PyCapsule_New(&TABLE, "cnn_ext.halves", NULL)
