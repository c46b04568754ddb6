# All kernels of bfloat16 of one instruction set, gathered into a table of functions.  Before it come ROWS, MOST_PAIRS and
# `run_tiles`, what that consists of (`begin_tiles`, `all_tiles` and `tiles_end`), and what one image is done with.

include "columns.pxi"
include "conv2d.pxi"
include "pairs.pxi"
include "half_taps.pxi"
include "half_weight.pxi"
include "half_linear.pxi"

cdef HalfTable TABLE
TABLE.lanes = LANES
TABLE.rows = ROWS
TABLE.most_pairs = MOST_PAIRS
TABLE.pairs = pairs
TABLE.weight_pairs = weight_pairs
TABLE.conv = conv
TABLE.conv_scratch = conv_scratch
TABLE.taps = conv_of_taps
TABLE.taps_scratch = conv_of_taps_scratch
TABLE.across = fewer_lanes_are_empty
TABLE.image_pairs = image_pairs
TABLE.weight = half_weight
TABLE.weight_scratch = half_weight_scratch
TABLE.linear_weight = half_linear_weight
TABLE.linear_scratch = half_linear_scratch
TABLE.pixel_pairs = pixel_pairs
TABLE.pixel_taps = pixel_taps
TABLE.pixel_scratch = pixel_scratch
TABLE.channels = channels
TABLE.channels_scratch = channels_scratch

table = PyCapsule_New(&TABLE, "cnn_ext.halves", NULL)
