# Activations, forward and backward, on plain runs of numbers; softmax over channels, in lanes.
# The backward formulas use the output y:
# ReLU 1[y > 0], leaky ReLU the slope where y < 0, sigmoid y (1 - y), tanh 1 - y^2,
# softmax y (dy - sum of y dy).

cdef inline vec activate(vec a, vec b, int op, real parameter, real high) noexcept nogil:
    # a is x forward and y backward, b is dy
    if op == RELU:
        return vec_relu(a)
    elif op == RELU_BACK:
        return vec_select(vec_above(a, VEC_ZERO), b, VEC_ZERO)
    elif op == LEAKY_RELU:
        return vec_select(vec_above(VEC_ZERO, a), a * parameter, a)
    elif op == LEAKY_RELU_BACK:
        return vec_select(vec_above(a, VEC_ZERO), b, b * parameter)
    elif op == SIGMOID:
        return vec_sigmoid(a)
    elif op == SIGMOID_BACK:
        return b * a * (<real> 1 - a)
    elif op == TANH:
        return vec_tanh(a)
    elif op == TANH_BACK:
        return b * (<real> 1 - a * a)
    elif op == ADD:
        return a + b
    elif op == CLIP:
        return vec_clip(a, parameter, high)
    else:  # SCALE: a * b, what dropout does both ways
        return a * b


cdef inline void run_map(const Map* m, Py_ssize_t task, int op) noexcept nogil:
    cdef const real* a = <const real*> m.a
    cdef const real* b = <const real*> m.b
    cdef real* y = <real*> m.y
    cdef real parameter = <real> m.parameter, high = <real> m.high
    cdef Py_ssize_t i = task * m.chunk, last = min(m.count, (task + 1) * m.chunk)
    cdef int rest
    if b == NULL:
        b = a
    while i + LANES <= last:
        (<vec*> (y + i))[0] = activate((<const vec*> (a + i))[0], (<const vec*> (b + i))[0], op,
                                       parameter, high)
        i += LANES
    if i < last:
        rest = <int> (last - i)
        vec_store_part(y + i, activate(vec_load_part(a + i, rest), vec_load_part(b + i, rest), op,
                                       parameter, high), rest)


cdef void elementwise(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Map* m = <const Map*> args
    if m.op == RELU:
        run_map(m, task, RELU)
    elif m.op == RELU_BACK:
        run_map(m, task, RELU_BACK)
    elif m.op == LEAKY_RELU:
        run_map(m, task, LEAKY_RELU)
    elif m.op == LEAKY_RELU_BACK:
        run_map(m, task, LEAKY_RELU_BACK)
    elif m.op == SIGMOID:
        run_map(m, task, SIGMOID)
    elif m.op == SIGMOID_BACK:
        run_map(m, task, SIGMOID_BACK)
    elif m.op == TANH:
        run_map(m, task, TANH)
    elif m.op == TANH_BACK:
        run_map(m, task, TANH_BACK)
    elif m.op == ADD:
        run_map(m, task, ADD)
    elif m.op == CLIP:
        run_map(m, task, CLIP)
    else:
        run_map(m, task, SCALE)


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
    for k in range(a.K):
        total += y[k * a.pixels] * dy[k * a.pixels]
    for k in range(a.K):
        dx[k * a.pixels] = y[k * a.pixels] * (dy[k * a.pixels] - total)
