# Max and average pooling, forward and backward.  A task is one plane of one block of images.

cdef inline void window(Py_ssize_t start, Py_ssize_t gap, Py_ssize_t size, Py_ssize_t taps,
                        Py_ssize_t* first, Py_ssize_t* last) noexcept nogil:
    # the taps first..last-1 of a window at `start` that lie inside 0..size-1; to divide costs more than a window
    if start >= 0 and start + (taps - 1) * gap < size:
        first[0], last[0] = 0, taps
        return
    first[0] = min(first_inside(start, gap), taps)
    last[0] = last_inside(start, gap, size, taps)


cdef inline vec maximum_of(const real* x, Py_ssize_t down, Py_ssize_t across, Py_ssize_t r0, Py_ssize_t r1, Py_ssize_t s0,
                           Py_ssize_t s1, Py_ssize_t S, vec* where, bint asked) noexcept nogil:
    # As PyTorch: the first of equal maxima wins, and a NaN always does.  Which tap it is, of rows of S, if asked.
    cdef vec best = vec_all(-REAL_HUGE), here, tap = vec_all(<real> (r0 * S + s0))
    cdef mask wins
    cdef Py_ssize_t r, s
    for r in range(r0, r1):
        for s in range(s0, s1):
            here = (<const vec*> (x + r * down + s * across))[0]
            wins = mask_or(vec_above(here, best), vec_nan(here))
            best = vec_select(wins, here, best)
            if asked:
                tap = vec_select(wins, vec_all(<real> (r * S + s)), tap)
    where[0] = tap
    return best


cdef inline void maxima_of(const Pool* a, Py_ssize_t task, bint asked) noexcept nogil:
    cdef const real* x = <const real*> a.x + task * a.x_plane
    cdef const real* here
    cdef real* y = <real*> a.y + task * a.y_plane
    cdef vec* argmax = <vec*> (<real*> a.argmax + task * a.P * a.Q * LANES) if asked else NULL
    cdef vec best, where
    cdef Py_ssize_t p, q, r0, r1, s0, s1, h, w, down = a.gap_h * a.x_row, across = a.gap_w * LANES
    for p in range(a.P):
        h = p * a.step_h - a.top
        window(h, a.gap_h, a.H, a.R, &r0, &r1)
        for q in range(a.Q):
            w = q * a.step_w - a.left
            window(w, a.gap_w, a.W, a.S, &s0, &s1)
            here = x + h * a.x_row + w * LANES
            if a.S == 2 and r0 == s0 == 0 and r1 == s1 == 2:  # without loops
                best = maximum_of(here, down, across, 0, 2, 0, 2, 2, &where, asked)
            else:
                best = maximum_of(here, down, across, r0, r1, s0, s1, a.S, &where, asked)
            (<vec*> (y + p * a.y_row + q * LANES))[0] = best
            if asked:
                argmax[p * a.Q + q] = where


cdef void max_pool(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Pool* a = <const Pool*> args
    if a.argmax == NULL:
        maxima_of(a, task, False)
    else:
        maxima_of(a, task, True)


cdef inline void to_maximum(vec dy, vec tap, real* dx, Py_ssize_t down, Py_ssize_t across, Py_ssize_t r0, Py_ssize_t r1,
                            Py_ssize_t s0, Py_ssize_t s1, Py_ssize_t S, bint alone) noexcept nogil:
    # the gradient goes to where the maximum was; `alone`: no other window has these pixels
    cdef vec* at
    cdef vec part
    cdef Py_ssize_t r, s
    for r in range(r0, r1):
        for s in range(s0, s1):
            at = <vec*> (dx + r * down + s * across)
            part = vec_select(vec_equal(tap, vec_all(<real> (r * S + s))), dy, VEC_ZERO)
            at[0] = (VEC_ZERO if alone else at[0]) + part


cdef void max_pool_back(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # x is dy and y is dx here
    cdef const Pool* a = <const Pool*> args
    cdef const vec* dy = <const vec*> (<const real*> a.x + task * a.P * a.Q * LANES)
    cdef const vec* argmax = <const vec*> (<const real*> a.argmax + task * a.P * a.Q * LANES)
    cdef real* dx = <real*> a.y + task * a.H * a.W * LANES
    cdef real* here
    cdef Py_ssize_t p, q, r0, r1, s0, s1, h, w, down = a.gap_h * a.W * LANES, across = a.gap_w * LANES
    cdef bint squares = a.R == 2 and a.S == 2 and a.step_h == 2 and a.step_w == 2 and a.gap_h == 1 and a.gap_w == 1
    if not (squares and a.top == 0 and a.left == 0 and 2 * a.P == a.H and 2 * a.Q == a.W):  # some have no window
        memset(dx, 0, a.H * a.W * LANES * sizeof(real))
    for p in range(a.P):
        h = p * a.step_h - a.top
        window(h, a.gap_h, a.H, a.R, &r0, &r1)
        for q in range(a.Q):
            w = q * a.step_w - a.left
            window(w, a.gap_w, a.W, a.S, &s0, &s1)
            here = dx + (h * a.W + w) * LANES
            if squares and r0 == s0 == 0 and r1 == s1 == 2:
                to_maximum(dy[p * a.Q + q], argmax[p * a.Q + q], here, down, across, 0, 2, 0, 2, 2, True)
            else:
                to_maximum(dy[p * a.Q + q], argmax[p * a.Q + q], here, down, across, r0, r1, s0, s1, a.S, False)


cdef inline Py_ssize_t average_extent(Py_ssize_t start, Py_ssize_t size, Py_ssize_t before,
                                      Py_ssize_t after, Py_ssize_t taps, bint count_pad,
                                      Py_ssize_t inside) noexcept nogil:
    # how many pixels of a window along one axis count in the divisor
    return min(start + taps, size + after) - max(start, -before) if count_pad else inside


cdef void avg_pool(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Pool* a = <const Pool*> args
    cdef const real* x = <const real*> a.x + task * a.x_plane
    cdef real* y = <real*> a.y + task * a.y_plane
    cdef vec total
    cdef real share
    cdef Py_ssize_t p, q, r, s, r0, r1, s0, s1, h, w, tall, wide
    for p in range(a.P):
        h = p * a.step_h - a.top
        window(h, 1, a.H, a.R, &r0, &r1)
        tall = average_extent(h, a.H, a.top, a.bottom, a.R, a.count_include_pad, r1 - r0)
        for q in range(a.Q):
            w = q * a.step_w - a.left
            window(w, 1, a.W, a.S, &s0, &s1)
            wide = average_extent(w, a.W, a.left, a.right, a.S, a.count_include_pad, s1 - s0)
            total = VEC_ZERO
            for r in range(r0, r1):
                for s in range(s0, s1):
                    total += (<const vec*> (x + (h + r) * a.x_row + (w + s) * LANES))[0]
            share = <real> 1 / <real> max(tall * wide, 1)
            (<vec*> (y + p * a.y_row + q * LANES))[0] = total * share


cdef void avg_pool_back(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # x is dy and y is dx here: the gradient is spread over the window
    cdef const Pool* a = <const Pool*> args
    cdef const vec* dy = <const vec*> (<const real*> a.x + task * a.P * a.Q * LANES)
    cdef real* dx = <real*> a.y + task * a.H * a.W * LANES
    cdef vec* at
    cdef vec part
    cdef real share
    cdef Py_ssize_t p, q, r, s, r0, r1, s0, s1, h, w, tall, wide
    memset(dx, 0, a.H * a.W * LANES * sizeof(real))
    for p in range(a.P):
        h = p * a.step_h - a.top
        window(h, 1, a.H, a.R, &r0, &r1)
        tall = average_extent(h, a.H, a.top, a.bottom, a.R, a.count_include_pad, r1 - r0)
        for q in range(a.Q):
            w = q * a.step_w - a.left
            window(w, 1, a.W, a.S, &s0, &s1)
            wide = average_extent(w, a.W, a.left, a.right, a.S, a.count_include_pad, s1 - s0)
            share = <real> 1 / <real> max(tall * wide, 1)
            part = dy[p * a.Q + q] * share
            for r in range(r0, r1):
                for s in range(s0, s1):
                    at = <vec*> (dx + ((h + r) * a.W + w + s) * LANES)
                    at[0] = at[0] + part
