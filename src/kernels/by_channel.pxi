# Lane arrays with numbers for each channel: y = x w + b, and the leaky ReLU whose slope is learned.

cdef void affine(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const ByChannel* a = <const ByChannel*> args
    cdef Channels part = channels_of(task, a.C, a.channels)
    cdef Py_ssize_t c, i, start
    cdef const vec* x
    cdef vec* y
    cdef vec w = vec_all(1), b = -VEC_ZERO  # x - 0 is x, also for -0
    cdef real low = <real> a.low, high = <real> a.high
    for c in range(part.first, part.last):
        start = (part.n * a.C + c) * a.pixels
        x, y = <const vec*> a.x + start, <vec*> a.y + start
        if a.w != NULL:
            w = vec_all((<const real*> a.w)[c])
        if a.b != NULL:
            b = vec_all((<const real*> a.b)[c])
        if a.clip:
            for i in range(a.pixels):
                y[i] = vec_clip(x[i] * w + b, low, high)
        else:
            for i in range(a.pixels):
                y[i] = x[i] * w + b


cdef void prelu(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # of x, or of dy where x is at most 0; one slope for all channels if `same`
    cdef const ByChannel* a = <const ByChannel*> args
    cdef Channels part = channels_of(task, a.C, a.channels)
    cdef Py_ssize_t c, i, start
    cdef const vec* x
    cdef const vec* dy
    cdef vec* y
    cdef vec w
    for c in range(part.first, part.last):
        start = (part.n * a.C + c) * a.pixels
        x, y = <const vec*> a.x + start, <vec*> a.y + start
        w = vec_all((<const real*> a.w)[0 if a.same else c])
        if a.dy == NULL:
            for i in range(a.pixels):
                y[i] = vec_select(vec_above(VEC_ZERO, x[i]), x[i] * w, x[i])
        else:
            dy = <const vec*> a.dy + start
            for i in range(a.pixels):
                y[i] = vec_select(vec_above(x[i], VEC_ZERO), dy[i], dy[i] * w)


cdef void prelu_slope(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # y[block, channel] = sum of dy x where x is at most 0
    cdef const ByChannel* a = <const ByChannel*> args
    cdef Channels part = channels_of(task, a.C, a.channels)
    cdef Py_ssize_t c, i, start
    cdef const vec* x
    cdef const vec* dy
    cdef vec total
    for c in range(part.first, part.last):
        start = (part.n * a.C + c) * a.pixels
        x, dy = <const vec*> a.x + start, <const vec*> a.dy + start
        total = VEC_ZERO
        for i in range(a.pixels):
            total += vec_select(vec_above(x[i], VEC_ZERO), VEC_ZERO, dy[i] * x[i])
        (<real*> a.y)[part.n * a.C + c] = vec_sum_first(total, a.live if part.n == a.N - 1 else LANES)
