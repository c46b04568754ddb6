# Convolution: y = x * w (cross-correlation).
#
# Forward and gradient to the input are one kernel: the caller lists the taps, for the gradient
# those of the kernel rotated by 180 degrees with input and output channels exchanged (and for a
# stride one pass for each residue).  A task is some rows of one block of images.  Padding is never
# stored: pixels near the edge simply have fewer taps, and those with the same taps go together.  The scalars
# of a tile are weights, a row for each output channel; the vectors are pixels of x, a column for each of y.

cdef inline void taps_inside(const Py_ssize_t* tap, Py_ssize_t taps, Py_ssize_t at, Py_ssize_t size,
                             Py_ssize_t* first, Py_ssize_t* last) noexcept nogil:
    # the run of taps first..last-1 with 0 <= at + tap < size
    cdef Py_ssize_t i = 0
    while i < taps and not 0 <= at + tap[i] < size:
        i += 1
    first[0] = i
    while i < taps and 0 <= at + tap[i] < size:
        i += 1
    last[0] = i


cdef inline Py_ssize_t run_of_pixels(const Py_ssize_t* tap, Py_ssize_t taps, Py_ssize_t p,
                                     Py_ssize_t end, Py_ssize_t step, Py_ssize_t size,
                                     Py_ssize_t* first, Py_ssize_t* last) noexcept nogil:
    # pixels p, p + 1, ... before `end` that have the same taps inside; returns where they stop
    cdef Py_ssize_t f, l
    taps_inside(tap, taps, p * step, size, first, last)
    while True:
        p += 1
        if p == end:
            return p
        taps_inside(tap, taps, p * step, size, &f, &l)
        if f != first[0] or l != last[0]:
            return p


cdef inline Py_ssize_t first_inside(Py_ssize_t offset, Py_ssize_t step) noexcept nogil:
    # the least i >= 0 with i*step + offset >= 0
    return max(0, (step - 1 - offset) // step) if offset < 0 else 0


cdef inline Py_ssize_t last_inside(Py_ssize_t offset, Py_ssize_t step, Py_ssize_t size,
                                   Py_ssize_t count) noexcept nogil:
    # one past the greatest i < count with i*step + offset < size
    return min(count, (size - 1 - offset) // step + 1) if offset < size else 0


cdef inline void conv_patch(const Conv* a, Tile* t, Py_ssize_t p0, Py_ssize_t p1, Py_ssize_t q0,
                            Py_ssize_t q1, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0,
                            Py_ssize_t j1, Py_ssize_t k0, Py_ssize_t k1,
                            Py_ssize_t* table) noexcept nogil:
    # output channels k0..k1-1 of the pixels p0..p1-1 x q0..q1-1, which have the same taps
    cdef Py_ssize_t p, q, c, i, j, n = 0
    t.vector_col = table
    for p in range(p0, p1):
        for q in range(q0, q1):
            table[n] = p * a.step_h * a.x_h + q * a.step_w * a.x_w
            n += 1
    t.cols = n
    table += n
    t.out_col = table
    n = 0
    for p in range(p0, p1):
        for q in range(q0, q1):
            table[n] = p * a.y_h + q * a.y_w
            n += 1
    table += n
    n = 0
    t.vector_inner = table
    t.inner = (i1 - i0) * (j1 - j0)
    t.outer = a.C
    if t.inner == 1:  # the inner loop runs over the channels then
        t.inner = a.C
        t.outer = 1
    t.scalar_inner = table + t.inner
    for c in range(a.C // t.outer):
        for i in range(i0, i1):
            for j in range(j0, j1):
                table[n] = c * a.x_c + a.tap_h[i] * a.x_h + a.tap_w[j] * a.x_w
                table[t.inner + n] = c * a.w_c + a.weight_h[i] + a.weight_w[j]
                n += 1
    run_tiles(t, k0, k1, best_tile(k1 - k0, t.cols, 2, 16))


cdef long long conv_scratch(const void* args) noexcept nogil:
    # the tables of `conv_patch`: pixels of x and y, terms of x and w
    cdef const Conv* a = <const Conv*> args
    return 2 * sizeof(Py_ssize_t) * <long long> (a.rows * a.Q + max(a.taps_h * a.taps_w, a.C))


cdef void conv(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # task = (block, rows, output channels, group)
    cdef const Conv* a = <const Conv*> args
    cdef Py_ssize_t cuts = (a.K + a.channels - 1) // a.channels
    cdef Py_ssize_t row_blocks = (a.P + a.rows - 1) // a.rows
    cdef Py_ssize_t g = task % a.G, k0 = task // a.G % cuts * a.channels
    cdef Py_ssize_t p0 = task // a.G // cuts % row_blocks * a.rows
    cdef Py_ssize_t n = task // a.G // cuts // row_blocks
    cdef Py_ssize_t last = min(p0 + a.rows, a.P), p1, q0, q1, i0, i1, j0, j1
    cdef Tile t
    memset(&t, 0, sizeof(t))
    t.vector_outer_step = a.x_c
    t.scalar_outer_step = a.w_c
    t.scalar_row_step = a.w_k
    t.out_row_step = a.y_k
    t.unit = t.line = a.unit
    t.clip = a.clip
    t.low = <real> a.low
    t.high = <real> a.high
    t.vector = <const real*> a.x + n * a.x_n + g * a.x_g
    t.scalar = <const real*> a.w + g * a.w_g
    if a.bias != NULL:
        t.row_bias = <const real*> a.bias + g * a.K
    t.out = <real*> a.y + n * a.y_n + g * a.y_g
    while p0 < last:
        p1 = run_of_pixels(a.tap_h, a.taps_h, p0, last, a.step_h, a.H, &i0, &i1)
        q0 = 0
        while q0 < a.Q:
            q1 = run_of_pixels(a.tap_w, a.taps_w, q0, a.Q, a.step_w, a.W, &j0, &j1)
            conv_patch(a, &t, p0, p1, q0, q1, i0, i1, j0, j1, k0, min(k0 + a.channels, a.K),
                       <Py_ssize_t*> scratch)
            q0 = q1
        p0 = p1
