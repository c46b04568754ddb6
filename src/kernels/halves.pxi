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


cdef void tiles(int shape, const Tile* a, Py_ssize_t first) noexcept nogil:
    # as in tile_shapes.pxi, but fewer
    if shape == 0:
        tile(a, first, ROWS0, COLS0)
    elif shape == 1:
        tile(a, first, ROWS1, COLS1)
    elif shape == 2:
        tile(a, first, ROWS2, COLS2)
    elif shape == 3:
        tile(a, first, ROWS3, COLS3)
    elif shape == 4:
        tile(a, first, ROWS4, COLS4)
    else:
        tile(a, first, ROWS5, COLS5)


cdef inline void begin_tiles(const Tile* a, Py_ssize_t rows) noexcept nogil:
    pass


cdef inline void all_tiles(const Tile* a, Py_ssize_t first, Py_ssize_t last, int shape) noexcept nogil:
    run_tiles(a, first, last, shape)


cdef inline void tiles_end() noexcept nogil:
    pass


include "half_pixels.pxi"
include "half_channels.pxi"
include "half_table.pxi"

TABLE.rate = 2                 # as AMD's do it
