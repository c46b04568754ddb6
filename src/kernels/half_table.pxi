# All kernels of bfloat16 of one instruction set, gathered into a table of functions; `run_tiles` is there before.

include "conv2d.pxi"
include "pairs.pxi"

cdef HalfTable TABLE
TABLE.pairs = pairs
TABLE.weight_pairs = weight_pairs
TABLE.conv = conv
TABLE.conv_scratch = conv_scratch

table = PyCapsule_New(&TABLE, "cnn_ext.halves", NULL)
