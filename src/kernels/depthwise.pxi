# Convolution where a group has one or two output channels, as a depthwise one: too few to fill the tiles.
#
# `conv` has the same arguments, tasks and order of every sum, but here the accumulators are neighbouring pixels
# of one row: a weight is loaded once for all of them, and nothing is tabulated.  Where a tap of some of them
# lies outside, each asks by itself.

cdef inline void strip(const Conv* a, const real* x, const real* w, real bias, real* y, Py_ssize_t i0,
                       Py_ssize_t i1, Py_ssize_t q, int count, int step, int taps, bint edge) noexcept nogil:
    # the pixels q..q+count-1 of a row over the rows of taps i0..i1-1; `taps`, if not 0, is how many the columns of
    # taps are, side by side, and `step`, if not 0, that of the columns
    cdef vec acc[8]
    cdef vec here
    cdef const real* at
    cdef const real* weight
    cdef Py_ssize_t apart = step if step else a.step_w, c, i, j, place
    cdef int m
    for m in range(count):
        acc[m] = vec_all(bias)
    for c in range(a.C):
        for i in range(i0, i1):
            weight = w + c * a.w_c + a.weight_h[i]
            if taps:
                at = one_address(x + c * a.x_c + a.tap_h[i] * a.x_h + (q * apart + a.tap_w[0]) * LANES)
                weight += a.weight_w[0]
                for j in range(taps):
                    here = vec_all(weight[j])
                    for m in range(count):
                        acc[m] += (<const vec*> (at + (j + m * apart) * LANES))[0] * here
            else:
                for j in range(a.taps_w):
                    here = vec_all(weight[a.weight_w[j]])
                    place = q * apart + a.tap_w[j]
                    at = one_address(x + c * a.x_c + a.tap_h[i] * a.x_h + place * LANES)
                    for m in range(count):
                        if not edge or <size_t> (place + m * apart) < <size_t> a.W:
                            acc[m] += (<const vec*> (at + m * apart * LANES))[0] * here
    if a.clip:
        for m in range(count):
            acc[m] = vec_clip(acc[m], <real> a.low, <real> a.high)
    for m in range(count):
        if not edge or q + m < a.Q:
            (<vec*> (y + (q + m) * a.y_w))[0] = acc[m]


cdef inline void row_of_strips(const Conv* a, const real* x, const real* w, real bias, real* y, Py_ssize_t i0,
                               Py_ssize_t i1, Py_ssize_t first, Py_ssize_t last, bint three, int step) noexcept nogil:
    # the pixels first..last-1 have all columns of taps inside
    cdef Py_ssize_t q = 0
    while q < a.Q:
        if first <= q and q + 8 <= last:
            if three:
                strip(a, x, w, bias, y, i0, i1, q, 8, step, 3, False)
            else:
                strip(a, x, w, bias, y, i0, i1, q, 8, step, 0, False)
            q += 8
        elif a.Q - q > 4:
            strip(a, x, w, bias, y, i0, i1, q, 8, step, 0, True)
            q += 8
        else:
            strip(a, x, w, bias, y, i0, i1, q, 4, step, 0, True)
            q += 4


cdef void conv_strips(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef Conv own = (<const Conv*> args)[0]  # which no store of a result changes
    cdef const Conv* a = &own
    cdef Py_ssize_t cuts = (a.K + a.channels - 1) // a.channels
    cdef Py_ssize_t row_blocks = (a.P + a.rows - 1) // a.rows
    cdef Py_ssize_t g = task % a.G, k0 = task // a.G % cuts * a.channels, k
    cdef Py_ssize_t p0 = task // a.G // cuts % row_blocks * a.rows
    cdef Py_ssize_t n = task // a.G // cuts // row_blocks, p, i0, i1, first = 0, last = a.Q
    cdef const real* x
    cdef const real* w
    cdef real* y
    cdef real bias
    cdef bint three = False
    if a.taps_w:  # they ascend
        first = first_inside(a.tap_w[0], a.step_w)
        last = last_inside(a.tap_w[a.taps_w - 1], a.step_w, a.W, a.Q)
        three = a.taps_w == 3 and a.tap_w[2] - a.tap_w[0] == 2 and a.weight_w[2] - a.weight_w[0] == 2
    for k in range(k0, min(k0 + a.channels, a.K)):
        w = <const real*> a.w + g * a.w_g + k * a.w_k
        bias = 0 if a.bias == NULL else (<const real*> a.bias)[g * a.K + k]
        for p in range(p0, min(p0 + a.rows, a.P)):
            taps_inside(a.tap_h, a.taps_h, p * a.step_h, a.H, &i0, &i1)
            x = <const real*> a.x + n * a.x_n + g * a.x_g + p * a.step_h * a.x_h
            y = <real*> a.y + n * a.y_n + g * a.y_g + k * a.y_k + p * a.y_h
            if a.step_w == 1:
                row_of_strips(a, x, w, bias, y, i0, i1, first, last, three, 1)
            elif a.step_w == 2:
                row_of_strips(a, x, w, bias, y, i0, i1, first, last, three, 2)
            else:
                row_of_strips(a, x, w, bias, y, i0, i1, first, last, three, 0)


# The gradient to the weights of the same.  A task is an output channel; the accumulators are some rows of
# some columns of its taps, so that a vector of dy is loaded once for all of them.

cdef inline void weight_row(const ConvWeight* a, const real* x, const real* dy, Py_ssize_t shift, vec* sums,
                            int rows, int cols) noexcept nogil:
    # one row of pixels; x is where the first row of taps meets it, `shift` the first column of taps
    cdef vec acc[3][5]
    cdef vec here
    cdef Py_ssize_t first = min(first_inside(shift, a.step_w), a.Q), q, w, below = a.gap_h * a.W * LANES
    cdef Py_ssize_t last = max(first, last_inside(shift + (cols - 1) * a.gap_w, a.step_w, a.W, a.Q))
    cdef const real* at
    cdef int i, j
    for i in range(rows):
        for j in range(cols):
            acc[i][j] = sums[i * 5 + j]
    q = 0
    while q < a.Q:
        here = (<const vec*> (dy + q * LANES))[0]
        at = x + (q * a.step_w + shift) * LANES
        if first <= q < last:
            for j in range(cols):
                for i in range(rows):
                    acc[i][j] += here * (<const vec*> (at + i * below + j * a.gap_w * LANES))[0]
        else:
            for j in range(cols):
                w = q * a.step_w + shift + j * a.gap_w
                if 0 <= w < a.W:
                    for i in range(rows):
                        acc[i][j] += here * (<const vec*> (at + i * below + j * a.gap_w * LANES))[0]
        q += 1
    for i in range(rows):
        for j in range(cols):
            sums[i * 5 + j] = acc[i][j]


cdef inline void weight_rows(const ConvWeight* a, const real* x, const real* dy, Py_ssize_t shift, vec* sums,
                             Py_ssize_t rows, int cols) noexcept nogil:
    if rows == 3:
        weight_row(a, x, dy, shift, sums, 3, cols)
    elif rows == 2:
        weight_row(a, x, dy, shift, sums, 2, cols)
    elif rows == 1:
        weight_row(a, x, dy, shift, sums, 1, cols)


cdef void weight_taps(const ConvWeight* a, Py_ssize_t k, Py_ssize_t r0, Py_ssize_t rows, Py_ssize_t s0,
                      Py_ssize_t cols) noexcept nogil:
    # dw of output channel k for the taps from (r0, s0) on
    cdef vec sums[15]
    cdef const real* x
    cdef const real* dy
    cdef real* dw = <real*> a.dw + (k * a.R + r0) * a.S + s0
    cdef mask live = vec_first(a.live)
    cdef Py_ssize_t n, p, h, i, j, first, last, shift = s0 * a.gap_w - a.left
    memset(sums, 0, sizeof(sums))
    for n in range(a.first, a.last):
        x = <const real*> a.x + (n * a.G + k // a.K) * a.H * a.W * LANES
        dy = <const real*> a.dy + (n * a.G * a.K + k) * a.P * a.Q * LANES
        for p in range(a.P):
            h = p * a.step_h + r0 * a.gap_h - a.top
            first = min(first_inside(h, a.gap_h), rows)
            last = last_inside(h, a.gap_h, a.H, rows)
            h += first * a.gap_h
            if cols == 1:
                weight_rows(a, x + h * a.W * LANES, dy, shift, sums + first * 5, last - first, 1)
            elif cols == 2:
                weight_rows(a, x + h * a.W * LANES, dy, shift, sums + first * 5, last - first, 2)
            elif cols == 3:
                weight_rows(a, x + h * a.W * LANES, dy, shift, sums + first * 5, last - first, 3)
            elif cols == 4:
                weight_rows(a, x + h * a.W * LANES, dy, shift, sums + first * 5, last - first, 4)
            else:
                weight_rows(a, x + h * a.W * LANES, dy, shift, sums + first * 5, last - first, 5)
            dy += a.Q * LANES
    for i in range(rows):
        for j in range(cols):
            dw[i * a.S + j] = vec_sum(vec_select(live, sums[i * 5 + j], VEC_ZERO)) + (
                dw[i * a.S + j] if a.first else <real> 0)


cdef void conv_weight_strips(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const ConvWeight* a = <const ConvWeight*> args
    cdef Py_ssize_t r, s = 0
    while s < a.S:
        r = 0
        while r < a.R:
            weight_taps(a, task, r, min(3, a.R - r), s, min(5, a.S - s))
            r += 3
        s += 5
