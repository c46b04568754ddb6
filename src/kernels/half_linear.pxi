# Gradient to the weights of linear layers: dw = dy' x, of pairs of images, x turned as in half_weight.pxi.

cdef enum:
    KEPT_ROWS = 16             # of dw, and
    KEPT_COLS = 2              # vectors of each, whose sums over the blocks are kept


cdef long long half_linear_scratch(const void* args) noexcept nogil:
    # sums of a block, and the tree of them
    return (LEVELS + 1) * KEPT_ROWS * KEPT_COLS * <long long> sizeof(vec)


cdef void half_linear_weight(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # some vectors of some rows of dw
    cdef const LinearWeight* a = <const LinearWeight*> args
    cdef Py_ssize_t columns = groups_of(a.C), parts = (columns + a.vectors - 1) // a.vectors
    cdef Py_ssize_t first = task // parts * a.channels, last = min(a.K, first + a.channels)
    cdef Py_ssize_t q = task % parts * a.vectors, end = min(columns, q + a.vectors), k, n, i, rows, at
    cdef Py_ssize_t blocks = (a.images + LANES - 1) // LANES
    cdef Py_ssize_t of_x[PAIRS]
    cdef Py_ssize_t of_dy[PAIRS]
    cdef Py_ssize_t col[KEPT_COLS]
    cdef Py_ssize_t out_col[KEPT_COLS]
    cdef vec* sums = <vec*> scratch        # (KEPT_ROWS, KEPT_COLS)
    cdef vec* level = sums + KEPT_ROWS * KEPT_COLS
    cdef real* dw
    cdef Tile t
    memset(&t, 0, sizeof(t))
    memset(sums, 0, KEPT_ROWS * KEPT_COLS * sizeof(vec))
    t.unit = min(<Py_ssize_t> MOST_PAIRS, <Py_ssize_t> PAIRS)
    t.outer, t.inner, t.scalar_row_step, t.line = 1, PAIRS // t.unit, PAIRS, PAIRS
    t.scalar_inner, t.vector_inner, t.vector_col, t.out_col = of_dy, of_x, col, out_col
    t.out, t.out_row_step = <real*> sums, KEPT_COLS * LANES
    for i in range(t.inner):
        of_dy[i] = i * t.unit
        of_x[i] = i * t.unit * LANES
    for i in range(KEPT_COLS):
        col[i] = i * PAIRS * LANES
        out_col[i] = i * LANES
    while q < end:
        t.cols = min(<Py_ssize_t> KEPT_COLS, end - q)
        k = first
        while k < last:
            rows = min(<Py_ssize_t> KEPT_ROWS, last - k)
            begin_tiles(&t, rows)
            for n in range(blocks):
                t.scalar = <const real*> (<const char*> a.dy + n * a.step) + k * PAIRS
                t.vector = <const real*> (<const char*> a.x + n * a.x_step) + q * PAIRS * LANES
                all_tiles(&t, 0, rows, best_tile(rows, t.cols, 2, 16))
                add_part(level, n, sums, KEPT_ROWS * KEPT_COLS)
            tiles_end()
            part_of(level, blocks, sums, KEPT_ROWS * KEPT_COLS)
            for i in range(rows * t.cols):
                at = (q + i % t.cols) * LANES
                dw = <real*> a.dw + (k + i // t.cols) * a.C + at
                vec_store_part(dw, sums[i // t.cols * KEPT_COLS + i % t.cols], <int> min(<Py_ssize_t> LANES, a.C - at))
            k += KEPT_ROWS
        q += KEPT_COLS
