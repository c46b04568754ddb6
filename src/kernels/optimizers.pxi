# The steps of the optimizers, one pass over the arrays each, as PyTorch defines them; g + weight_decay p
# stands for g in all of them.
#
# SGD      v = g on the first step, else momentum v + (1 - dampening) g;
#          p -= lr (g + momentum v) with Nesterov's look-ahead, else lr v;  without momentum p -= lr g.
# Adam     m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2;
#          p = keep p - lr m / (sqrt(v) / root + eps), where lr and root hold the corrections of the bias
#          and keep is what decoupled weight decay leaves.  (Kingma and Ba 2015; Loshchilov and Hutter 2019)
# RMSprop  v = alpha v + (1 - alpha) g^2;  a += (1 - alpha) (g - a) if centered;
#          d = g / (sqrt(v - a^2) + eps);  p -= lr d, with momentum b = momentum b + d; p -= lr b.
#          (Tieleman and Hinton 2012; Graves 2013)
# AVERAGE  p += lr (g - p), where g are weights and p their mean.
# SHRINK   p = lr g, a gradient that is clipped.

cdef inline vec number_at(const void* x, Py_ssize_t i, int count) noexcept nogil:
    # `count` numbers; those of an array that is not there are 0
    if x == NULL:
        return VEC_ZERO
    if count == LANES:
        return (<const vec*> (<const real*> x + i))[0]
    return vec_load_part(<const real*> x + i, count)


cdef inline void put_at(void* x, Py_ssize_t i, int count, vec value) noexcept nogil:
    if x == NULL:
        return
    if count == LANES:
        (<vec*> (<real*> x + i))[0] = value
    else:
        vec_store_part(<real*> x + i, value, count)


cdef inline vec sgd_move(const Descent* d, Py_ssize_t i, int count, vec g) noexcept nogil:
    # what lr times is taken away
    cdef vec v
    if d.slot[0] == NULL:
        return g
    v = g
    if not d.first:
        v = vec_times(number_at(d.slot[0], i, count), vec_all(<real> d.momentum)) + g * <real> (1 - d.dampening)
    put_at(d.slot[0], i, count, v)
    if d.nesterov:
        return g + v * <real> d.momentum
    return v


cdef inline vec adam_move(const Descent* d, Py_ssize_t i, int count, vec g) noexcept nogil:
    cdef vec m = number_at(d.slot[0], i, count), v = number_at(d.slot[1], i, count)
    m += (g - m) * <real> (1 - d.beta1)
    v = vec_times(v, vec_all(<real> d.beta2)) + g * g * <real> (1 - d.beta2)
    put_at(d.slot[0], i, count, m)
    put_at(d.slot[1], i, count, v)
    return vec_over_root(m, v, <real> (1 / d.root), <real> d.eps)


cdef inline vec rmsprop_move(const Descent* d, Py_ssize_t i, int count, vec g) noexcept nogil:
    cdef vec v = number_at(d.slot[0], i, count), a
    v = vec_times(v, vec_all(<real> d.beta2)) + g * g * <real> (1 - d.beta2)
    put_at(d.slot[0], i, count, v)
    if d.slot[2] != NULL:
        a = number_at(d.slot[2], i, count)
        a += (g - a) * <real> (1 - d.beta2)
        put_at(d.slot[2], i, count, a)
        v = vec_relu(v - a * a)  # rounding may leave less than nothing, whose root PyTorch takes
    g = vec_over_root(g, v, 1, <real> d.eps)
    if d.slot[1] != NULL:
        g += number_at(d.slot[1], i, count) * <real> d.momentum
        put_at(d.slot[1], i, count, g)
    return g


cdef inline void descend_at(const Descent* d, Py_ssize_t i, int count, int rule) noexcept nogil:
    cdef vec g = number_at(d.g, i, count), p
    if rule == SHRINK:
        put_at(d.p, i, count, g * <real> d.lr)
        return
    p = number_at(d.p, i, count)
    if rule == AVERAGE:
        put_at(d.p, i, count, p + (g - p) * <real> d.lr)
        return
    g += p * <real> d.weight_decay
    if rule == SGD:
        g = sgd_move(d, i, count, g)
    elif rule == ADAM:
        g = adam_move(d, i, count, g)
        p = vec_times(p, vec_all(<real> d.keep))
    else:
        g = rmsprop_move(d, i, count, g)
    put_at(d.p, i, count, p - g * <real> d.lr)


cdef inline void descend_by(const Descent* d, Py_ssize_t task, int rule) noexcept nogil:
    cdef Py_ssize_t i = task * d.chunk, last = min(d.count, (task + 1) * d.chunk)
    while i + LANES <= last:
        descend_at(d, i, LANES, rule)  # the counts and the rule are constants
        i += LANES
    if i < last:
        descend_at(d, i, <int> (last - i), rule)


cdef void descend(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Descent* d = <const Descent*> args
    if d.rule == SGD:
        descend_by(d, task, SGD)
    elif d.rule == ADAM:
        descend_by(d, task, ADAM)
    elif d.rule == RMSPROP:
        descend_by(d, task, RMSPROP)
    elif d.rule == AVERAGE:
        descend_by(d, task, AVERAGE)
    else:
        descend_by(d, task, SHRINK)


cdef enum:
    PLACES = 64                # of the numbers whose squares are summed each by itself, with vectors of any length


cdef void squares(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # the sum of the squares of a chunk: of every 64th number, then the tree of these
    cdef const Squares* a = <const Squares*> args
    cdef Py_ssize_t i = task * a.chunk, last = min(a.count, (task + 1) * a.chunk)
    cdef vec[PLACES] total
    cdef real[LEVELS] level
    cdef vec g
    cdef int j
    for j in range(PLACES // LANES):
        total[j] = VEC_ZERO
    while i < last:
        for j in range(PLACES // LANES):
            if i + LANES <= last:
                g = (<const vec*> (<const real*> a.g + i))[0]
            elif i < last:
                g = number_at(a.g, i, <int> (last - i))
            else:
                break
            total[j] = vec_add_product(g, g, total[j])
            i += LANES
    for j in range(PLACES // LANES):
        add_number(level, j, vec_sum(total[j]))
    (<double*> a.sums)[task] = number_of(level, PLACES // LANES)
