# One image by vectors of bfloat16: the inner loop over pairs, the lanes over output channels.

cdef long long channels_scratch(const void* args) noexcept nogil:
    # the tables: pixels of x and y, blocks of w and y, terms of x and w
    cdef const HalfChannels* a = <const HalfChannels*> args
    return 2 * sizeof(Py_ssize_t) * <long long> (a.rows * a.Q + a.block_cut + max(a.taps, a.units))


cdef void channels(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # task = (blocks, rows)
    cdef const HalfChannels* a = <const HalfChannels*> args
    cdef Py_ssize_t cuts = (a.P + a.rows - 1) // a.rows, first = task % cuts * a.rows, p, q, i, n = 0
    cdef Py_ssize_t block = task // cuts * a.block_cut, pixels = min(a.rows, a.P - first) * a.Q
    cdef Py_ssize_t* row = <Py_ssize_t*> scratch
    cdef Py_ssize_t* column = row + 2 * pixels
    cdef Py_ssize_t* term
    cdef Tile t
    take_channels(a, &t)
    t.cols = min(a.block_cut, a.blocks - block)
    t.scalar_row, t.out_row, t.vector_col, t.out_col = row, row + pixels, column, column + t.cols
    for p in range(first, first + pixels // a.Q):
        for q in range(a.Q):
            row[n] = (p * a.across + q) * a.x_pixel
            row[pixels + n] = p * a.y_row + q * LANES
            n += 1
    for i in range(t.cols):
        column[i] = (block + i) * a.units * t.vector_outer_step
        column[t.cols + i] = (block + i) * a.y_plane
    term = column + 2 * t.cols
    t.vector_inner = term
    if a.taps == 1:  # the inner loop runs over the units then
        t.outer, t.inner, t.scalar_inner = 1, a.units, term + a.units
        for i in range(a.units):
            term[a.units + i] = a.tap[0] + i * a.x_unit
    for i in range(t.inner):
        term[i] = i * a.unit * LANES
    t.col_bias, t.out = <const real*> a.bias + block * LANES, <real*> a.y
    run_tiles(&t, 0, pixels, best_tile(pixels, t.cols, 2, 16))
