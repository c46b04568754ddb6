# The functions of functions.h on plain runs of numbers; softmax over channels, in lanes, whose gradients use
# the output y: softmax y (dy - sum of y dy), its logarithm dy - e^y sum of dy.

cdef void elementwise(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Map* m = <const Map*> args
    cdef Py_ssize_t start = task * m.chunk, count = min(m.count - start, m.chunk), whole = count // LANES
    cdef const real* a = <const real*> m.a + start
    cdef const real* b = a if m.b == NULL else <const real*> m.b + start
    cdef const real* c = a if m.c == NULL else <const real*> m.c + start
    cdef real* y = <real*> m.y + start
    cdef real p = <real> m.p, q = <real> m.q
    cdef map_loop loop = MAP_LOOPS[m.op]
    cdef int rest = <int> (count - whole * LANES)
    cdef vec first, second, third
    loop(<const vec*> a, <const vec*> b, <const vec*> c, <vec*> y, whole, p, q)
    if rest:
        first = vec_load_part(a + whole * LANES, rest)
        second = vec_load_part(b + whole * LANES, rest)
        third = vec_load_part(c + whole * LANES, rest)
        loop(&first, &second, &third, &first, 1, p, q)
        vec_store_part(y + whole * LANES, first, rest)


cdef inline vec channel_max(const vec* z, Py_ssize_t K, Py_ssize_t step) noexcept nogil:
    cdef vec best = z[0]
    cdef Py_ssize_t k
    for k in range(1, K):
        best = vec_select(vec_above(z[k * step], best), z[k * step], best)
    return best


cdef void softmax(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # one pixel of one block; the maximum is taken off first, so that nothing overflows
    cdef const Softmax* a = <const Softmax*> args
    cdef Py_ssize_t start = (task // a.pixels * a.K * a.pixels + task % a.pixels) * LANES, k
    cdef const vec* z = <const vec*> (<const real*> a.a + start)
    cdef vec* y = <vec*> (<real*> a.y + start)
    cdef vec best = channel_max(z, a.K, a.pixels), total = VEC_ZERO
    if a.logarithm:
        for k in range(a.K):
            total += vec_exp(z[k * a.pixels] - best)
        total = best + vec_log1p(total - <real> 1)  # the sum is at least 1
        for k in range(a.K):
            y[k * a.pixels] = z[k * a.pixels] - total
        return
    for k in range(a.K):
        y[k * a.pixels] = vec_exp(z[k * a.pixels] - best)
        total += y[k * a.pixels]
    for k in range(a.K):
        y[k * a.pixels] = y[k * a.pixels] / total


cdef void softmax_back(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Softmax* a = <const Softmax*> args
    cdef Py_ssize_t start = (task // a.pixels * a.K * a.pixels + task % a.pixels) * LANES, k
    cdef const vec* y = <const vec*> (<const real*> a.a + start)
    cdef const vec* dy = <const vec*> (<const real*> a.b + start)
    cdef vec* dx = <vec*> (<real*> a.y + start)
    cdef vec total = VEC_ZERO
    if a.logarithm:
        for k in range(a.K):
            total += dy[k * a.pixels]
        for k in range(a.K):
            dx[k * a.pixels] = dy[k * a.pixels] - vec_exp(y[k * a.pixels]) * total
        return
    for k in range(a.K):
        total += y[k * a.pixels] * dy[k * a.pixels]
    for k in range(a.K):
        dx[k * a.pixels] = y[k * a.pixels] * (dy[k * a.pixels] - total)
