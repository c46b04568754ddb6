# All kernels of one instruction set and one number type, gathered into a table of functions.

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport ceil, sqrt
from libc.string cimport memcpy, memset

cdef extern from "vec.h" nogil:
    ctypedef double real
    ctypedef double vec
    ctypedef int mask
    vec VEC_ZERO
    real REAL_HUGE
    enum: LANES
    enum: SHAPES, WIDE
    enum: ROWS0, ROWS1, ROWS2, ROWS3, ROWS4, ROWS5, ROWS6, ROWS7, ROWS8, ROWS9, ROWS10, ROWS11, ROWS12, ROWS13, ROWS14
    enum: COLS0, COLS1, COLS2, COLS3, COLS4, COLS5, COLS6, COLS7, COLS8, COLS9, COLS10, COLS11, COLS12, COLS13, COLS14
    const int[SHAPES] TILE_ROWS, TILE_COLS
    int best_tile(Py_ssize_t rows, Py_ssize_t cols, int load, int most_rows)
    const real* one_address(const real*)
    mask vec_nan(vec)
    mask vec_above(vec, vec)
    mask vec_equal(vec, vec)
    mask vec_first(Py_ssize_t)
    mask mask_or(mask, mask)
    vec vec_select(mask, vec, vec)
    vec vec_all(real)
    vec vec_least(vec, vec)
    vec vec_relu(vec)
    vec vec_clip(vec, real, real)
    vec vec_abs(vec)
    vec vec_sqrt(vec)
    vec vec_times(vec, vec)
    vec vec_add_product(vec, vec, vec)
    vec vec_add_dot(vec, vec, vec)
    real vec_sum(vec)
    real vec_sum_first(vec, Py_ssize_t)
    vec vec_load_part(const real*, int)
    void vec_store_part(real*, vec, int)

cdef extern from "map.h" nogil:
    ctypedef void (*map_loop)(const vec*, const vec*, const vec*, vec*, Py_ssize_t, real, real)
    const map_loop* MAP_LOOPS
    mask between(real, vec, real)
    vec vec_exp(vec)
    vec vec_log(vec)
    vec vec_sigmoid(vec)
    vec vec_log1p(vec)
    vec vec_over_root(vec, vec, real, real)

cdef extern from "square.h" nogil:
    void vec_turn(vec*)
    vec vec_sums(vec*)
    void vec_sum_all(vec*, int)
    vec vec_evens(vec, vec)
    vec vec_odds(vec, vec)

cdef extern from "noise.h" nogil:
    ctypedef unsigned int hashes
    unsigned int hash_key(const void*, unsigned int)
    hashes hash_images(unsigned int, Py_ssize_t)
    mask hash_keeps(hashes, unsigned int, unsigned int, unsigned int)

include "args.pxi"
include "tile_args.pxi"
include "tile.pxi"
include "tile_shapes.pxi"
include "columns.pxi"
include "conv2d.pxi"
include "conv_back.pxi"
include "winograd_mend.pxi"
include "winograd.pxi"
include "winograd_back.pxi"
include "depthwise.pxi"
include "winograd_weight.pxi"
include "conv_weight_pairs.pxi"
include "linear.pxi"
include "tree.pxi"
include "sum.pxi"
include "batch_norm.pxi"
include "group_norm.pxi"
include "dropout.pxi"
include "pool2d.pxi"
include "activation.pxi"
include "by_channel.pxi"
include "loss.pxi"
include "optimizers.pxi"
include "lanes.pxi"
include "channels.pxi"
include "peak.pxi"

cdef Table TABLE
TABLE.lanes = LANES
TABLE.itemsize = sizeof(real)
TABLE.conv = conv
TABLE.conv_scratch = conv_scratch
TABLE.conv_strips = conv_strips
TABLE.turn = turn
TABLE.conv_weight = conv_weight
TABLE.conv_weight_strips = conv_weight_strips
TABLE.conv_weight_tasks = conv_weight_tasks
TABLE.conv_weight_scratch = conv_weight_scratch
TABLE.linear_weight = linear_weight
TABLE.channel_sum = channel_sum
TABLE.max_pool = max_pool
TABLE.max_pool_back = max_pool_back
TABLE.avg_pool = avg_pool
TABLE.avg_pool_back = avg_pool_back
TABLE.elementwise = elementwise
TABLE.affine = affine
TABLE.prelu = prelu
TABLE.prelu_slope = prelu_slope
TABLE.softmax = softmax
TABLE.softmax_back = softmax_back
TABLE.loss = loss
TABLE.block_sum = block_sum
TABLE.descend = descend
TABLE.squares = squares
TABLE.batch_norm_statistics = batch_norm_statistics
TABLE.batch_norm_merge = batch_norm_merge
TABLE.batch_norm_variance = batch_norm_variance
TABLE.batch_norm = batch_norm
TABLE.batch_norm_sums = batch_norm_sums
TABLE.batch_norm_input = batch_norm_input
TABLE.group_norm = group_norm
TABLE.group_norm_input = group_norm_input
TABLE.group_norm_sums = group_norm_sums
TABLE.dropout = dropout
TABLE.peak_sums = ROWS0 * COLS0
TABLE.peak = peak
TABLE.peak_scratch = peak_scratch
TABLE.move = move
TABLE.fill = fill
TABLE.pack = pack
TABLE.unpack = unpack
if sizeof(real) == 4:  # what is for single precision alone: Winograd's way, few pixels, and one image at a time
    TABLE.winograd = winograd
    TABLE.winograd_scratch = winograd_scratch
    TABLE.winograd_filter = winograd_filter
    TABLE.winograd_back = winograd_back
    TABLE.winograd_back_scratch = winograd_back_scratch
    TABLE.winograd_weight = winograd_weight
    TABLE.winograd_weight_scratch = winograd_weight_scratch
    TABLE.weight_part = weight_part
    TABLE.weight_order = weight_order
    TABLE.conv_weight_pairs = conv_weight_pairs
    TABLE.conv_weight_pairs_tasks = conv_weight_pairs_tasks
    TABLE.conv_weight_pairs_scratch = conv_weight_pairs_scratch
    TABLE.channel_conv = channel_conv
    TABLE.channel_winograd = channel_winograd
    TABLE.channel_winograd_scratch = channel_winograd_scratch
    TABLE.pool_pairs = pool_pairs
    TABLE.depthwise = depthwise
    TABLE.embed = embed
    TABLE.border = border

table = PyCapsule_New(&TABLE, "cnn_ext.kernels", NULL)
