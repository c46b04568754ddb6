# Convolution of few channels, as behind the input: the taps of a pixel stand in the place of channels, so that pairs and
# units are full.  What x has at them is gathered for some rows of y; the rest is a convolution of 1 x 1.

cdef struct SeenRow:
    const real* x              # the row of x that a tap meets from a row of y on; NULL: none
    Py_ssize_t right           # how far to the right of the pixel of y it looks,
    Py_ssize_t first, last     # and the pixels of y from which it sees one of x


cdef inline SeenRow no_row() noexcept nogil:
    cdef SeenRow row
    row.x, row.right, row.first, row.last = NULL, 0, 0, 0
    return row


cdef inline SeenRow row_of(const real* x, Py_ssize_t h, Py_ssize_t H, Py_ssize_t W, Py_ssize_t right, Py_ssize_t step,
                           Py_ssize_t Q) noexcept nogil:
    cdef SeenRow row = no_row()
    if 0 <= h < H:
        row.x, row.right = x + h * W * LANES, right
        row.first, row.last = first_inside(right, step), last_inside(right, step, W, Q)
    return row


cdef inline vec seen(const SeenRow* row, Py_ssize_t q, Py_ssize_t step) noexcept nogil:
    return (<const vec*> row.x)[q * step + row.right] if row.first <= q < row.last else VEC_ZERO


cdef inline SeenRow conv_row(const Conv* a, const real* x, Py_ssize_t number, Py_ssize_t p) noexcept nogil:
    # what the tap of that number, of all channels, meets
    cdef Py_ssize_t taps = a.taps_h * a.taps_w, c = number // taps
    if c >= a.C:
        return no_row()
    return row_of(x + c * a.x_c, p * a.step_h + a.tap_h[number % taps // a.taps_w], a.H, a.W, a.tap_w[number % a.taps_w],
                  a.step_w, a.Q)


cdef inline void row_of_taps(const SeenRow* even, const SeenRow* odd, Py_ssize_t step, Py_ssize_t Q, vec* y,
                             Py_ssize_t apart) noexcept nogil:
    cdef Py_ssize_t first = min(Q, max(even.first, odd.first)), last = max(first, min(even.last, odd.last)), q
    cdef const vec* low
    cdef const vec* high
    for q in range(first):
        y[q * apart] = vec_pair(seen(even, q, step), seen(odd, q, step))
    if first < last:
        low, high = <const vec*> even.x + even.right, <const vec*> odd.x + odd.right
        for q in range(first, last):
            y[q * apart] = vec_pair(low[q * step], high[q * step])
    for q in range(last, Q):
        y[q * apart] = vec_pair(seen(even, q, step), seen(odd, q, step))


cdef long long conv_of_taps_scratch(const void* args) noexcept nogil:
    # pixels as `conv_of_taps` gathers them, and its tables
    cdef const Conv* a = <const Conv*> args
    cdef long long pixels = a.rows * a.Q, units = a.units
    return pixels * units * a.unit * sizeof(vec) + 2 * (pixels + units) * sizeof(Py_ssize_t)


cdef void conv_of_taps(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # task = (block, rows)
    cdef const Conv* a = <const Conv*> args
    cdef Py_ssize_t row_blocks = (a.P + a.rows - 1) // a.rows, n = task // row_blocks, first = task % row_blocks * a.rows
    cdef Py_ssize_t last = min(first + a.rows, a.P), pixels = (last - first) * a.Q, i, p
    cdef const real* x = <const real*> a.x + n * a.x_n
    cdef SeenRow even, odd
    cdef vec* y = <vec*> scratch       # (units, pixels, unit)
    cdef vec* row
    cdef Py_ssize_t* table = <Py_ssize_t*> (y + pixels * a.units * a.unit)
    cdef Tile t
    for i in range(a.units * a.unit):
        row = y + i // a.unit * pixels * a.unit + i % a.unit
        for p in range(first, last):
            even, odd = conv_row(a, x, 2 * i, p), conv_row(a, x, 2 * i + 1, p)
            row_of_taps(&even, &odd, a.step_w, a.Q, row, a.unit)
            row += a.Q * a.unit
    memset(&t, 0, sizeof(t))
    t.vector, t.scalar, t.scalar_row_step = <const real*> y, <const real*> a.w, a.w_k
    t.row_bias = <const real*> a.bias
    t.out, t.out_row_step = <real*> a.y + n * a.y_n + first * a.y_h, a.y_k
    t.unit = t.line = a.unit
    t.clip, t.low, t.high = a.clip, <real> a.low, <real> a.high
    t.outer, t.inner, t.cols = 1, a.units, pixels
    t.vector_col, t.out_col = table, table + pixels
    for i in range(pixels):
        table[i] = i * a.unit * LANES
        table[pixels + i] = i // a.Q * a.y_h + i % a.Q * a.y_w
    table += 2 * pixels
    t.vector_inner, t.scalar_inner = table, table + a.units
    for i in range(a.units):
        table[i] = i * pixels * a.unit * LANES
        table[a.units + i] = i * a.w_c
    run_tiles(&t, 0, a.K, best_tile(a.K, pixels, 2, 16))
