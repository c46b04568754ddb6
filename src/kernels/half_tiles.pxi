# Products of bfloat16 with the tiles of AMX.
#
# What is multiplied is what halves.pxi says, in units of up to 16 pairs.  A tile of scalars has a row for each of 16
# output channels, a unit of pairs side by side; a tile of vectors has a row for each of these pairs, of all images of one
# pixel.  Two by two they make four tiles of sums.  In the gradient to the weights a unit is the pairs of images of one
# pixel or, where neighbours are seen side by side, of two, and the lanes are channels.

include "half_vectors.pxi"

cdef extern from "tiles.h" nogil:
    ctypedef struct tile_shapes:
        pass
    tile_shapes tile_shapes_none()
    void tile_shape(tile_shapes*, int, int, int)
    void tiles_begin(const tile_shapes*)
    void tiles_end()
    void tile_zero(int)
    void tile_load(int, const void*, Py_ssize_t)
    void tile_store(int, void*, Py_ssize_t)
    void tile_dot_halves(int, int, int)

cdef enum:
    ROWS = 16                  # output channels of a tile,
    MOST_PAIRS = 16            # and pairs
    LINE = 64                  # bytes of a row of a tile of vectors


cdef inline void take_sums(const Tile* a, const vec* sums, Py_ssize_t row, Py_ssize_t last, Py_ssize_t col) noexcept nogil:
    # what the rows of a tile become in y
    cdef real* out = a.out + a.out_col[col]
    cdef vec value
    cdef Py_ssize_t k
    for k in range(row, min(row + ROWS, last)):
        value = sums[k - row] + vec_all(0 if a.row_bias == NULL else a.row_bias[k])
        if a.clip:
            value = vec_clip(value, a.low, a.high)
        (<vec*> (out + k * a.out_row_step))[0] = value


cdef inline void four_sums(const Tile* a, const real* scalar, const real* lower, const real* vector, const real* right,
                           bint down, bint across, vec (*sums)[ROWS]) noexcept nogil:
    # of two tiles of each side, or of the first one if it does not go on `down` or `across`
    cdef Py_ssize_t outer, inner, of_scalar, of_vector, width = 4 * a.line
    tile_zero(0)
    tile_zero(1)
    tile_zero(2)
    tile_zero(3)
    for outer in range(a.outer):
        for inner in range(a.inner):
            of_scalar = outer * a.scalar_outer_step + a.scalar_inner[inner]
            of_vector = outer * a.vector_outer_step + a.vector_inner[inner]
            tile_load(4, scalar + of_scalar, width)
            tile_load(6, vector + of_vector, LINE)
            tile_dot_halves(0, 4, 6)
            if across:
                tile_load(7, right + of_vector, LINE)
                tile_dot_halves(1, 4, 7)
            if down:
                tile_load(5, lower + of_scalar, width)
                tile_dot_halves(2, 5, 6)
                if across:
                    tile_dot_halves(3, 5, 7)
    tile_store(0, sums[0], LINE)
    tile_store(1, sums[1], LINE)
    tile_store(2, sums[2], LINE)
    tile_store(3, sums[3], LINE)


cdef inline void four_tiles(const Tile* a, Py_ssize_t row, Py_ssize_t last, Py_ssize_t col) noexcept nogil:
    # the output channels from `row` on of two pixels, as many of both as there are
    cdef vec sums[4][ROWS]
    cdef bint down = row + ROWS < last, across = col + 1 < a.cols
    cdef const real* weights = a.scalar + row * a.scalar_row_step
    cdef const real* x = a.vector + a.vector_col[col]
    cdef const real* right = a.vector + a.vector_col[col + 1 if across else col]
    four_sums(a, weights, weights + ROWS * a.scalar_row_step, x, right, down, across, sums)
    take_sums(a, sums[0], row, last, col)
    if across:
        take_sums(a, sums[1], row, last, col + 1)
    if down:
        take_sums(a, sums[2], row + ROWS, last, col)
        if across:
            take_sums(a, sums[3], row + ROWS, last, col + 1)


cdef inline void begin_tiles(const Tile* a, Py_ssize_t rows) noexcept nogil:
    # for so many rows: a product takes as long as it has of them
    cdef tile_shapes shapes = tile_shapes_none()
    cdef int i, down = <int> min(rows, ROWS)
    for i in range(4):
        tile_shape(&shapes, i, down, LINE)
    for i in range(2):
        tile_shape(&shapes, 4 + i, down, 4 * <int> a.unit)
        tile_shape(&shapes, 6 + i, <int> a.unit, LINE)
    tiles_begin(&shapes)


cdef inline void all_tiles(const Tile* a, Py_ssize_t first, Py_ssize_t last, int shape) noexcept nogil:
    # rows first..last-1 of all columns; `first` begins a group of rows
    cdef Py_ssize_t row = first, col
    while row < last:
        for col in range(0, a.cols, 2):
            four_tiles(a, row, last, col)
        row += 2 * ROWS


cdef inline void run_tiles(const Tile* a, Py_ssize_t first, Py_ssize_t last, int shape) noexcept nogil:
    if a.inner == 0:
        no_terms(a, first, last)
        return
    begin_tiles(a, last - first)
    all_tiles(a, first, last, shape)
    tiles_end()


include "half_pixels.pxi"
include "half_channel_tiles.pxi"
include "half_table.pxi"

TABLE.rate = 16
