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


cdef inline void row_of_pairs(const real* w, Py_ssize_t pairs, Py_ssize_t run, Py_ssize_t apart, real* to) noexcept nogil:
    # neighbours of w, `run` pairs side by side, which lie so far apart
    cdef Py_ssize_t j
    while pairs > 0:
        for j in range(min(run, pairs)):
            to[j] = one_pair(w[2 * j], w[2 * j + 1])
        w += 2 * run
        to += apart
        pairs -= run


cdef void weight_pairs(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # What lies side by side in w, output channels or pixels of the kernel, is read so.
    cdef const HalfWeights* a = <const HalfWeights*> args
    cdef Py_ssize_t units = (a.C + 2 * a.unit - 1) // (2 * a.unit), first = task * TOGETHER, c, t, i, k
    cdef Py_ssize_t count = min(TOGETHER, a.K - first), each = a.rows * a.unit, group = units * a.taps * each
    cdef Py_ssize_t base[TOGETHER]
    cdef real* u = <real*> a.u + first // a.rows * group
    cdef real* to
    cdef const real* whole = <const real*> a.w + first * a.w_k
    cdef const real* w
    for k in range(TOGETHER):
        base[k] = k // a.rows * group + k % a.rows * a.unit
    if count % a.rows or a.C % (2 * a.unit):
        memset(u, 0, (count + a.rows - 1) // a.rows * group * sizeof(real))
    for t in range(a.taps):
        w = whole + (a.taps - 1 - t if a.rotate else t)
        if a.w_c == 1:
            for k in range(count):
                row_of_pairs(w + k * a.w_k, a.C // 2, a.C if each == 1 else a.unit, each, u + base[k])
                if a.C % 2:
                    c = a.C // 2
                    u[base[k] + c // a.unit * each + c % a.unit] = one_pair(w[k * a.w_k + a.C - 1], 0)
            continue
        to = u + t * each
        i = 0
        for c in range(0, a.C, 2):
            if c + 1 < a.C:
                for k in range(count):
                    to[base[k]] = one_pair(w[k * a.w_k], w[k * a.w_k + a.w_c])
            else:
                for k in range(count):
                    to[base[k]] = one_pair(w[k * a.w_k], 0)
            w += 2 * a.w_c
            i += 1
            to += 1
            if i == a.unit:
                i = 0
                to += a.taps * each - a.unit
