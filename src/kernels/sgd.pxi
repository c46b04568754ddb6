# Stochastic gradient descent with momentum, as PyTorch defines it:
# g += weight_decay p;  v = g on the first step, else momentum v + (1 - dampening) g;
# p -= lr (g + momentum v) with Nesterov's look-ahead, else lr v;  without momentum p -= lr g.

cdef inline vec sgd_step(vec p, vec g, vec* v, const Sgd* a) noexcept nogil:
    g = g + p * <real> a.weight_decay
    if a.v != NULL:
        if a.first:
            v[0] = g
        else:
            v[0] = v[0] * <real> a.momentum + g * <real> (1 - a.dampening)
        if a.nesterov:
            g = g + v[0] * <real> a.momentum
        else:
            g = v[0]
    return p - g * <real> a.lr


cdef void sgd(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Sgd* a = <const Sgd*> args
    cdef real* p = <real*> a.p
    cdef const real* g = <const real*> a.g
    cdef real* v = <real*> a.v
    cdef vec v_here = VEC_ZERO
    cdef Py_ssize_t i = task * a.chunk, last = min(a.count, (task + 1) * a.chunk)
    cdef int rest
    while i < last:
        rest = <int> min(last - i, LANES)
        if rest == LANES:
            if v != NULL:
                v_here = (<const vec*> (v + i))[0]
            (<vec*> (p + i))[0] = sgd_step((<const vec*> (p + i))[0], (<const vec*> (g + i))[0],
                                           &v_here, a)
            if v != NULL:
                (<vec*> (v + i))[0] = v_here
        else:
            if v != NULL:
                v_here = vec_load_part(v + i, rest)
            vec_store_part(p + i, sgd_step(vec_load_part(p + i, rest), vec_load_part(g + i, rest),
                                           &v_here, a), rest)
            if v != NULL:
                vec_store_part(v + i, v_here, rest)
        i += LANES
