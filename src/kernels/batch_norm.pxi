# Batch normalisation, forward and backward.  A task is some channels of one block; each is gone through
# twice while it is in the cache: the deviations are from the mean that is known by then, so that no digits
# are lost where the mean is large.

cdef struct Channels:
    Py_ssize_t n, first, last  # block n, channels first ... last-1


cdef inline Channels channels_of(Py_ssize_t task, Py_ssize_t C, Py_ssize_t channels) noexcept nogil:
    cdef Py_ssize_t cuts = (C + channels - 1) // channels
    cdef Channels part
    part.n, part.first = task // cuts, task % cuts * channels
    part.last = min(C, part.first + channels)
    return part


cdef inline vec sum_of(const vec* x, Py_ssize_t count) noexcept nogil:
    # four sums side by side, so that no addition waits for the one before it
    cdef vec a = VEC_ZERO, b = VEC_ZERO, c = VEC_ZERO, d = VEC_ZERO
    cdef Py_ssize_t i
    for i in range(0, count - 3, 4):
        a += x[i]
        b += x[i + 1]
        c += x[i + 2]
        d += x[i + 3]
    for i in range(count - count % 4, count):
        a += x[i]
    return (a + b) + (c + d)


cdef inline vec squares_of(const vec* x, vec mean, Py_ssize_t count) noexcept nogil:
    # the sum of squared deviations
    cdef vec a = VEC_ZERO, b = VEC_ZERO, c = VEC_ZERO, d = VEC_ZERO
    cdef Py_ssize_t i
    for i in range(0, count - 3, 4):
        a += (x[i] - mean) * (x[i] - mean)
        b += (x[i + 1] - mean) * (x[i + 1] - mean)
        c += (x[i + 2] - mean) * (x[i + 2] - mean)
        d += (x[i + 3] - mean) * (x[i + 3] - mean)
    for i in range(count - count % 4, count):
        a += (x[i] - mean) * (x[i] - mean)
    return (a + b) + (c + d)


cdef struct Affine:
    # of a channel: y = (x - mean) * scale + bias, clipped to low ... high
    vec mean, scale, bias
    real low, high


cdef inline Affine affine_of(const real* mean, const real* var, const real* weight, const real* bias, double eps,
                             double low, double high, Py_ssize_t c) noexcept nogil:
    cdef Affine f
    cdef real scale = one_by_deviation(var[c], eps)
    if weight != NULL:
        scale *= weight[c]
    f.mean = VEC_ZERO if mean == NULL else vec_all(mean[c])
    f.scale = vec_all(scale)
    f.bias = VEC_ZERO if bias == NULL else vec_all(bias[c])
    f.low, f.high = <real> low, <real> high
    return f


cdef inline vec applied(const Affine* f, vec x) noexcept nogil:
    return (x - f.mean) * f.scale + f.bias


cdef inline vec let_through(const Affine* f, vec dy, vec x, bint clip) noexcept nogil:
    # dy where y, computed again rather than read, was not clipped
    return vec_select(between(f.low, applied(f, x), f.high), dy, VEC_ZERO) if clip else dy


cdef inline void clipped_sums(const vec* dy, const vec* x, const Affine* f, Py_ssize_t count, vec* total,
                              vec* product, bint clip) noexcept nogil:
    # the sums of dy and of dy (x - mean)
    cdef vec a = VEC_ZERO, b = VEC_ZERO, c = VEC_ZERO, d = VEC_ZERO, here
    cdef Py_ssize_t i
    for i in range(0, count - 1, 2):
        here = let_through(f, dy[i], x[i], clip)
        a += here
        b += here * (x[i] - f.mean)
        here = let_through(f, dy[i + 1], x[i + 1], clip)
        c += here
        d += here * (x[i + 1] - f.mean)
    if count % 2:
        here = let_through(f, dy[count - 1], x[count - 1], clip)
        a += here
        b += here * (x[count - 1] - f.mean)
    total[0], product[0] = a + c, b + d


cdef inline void gradient_sums(const vec* dy, const vec* x, vec mean, Py_ssize_t count, vec* total,
                               vec* product) noexcept nogil:
    cdef Affine f
    f.mean = mean
    clipped_sums(dy, x, &f, count, total, product, False)


cdef void batch_norm_statistics(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const BatchStatistics* a = <const BatchStatistics*> args
    cdef Channels part = channels_of(task, a.C, a.channels)
    cdef Py_ssize_t live = a.live if part.n == a.N - 1 else LANES, c
    cdef mask counts = vec_first(live)
    cdef const vec* x
    cdef real* mean = <real*> a.parts + 2 * part.n * a.C
    for c in range(part.first, part.last):
        x = <const vec*> (<const real*> a.x + (part.n * a.C + c) * a.pixels * LANES)
        mean[c] = vec_sum(vec_select(counts, sum_of(x, a.pixels), VEC_ZERO)) / <real> (live * a.pixels)
        mean[a.C + c] = vec_sum(vec_select(counts, squares_of(x, vec_all(mean[c]), a.pixels), VEC_ZERO))


cdef void batch_norm_merge(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # Chan's formula, block by block; the mean and the sum so far lie in the results between two waves
    cdef const BatchMerge* a = <const BatchMerge*> args
    cdef real* mean = <real*> a.mean
    cdef real* var = <real*> a.var
    cdef const real* part
    cdef vec m, s, delta
    cdef double before, here, share
    cdef Py_ssize_t i = task * a.chunk, last = min(a.C, (task + 1) * a.chunk), n
    cdef int rest
    while i < last:
        rest = <int> min(last - i, LANES)
        m = s = VEC_ZERO
        if a.first:
            m, s = vec_load_part(mean + i, rest), vec_load_part(var + i, rest)
        before = <double> a.first * LANES * a.pixels
        for n in range(a.N):
            part = <const real*> (<const char*> a.parts + n * a.step) + i
            here = <double> min(LANES, a.images - (a.first + n) * LANES) * a.pixels
            share = here / (before + here)
            delta = vec_load_part(part, rest) - m
            m += delta * <real> share
            s += vec_load_part(part + a.C, rest) + delta * delta * <real> (before * share)
            before += here
        if (a.first + a.N) * LANES >= a.images:
            s = s / vec_all(<real> max(before, 1.0))
        vec_store_part(mean + i, m, rest)
        vec_store_part(var + i, s, rest)
        i += LANES


cdef inline real one_by_deviation(real var, double eps) noexcept nogil:
    return <real> (1 / sqrt(var + eps))


cdef inline void normalise(const vec* x, vec* y, const Affine* f, Py_ssize_t count, bint clip) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        y[i] = vec_clip(applied(f, x[i]), f.low, f.high) if clip else applied(f, x[i])


cdef void batch_norm(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const BatchNorm* a = <const BatchNorm*> args
    cdef Channels part = channels_of(task, a.C, a.channels)
    cdef Py_ssize_t c, at
    cdef Affine f
    for c in range(part.first, part.last):
        at = (part.n * a.C + c) * a.pixels * LANES
        f = affine_of(<const real*> a.mean, <const real*> a.var, <const real*> a.weight, <const real*> a.bias, a.eps,
                      a.low, a.high, c)
        if a.clip:
            normalise(<const vec*> (<const real*> a.x + at), <vec*> (<real*> a.y + at), &f, a.pixels, True)
        else:
            normalise(<const vec*> (<const real*> a.x + at), <vec*> (<real*> a.y + at), &f, a.pixels, False)


cdef void batch_norm_sums(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const BatchSums* a = <const BatchSums*> args
    cdef Channels part = channels_of(task, a.C, a.channels)
    cdef mask counts = vec_first(a.live if part.n == a.N - 1 else LANES)
    cdef real* sums = <real*> a.parts + 2 * part.n * a.C
    cdef vec total = VEC_ZERO, product = VEC_ZERO
    cdef const vec* dy
    cdef const vec* x
    cdef Py_ssize_t c, at
    cdef Affine f
    for c in range(part.first, part.last):
        at = (part.n * a.C + c) * a.pixels * LANES
        dy, x = <const vec*> (<const real*> a.dy + at), <const vec*> (<const real*> a.x + at)
        f = affine_of(<const real*> a.mean, <const real*> a.var, <const real*> a.weight, <const real*> a.bias, a.eps,
                      a.low, a.high, c)
        if a.clip:
            clipped_sums(dy, x, &f, a.pixels, &total, &product, True)
        else:
            clipped_sums(dy, x, &f, a.pixels, &total, &product, False)
        sums[c] = vec_sum(vec_select(counts, total, VEC_ZERO))
        sums[a.C + c] = (vec_sum(vec_select(counts, product, VEC_ZERO))
                         * one_by_deviation((<const real*> a.var)[c], a.eps))


cdef inline void input_gradient(const BatchInput* a, const Affine* f, Py_ssize_t c, Py_ssize_t at,
                                bint clip) noexcept nogil:
    # dx = scale (dy - mean of dy - normalised x * mean of dy times normalised x)
    cdef const vec* dy = <const vec*> (<const real*> a.dy + at)
    cdef const vec* x = <const vec*> (<const real*> a.x + at)
    cdef vec* dx = <vec*> (<real*> a.dx + at)
    cdef double count = <double> a.images * a.pixels
    cdef vec first, second, scale = f.scale, mean = f.mean
    cdef Py_ssize_t i
    if a.sums == NULL:
        for i in range(a.pixels):
            dx[i] = (let_through(f, dy[i], x[i], True) if clip else dy[i]) * scale
        return
    first = vec_all(<real> ((<const real*> a.sums)[c] / count))
    second = (scale * one_by_deviation((<const real*> a.var)[c], a.eps)
              * <real> ((<const real*> a.sums)[a.C + c] / count))
    for i in range(a.pixels):
        dx[i] = (let_through(f, dy[i], x[i], clip) - first) * scale - (x[i] - mean) * second


cdef void batch_norm_input(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const BatchInput* a = <const BatchInput*> args
    cdef Channels part = channels_of(task, a.C, a.channels)
    cdef Py_ssize_t c, at
    cdef Affine f
    for c in range(part.first, part.last):
        at = (part.n * a.C + c) * a.pixels * LANES
        f = affine_of(<const real*> a.mean, <const real*> a.var, <const real*> a.weight, <const real*> a.bias, a.eps,
                      a.low, a.high, c)
        if a.clip:
            input_gradient(a, &f, c, at, True)
        else:
            input_gradient(a, &f, c, at, False)
