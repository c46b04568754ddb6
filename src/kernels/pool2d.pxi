# Max and average pooling, forward and backward.  A task is one plane of one block of images.

cdef inline void window(Py_ssize_t start, Py_ssize_t gap, Py_ssize_t size, Py_ssize_t taps,
                        Py_ssize_t* first, Py_ssize_t* last) noexcept nogil:
    # the taps first..last-1 of a window at `start` that lie inside 0..size-1
    first[0] = min(first_inside(start, gap), taps)
    last[0] = last_inside(start, gap, size, taps)


cdef void max_pool(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # As PyTorch: the first of equal maxima wins, and a NaN always does.
    cdef const Pool* a = <const Pool*> args
    cdef const real* x = <const real*> a.x + task * a.x_plane
    cdef real* y = <real*> a.y + task * a.y_plane
    cdef vec* argmax = NULL
    cdef vec here, best, where
    cdef mask wins
    cdef Py_ssize_t p, q, r, s, r0, r1, s0, s1, h, w
    if a.argmax != NULL:
        argmax = <vec*> (<real*> a.argmax + task * a.P * a.Q * LANES)
    for p in range(a.P):
        h = p * a.step_h - a.top
        window(h, a.gap_h, a.H, a.R, &r0, &r1)
        for q in range(a.Q):
            w = q * a.step_w - a.left
            window(w, a.gap_w, a.W, a.S, &s0, &s1)
            best = vec_all(-REAL_HUGE)
            where = vec_all(<real> (r0 * a.S + s0))
            for r in range(r0, r1):
                for s in range(s0, s1):
                    here = (<const vec*> (x + (h + r * a.gap_h) * a.x_row + (w + s * a.gap_w) * LANES))[0]
                    wins = mask_or(vec_above(here, best), vec_nan(here))
                    best = vec_select(wins, here, best)
                    where = vec_select(wins, vec_all(<real> (r * a.S + s)), where)
            (<vec*> (y + p * a.y_row + q * LANES))[0] = best
            if argmax != NULL:
                argmax[p * a.Q + q] = where


cdef void max_pool_back(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # x is dy and y is dx here: the gradient goes to where the maximum was
    cdef const Pool* a = <const Pool*> args
    cdef const vec* dy = <const vec*> (<const real*> a.x + task * a.P * a.Q * LANES)
    cdef const vec* argmax = <const vec*> (<const real*> a.argmax + task * a.P * a.Q * LANES)
    cdef real* dx = <real*> a.y + task * a.H * a.W * LANES
    cdef vec* at
    cdef mask here
    cdef Py_ssize_t p, q, r, s, r0, r1, s0, s1, h, w
    memset(dx, 0, a.H * a.W * LANES * sizeof(real))
    for p in range(a.P):
        h = p * a.step_h - a.top
        window(h, a.gap_h, a.H, a.R, &r0, &r1)
        for q in range(a.Q):
            w = q * a.step_w - a.left
            window(w, a.gap_w, a.W, a.S, &s0, &s1)
            for r in range(r0, r1):
                for s in range(s0, s1):
                    at = <vec*> (dx + ((h + r * a.gap_h) * a.W + w + s * a.gap_w) * LANES)
                    here = vec_equal(argmax[p * a.Q + q], vec_all(<real> (r * a.S + s)))
                    at[0] = at[0] + vec_select(here, dy[p * a.Q + q], VEC_ZERO)


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
