# The one inner loop of convolution (forward and gradient to the input) and of linear layers:
#
#     y[k, pixel] = bias[k] + sum over channels c and taps t of w[k, c, t] * x[c, pixel + t]
#
# for a register tile of `rows` output channels x `cols` pixels, every number a vector of lanes.
# Pixels and taps are tables of offsets, so stride, dilation, padding, rotation and the layout of
# the weights are somebody else's business.  Edges are clamped: a tile that hangs over computes its
# last channel or pixel again and stores the same result twice.
#
# For a single image the two operands change places (`channels.pxi`): then the rows are pixels, numbers
# that go to all lanes, the columns are vectors of output channels, and x is the weights.

cdef struct Tile:
    Py_ssize_t K, pixels, C, taps
    Py_ssize_t x_c, w_c, w_k, y_k
    const Py_ssize_t* x_tap
    const Py_ssize_t* w_tap
    const Py_ssize_t* x_pixel
    const Py_ssize_t* y_pixel
    const Py_ssize_t* w_row     # offsets of the rows, where they are not multiples of w_k and y_k
    const Py_ssize_t* y_row
    const real* x
    const real* w
    const real* bias            # a number for each row
    const real* bias_col        # or a vector for each column
    real* y
    bint clip                   # results to low ... high
    real low, high


cdef real NOTHING[LANES]  # zeros: no bias, or a pixel outside the image


cdef inline void tile(const Tile* a, Py_ssize_t k0, Py_ssize_t q0, int rows, int cols) noexcept nogil:
    # Nothing is asked where the accumulators are at hand, and the loops run at least once: a choice there would
    # put all of them into memory.
    cdef vec acc[16][8]
    cdef vec held[8]
    cdef vec here
    cdef const real* x[8]
    cdef const real* w[16]
    cdef const real* bias = <const real*> &NOTHING[0] if a.bias == NULL else a.bias
    cdef const real* bias_col = <const real*> &NOTHING[0] if a.bias_col == NULL else a.bias_col
    cdef Py_ssize_t each = 0 if a.bias == NULL else 1, col = 0 if a.bias_col == NULL else LANES
    cdef Py_ssize_t c = 0, t, x_tap, w_tap, k, last, step
    cdef Py_ssize_t column[8]
    cdef const Py_ssize_t* y_row
    cdef const Py_ssize_t* y_pixel
    cdef real* y
    cdef real low = a.low if a.clip else -REAL_HUGE, high = a.high if a.clip else REAL_HUGE
    cdef int i, j
    for j in range(cols):
        x[j] = a.x + a.x_pixel[min(q0 + j, a.pixels - 1)]
        held[j] = (<const vec*> (bias_col + min(q0 + j, a.pixels - 1) * col))[0]
    for i in range(rows):
        k = min(k0 + i, a.K - 1)
        w[i] = a.w + (k * a.w_k if a.w_row == NULL else a.w_row[k])
        here = vec_all(bias[k * each])
        for j in range(cols):
            acc[i][j] = held[j] + here
    while True:
        t = 0
        while True:
            x_tap = c * a.x_c + a.x_tap[t]
            w_tap = c * a.w_c + a.w_tap[t]
            if cols <= rows:  # the shorter side stays in registers
                for j in range(cols):
                    held[j] = (<const vec*> (x[j] + x_tap))[0]
                for i in range(rows):
                    here = vec_all(w[i][w_tap])
                    for j in range(cols):
                        acc[i][j] += held[j] * here
            else:
                for i in range(rows):
                    held[i] = vec_all(w[i][w_tap])
                for j in range(cols):
                    here = (<const vec*> (x[j] + x_tap))[0]
                    for i in range(rows):
                        acc[i][j] += here * held[i]
            t += 1
            if t >= a.taps:
                break
        c += 1
        if c >= a.C:
            break
    last, step, y, y_row, y_pixel = a.K - 1, a.y_k, a.y, a.y_row, a.y_pixel  # which no store changes
    for j in range(cols):
        column[j] = y_pixel[min(q0 + j, a.pixels - 1)]
    for i in range(rows):
        k = min(k0 + i, last)
        k = k * step if y_row == NULL else y_row[k]
        for j in range(cols):
            (<vec*> (y + k + column[j]))[0] = vec_clip(acc[i][j], low, high)


cdef void one_tile(int shape, const Tile* a, Py_ssize_t k, Py_ssize_t q) noexcept nogil:
    # Each shape is a constant here, so that its accumulators live in registers.
    if shape == 0:
        tile(a, k, q, ROWS0, COLS0)
    elif shape == 1:
        tile(a, k, q, ROWS1, COLS1)
    elif shape == 2:
        tile(a, k, q, ROWS2, COLS2)
    elif shape == 3:
        tile(a, k, q, ROWS3, COLS3)
    elif shape == 4:
        tile(a, k, q, ROWS4, COLS4)
    elif shape == 5:
        tile(a, k, q, ROWS5, COLS5)
    elif shape == 6:
        tile(a, k, q, ROWS6, COLS6)
    elif shape == 7:
        tile(a, k, q, ROWS7, COLS7)
    elif shape == 8:
        tile(a, k, q, ROWS8, COLS8)
    elif shape == 9:
        tile(a, k, q, ROWS9, COLS9)
    elif shape == 10:
        tile(a, k, q, ROWS10, COLS10)
    elif shape == 11:
        tile(a, k, q, ROWS11, COLS11)
    elif shape == 12:
        tile(a, k, q, ROWS12, COLS12)
    elif shape == 13:
        tile(a, k, q, ROWS13, COLS13)
    else:
        tile(a, k, q, ROWS14, COLS14)


cdef void no_taps(const Tile* a, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    # the sum of nothing; here a bias is one of the rows
    cdef Tile t = a[0]
    cdef Py_ssize_t k, q
    cdef vec value
    for k in range(first, last):
        value = vec_all(0 if t.bias == NULL else t.bias[k])
        if t.clip:
            value = vec_clip(value, t.low, t.high)
        for q in range(t.pixels):
            (<vec*> (t.y + k * t.y_k + t.y_pixel[q]))[0] = value


cdef inline void run_tiles(const Tile* a, Py_ssize_t first, Py_ssize_t last, int shape) noexcept nogil:
    # Rows first..last-1 of all pixels.  K bounds the clamping, so that it never reaches into the
    # channels of another task.
    cdef Tile t = a[0]
    cdef Py_ssize_t k = first, q
    t.K = last
    if t.taps == 0:
        no_taps(a, first, last)
        return
    while k < last:
        q = 0
        while q < t.pixels:
            one_tile(shape, &t, k, q)
            q += TILE_COLS[shape]
        k += TILE_ROWS[shape]
