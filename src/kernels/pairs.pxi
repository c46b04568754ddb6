# From float32 to pairs of bfloat16: pixels and weights, in the order in which they are multiplied.

cdef void pairs(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # a task is a unit of channels of a block
    cdef const HalfPairs* a = <const HalfPairs*> args
    cdef Py_ssize_t units = (a.C + 2 * a.unit - 1) // (2 * a.unit), step = a.pixels * LANES, i, p, c
    cdef const real* block = <const real*> a.x + task // units * a.C * step
    cdef const real* even
    cdef const real* odd
    cdef vec* y
    for i in range(a.unit):
        y = <vec*> a.y + task * a.pixels * a.unit + i
        c = 2 * (task % units * a.unit + i)
        even, odd = block + c * step, block + (c + 1) * step
        if c + 1 < a.C:
            for p in range(a.pixels):
                y[p * a.unit] = vec_pair((<const vec*> even)[p], (<const vec*> odd)[p])
        elif c < a.C:
            for p in range(a.pixels):
                y[p * a.unit] = vec_pair((<const vec*> even)[p], VEC_ZERO)
        else:
            for p in range(a.pixels):
                y[p * a.unit] = VEC_ZERO


cdef void weight_pairs(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # a task is a group of output channels
    cdef const HalfWeights* a = <const HalfWeights*> args
    cdef Py_ssize_t units = (a.C + 2 * a.unit - 1) // (2 * a.unit), row, pair, c, t, first, step = 1, apart
    cdef real* u = <real*> a.u + task * units * a.taps * a.rows * a.unit
    cdef real* to
    cdef const real* w
    first = 0
    if a.rotate:
        first, step = a.taps - 1, -1
    apart = a.rows * a.unit
    for row in range(a.rows):
        for pair in range(units * a.unit):
            to = u + (pair // a.unit * a.taps * a.rows + row) * a.unit + pair % a.unit
            c = 2 * pair
            w = <const real*> a.w + (task * a.rows + row) * a.w_k + c * a.w_c + first
            if task * a.rows + row >= a.K or c >= a.C:
                for t in range(a.taps):
                    to[t * apart] = 0
            elif c + 1 < a.C:
                for t in range(a.taps):
                    to[t * apart] = one_pair(w[t * step], w[t * step + a.w_c])
            else:
                for t in range(a.taps):
                    to[t * apart] = one_pair(w[t * step], 0)
