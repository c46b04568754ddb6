# Convolution where a group has one or two output channels, as a depthwise one: too few to fill the tiles.
#
# `conv` has the same arguments, tasks and order of every sum, but here the accumulators are neighbouring pixels
# of one row: a weight is loaded once for all of them, and nothing is tabulated.  Where a tap of some of them
# lies outside, each asks by itself.

cdef inline void strip(const Conv* a, const real* x, const real* w, real bias, real* y, Py_ssize_t i0,
                       Py_ssize_t i1, Py_ssize_t q, int count, int step, bint edge) noexcept nogil:
    # the pixels q..q+count-1 of a row over the rows of taps i0..i1-1; `step`, if not 0, is that of the columns
    cdef vec acc[8]
    cdef vec here
    cdef const real* at
    cdef const real* weight
    cdef Py_ssize_t apart = step if step else a.step_w, c, i, j, column
    cdef int m
    for m in range(count):
        acc[m] = vec_all(bias)
    for c in range(a.C):
        for i in range(i0, i1):
            weight = w + c * a.w_c + a.weight_h[i]
            for j in range(a.taps_w):
                here = vec_all(weight[a.weight_w[j]])
                column = q * apart + a.tap_w[j]
                at = one_address(x + c * a.x_c + a.tap_h[i] * a.x_h + column * LANES)
                for m in range(count):
                    if not edge or <size_t> (column + m * apart) < <size_t> a.W:
                        acc[m] += (<const vec*> (at + m * apart * LANES))[0] * here
    if a.clip:
        for m in range(count):
            acc[m] = vec_clip(acc[m], <real> a.low, <real> a.high)
    for m in range(count):
        if not edge or q + m < a.Q:
            (<vec*> (y + (q + m) * a.y_w))[0] = acc[m]


cdef inline void three_taps(vec* acc, const real* row, const real* first, const real* last, const real* w, int count,
                            int step, bint of_lanes) noexcept nogil:
    # A row of three taps, the middle one of the first pixel at `row`, for `count` pixels.  The outermost taps of the
    # first and the last pixel have places of their own: they may lie outside.
    cdef vec here
    cdef const real* at
    cdef int j, m
    for j in range(3):
        here = (<const vec*> (w + j * LANES))[0] if of_lanes else vec_all(w[j])
        for m in range(count):
            at = row + (m * step + j - 1) * LANES
            if j == 0 and m == 0:
                at = first
            if j == 2 and m == count - 1:
                at = last
            acc[m] += (<const vec*> at)[0] * here


cdef inline void near(const Conv* a, const real* x, const real* w, real bias, real* y, Py_ssize_t p, Py_ssize_t end,
                      Py_ssize_t q, int count, int step) noexcept nogil:
    # `count` pixels from q on of the rows p..end-1 for 3 x 3 taps side by side, which reach at most one pixel beyond
    # the image: zeros.  Nothing is asked where the accumulators are at hand, as in `tile`.
    cdef vec acc[8]
    cdef Py_ssize_t middle = q * step + a.tap_w[0] + 1, h, c, i, i0, i1
    cdef bint left = middle < 1, right = middle + (count - 1) * step + 1 >= a.W
    cdef real low = <real> a.low if a.clip else -REAL_HUGE, high = <real> a.high if a.clip else REAL_HUGE
    cdef const real* row
    cdef int m
    x += middle * LANES
    w += a.weight_w[0]
    while p < end:
        h = p * a.step_h + a.tap_h[0]
        i0, i1 = 1 if h < 0 else 0, 2 if h + 2 >= a.H else 3
        for m in range(count):
            acc[m] = vec_all(bias)
        c = 0
        while True:
            i = i0
            while True:
                row = one_address(x + c * a.x_c + (h + i) * a.x_h)
                three_taps(acc, row, <const real*> &NOTHING[0] if left else row - LANES,
                           <const real*> &NOTHING[0] if right else row + ((count - 1) * step + 1) * LANES,
                           w + c * a.w_c + a.weight_h[i], count, step, False)
                i += 1
                if i >= i1:
                    break
            c += 1
            if c >= a.C:
                break
        for m in range(count):
            (<vec*> (y + p * a.y_h + (q + m) * a.y_w))[0] = vec_clip(acc[m], low, high)
        p += 1


cdef inline int even_strip(Py_ssize_t pixels) noexcept nogil:
    # pixels of each of the fewest strips of at most 8; the last one may overlap the one before
    cdef int strips = <int> ((pixels + 7) // 8)
    return <int> pixels if strips == 1 else (<int> pixels + strips - 1) // strips


cdef inline void near_strips(const Conv* a, const real* x, const real* w, real bias, real* y, Py_ssize_t p,
                             Py_ssize_t end, int count, int step) noexcept nogil:
    cdef Py_ssize_t q = 0, last = a.Q - count
    while q < a.Q:
        near(a, x, w, bias, y, p, end, min(q, last), count, step)
        q += count


cdef inline void near_rows(const Conv* a, const real* x, const real* w, real bias, real* y, Py_ssize_t p,
                           Py_ssize_t end, int count, int step) noexcept nogil:
    if count == 8:
        near_strips(a, x, w, bias, y, p, end, 8, step)
    elif count == 7:
        near_strips(a, x, w, bias, y, p, end, 7, step)
    elif count == 6:
        near_strips(a, x, w, bias, y, p, end, 6, step)
    elif count == 5:
        near_strips(a, x, w, bias, y, p, end, 5, step)
    elif count == 4:
        near_strips(a, x, w, bias, y, p, end, 4, step)
    elif count == 3:
        near_strips(a, x, w, bias, y, p, end, 3, step)
    elif count == 2:
        near_strips(a, x, w, bias, y, p, end, 2, step)
    else:
        near_strips(a, x, w, bias, y, p, end, 1, step)


cdef inline bint are_near(const Conv* a) noexcept nogil:
    # whether the taps are such that `near` may be called
    return (a.taps_h == a.taps_w == 3 and (a.step_w == 1 or a.step_w == 2)
            and a.tap_w[2] - a.tap_w[0] == 2 and a.weight_w[2] - a.weight_w[0] == 2
            and a.tap_w[0] >= -1 and (a.Q - 1) * a.step_w + a.tap_w[2] <= a.W
            and a.tap_h[2] - a.tap_h[0] == 2
            and a.tap_h[0] >= -1 and (a.P - 1) * a.step_h + a.tap_h[2] <= a.H)


cdef inline bint finite_weights(const Conv* a, const real* w) noexcept nogil:
    # else they must not meet the zeros outside
    cdef real total = 0
    cdef Py_ssize_t c, i, j
    for c in range(a.C):
        for i in range(3):
            for j in range(3):
                total += w[c * a.w_c + a.weight_h[i] + a.weight_w[0] + j] * 0
    return total == 0


cdef inline void row_of_strips(const Conv* a, const real* x, const real* w, real bias, real* y, Py_ssize_t i0,
                               Py_ssize_t i1, Py_ssize_t first, Py_ssize_t last, int step) noexcept nogil:
    # the pixels first..last-1 have all columns of taps inside
    cdef Py_ssize_t q = 0
    while q < a.Q:
        if first <= q and q + 8 <= last:
            strip(a, x, w, bias, y, i0, i1, q, 8, step, False)
            q += 8
        elif a.Q - q > 4:
            strip(a, x, w, bias, y, i0, i1, q, 8, step, True)
            q += 8
        else:
            strip(a, x, w, bias, y, i0, i1, q, 4, step, True)
            q += 4


cdef void conv_strips(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef Conv own = (<const Conv*> args)[0]  # which no store of a result changes
    cdef const Conv* a = &own
    cdef Py_ssize_t cuts = (a.K + a.channels - 1) // a.channels
    cdef Py_ssize_t row_blocks = (a.P + a.rows - 1) // a.rows
    cdef Py_ssize_t g = task % a.G, k0 = task // a.G % cuts * a.channels, k
    cdef Py_ssize_t p0 = task // a.G // cuts % row_blocks * a.rows, end = min(p0 + a.rows, a.P)
    cdef Py_ssize_t n = task // a.G // cuts // row_blocks, p, i0, i1, first = 0, last = a.Q
    cdef const real* plane = <const real*> a.x + n * a.x_n + g * a.x_g
    cdef const real* x
    cdef const real* w
    cdef real* y
    cdef real bias
    cdef bint all_near = are_near(a)
    cdef int count = even_strip(a.Q)
    if a.taps_w:  # they ascend
        first = first_inside(a.tap_w[0], a.step_w)
        last = last_inside(a.tap_w[a.taps_w - 1], a.step_w, a.W, a.Q)
    for k in range(k0, min(k0 + a.channels, a.K)):
        w = <const real*> a.w + g * a.w_g + k * a.w_k
        bias = 0 if a.bias == NULL else (<const real*> a.bias)[g * a.K + k]
        y = <real*> a.y + n * a.y_n + g * a.y_g + k * a.y_k
        if all_near and finite_weights(a, w):
            if a.step_w == 1:
                near_rows(a, plane, w, bias, y, p0, end, count, 1)
            else:
                near_rows(a, plane, w, bias, y, p0, end, count, 2)
            continue
        for p in range(p0, end):
            taps_inside(a.tap_h, a.taps_h, p * a.step_h, a.H, &i0, &i1)
            x = plane + p * a.step_h * a.x_h
            if a.step_w == 1:
                row_of_strips(a, x, w, bias, y + p * a.y_h, i0, i1, first, last, 1)
            elif a.step_w == 2:
                row_of_strips(a, x, w, bias, y + p * a.y_h, i0, i1, first, last, 2)
            else:
                row_of_strips(a, x, w, bias, y + p * a.y_h, i0, i1, first, last, 0)


# The gradient to the weights of the same.  A task is an output channel of a block; the accumulators are some rows of
# some columns of its taps, so that a vector of dy is loaded once for all of them.

cdef inline void weight_row(const ConvWeight* a, const real* x, const real* dy, Py_ssize_t first, Py_ssize_t last,
                            Py_ssize_t w, vec* sums, int rows, int cols) noexcept nogil:
    # One row of pixels, all columns of taps inside for first..last-1.  x is where the first row of taps meets it,
    # w the column that the first tap of it sees.
    cdef vec acc[3][5]
    cdef vec here
    cdef Py_ssize_t gap = a.gap_w, step = a.step_w, below = a.gap_h * a.W * LANES
    cdef const real* end = dy + a.Q * LANES
    cdef const real* inside = dy + first * LANES
    cdef int i, j
    for i in range(rows):
        for j in range(cols):
            acc[i][j] = sums[i * 5 + j]
    x += w * LANES
    while True:
        if dy == inside:
            while first < last:
                here = (<const vec*> dy)[0]
                for j in range(cols):
                    for i in range(rows):
                        acc[i][j] += here * (<const vec*> (x + i * below + j * gap * LANES))[0]
                dy += LANES
                x += step * LANES
                w += step
                first += 1
        if dy == end:
            break
        here = (<const vec*> dy)[0]
        for j in range(cols):
            if 0 <= w + j * gap < a.W:
                for i in range(rows):
                    acc[i][j] += here * (<const vec*> (x + i * below + j * gap * LANES))[0]
        dy += LANES
        x += step * LANES
        w += step
    for i in range(rows):
        for j in range(cols):
            sums[i * 5 + j] = acc[i][j]


cdef inline void weight_rows(const ConvWeight* a, const real* x, const real* dy, Py_ssize_t first, Py_ssize_t last,
                             Py_ssize_t w, vec* sums, Py_ssize_t rows, int cols) noexcept nogil:
    if rows == 3:
        weight_row(a, x, dy, first, last, w, sums, 3, cols)
    elif rows == 2:
        weight_row(a, x, dy, first, last, w, sums, 2, cols)
    elif rows == 1:
        weight_row(a, x, dy, first, last, w, sums, 1, cols)


cdef void weight_taps(const ConvWeight* a, Py_ssize_t n, Py_ssize_t k, Py_ssize_t r0, Py_ssize_t rows, Py_ssize_t s0,
                      Py_ssize_t cols) noexcept nogil:
    # dw of output channel k for the taps from (r0, s0) on
    cdef vec sums[15]
    cdef const real* plane
    cdef const real* x
    cdef const real* dy
    cdef real* dw = <real*> a.dw + ((n * a.G * a.K + k) * a.R + r0) * a.S + s0
    cdef Py_ssize_t live = a.live if n == a.N - 1 else LANES
    cdef Py_ssize_t p, h, i, j, first, last, shift = s0 * a.gap_w - a.left
    cdef Py_ssize_t q_first = min(first_inside(shift, a.step_w), a.Q)
    cdef Py_ssize_t q_last = last_inside(shift + (cols - 1) * a.gap_w, a.step_w, a.W, a.Q)
    memset(sums, 0, sizeof(sums))
    plane = <const real*> a.x + (n * a.G + k // a.K) * a.H * a.W * LANES
    dy = <const real*> a.dy + (n * a.G * a.K + k) * a.P * a.Q * LANES
    for p in range(a.P):
        h = p * a.step_h + r0 * a.gap_h - a.top
        first = min(first_inside(h, a.gap_h), rows)
        last = last_inside(h, a.gap_h, a.H, rows)
        x = plane + (h + first * a.gap_h) * a.W * LANES
        if cols == 1:
            weight_rows(a, x, dy, q_first, q_last, shift, sums + first * 5, last - first, 1)
        elif cols == 2:
            weight_rows(a, x, dy, q_first, q_last, shift, sums + first * 5, last - first, 2)
        elif cols == 3:
            weight_rows(a, x, dy, q_first, q_last, shift, sums + first * 5, last - first, 3)
        elif cols == 4:
            weight_rows(a, x, dy, q_first, q_last, shift, sums + first * 5, last - first, 4)
        else:
            weight_rows(a, x, dy, q_first, q_last, shift, sums + first * 5, last - first, 5)
        dy += a.Q * LANES
    for i in range(rows):
        for j in range(cols):
            dw[i * a.S + j] = vec_sum_first(sums[i * 5 + j], live)


cdef void conv_weight_strips(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const ConvWeight* a = <const ConvWeight*> args
    cdef Py_ssize_t r, s = 0
    while s < a.S:
        r = 0
        while r < a.R:
            weight_taps(a, task // (a.G * a.K), task % (a.G * a.K), r, min(3, a.R - r), s, min(5, a.S - s))
            r += 3
        s += 5
