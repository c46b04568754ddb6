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


cdef inline void merge(vec* mean, vec* squares, vec m, vec s, double before, double here) noexcept nogil:
    # mean and sum of squared deviations of so many numbers, and then of as many more (Chan, Golub and LeVeque 1979)
    cdef double share = here / (before + here)
    cdef vec delta = m - mean[0]
    mean[0] += delta * <real> share
    squares[0] += s + delta * delta * <real> (before * share)


cdef void batch_norm_statistics(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # of each image, then of pairs of them, of pairs of pairs ...
    cdef const BatchStatistics* a = <const BatchStatistics*> args
    cdef Channels part = channels_of(task, a.C, a.channels)
    cdef Py_ssize_t live = a.live if part.n == a.N - 1 else LANES, c = part.first, l, half
    cdef vec pixels = vec_all(<real> a.pixels)
    cdef vec[LANES] mean, squares
    cdef const vec* x
    cdef real* y = <real*> a.parts + 2 * part.n * a.C
    cdef int rest
    while c < part.last:
        rest = <int> min(part.last - c, LANES)
        for l in range(LANES):
            mean[l] = squares[l] = VEC_ZERO
            if l < rest:
                x = <const vec*> (<const real*> a.x + (part.n * a.C + c + l) * a.pixels * LANES)
                mean[l] = sum_of(x, a.pixels) / pixels
                squares[l] = squares_of(x, mean[l], a.pixels)
        vec_turn(mean)  # now the channels are the lanes
        vec_turn(squares)
        half = 1
        while half < live:
            l = 0
            while l + half < live:
                merge(&mean[l], &squares[l], mean[l + half], squares[l + half], <double> half * a.pixels,
                      <double> min(half, live - l - half) * a.pixels)
                l += 2 * half
            half *= 2
        vec_store_part(y + c, mean[0], rest)
        vec_store_part(y + a.C + c, squares[0], rest)
        c += rest


cdef struct Level:             # of the tree of blocks: what so many numbers have
    vec mean, squares
    double count


cdef inline Level level_at(const real* part, Py_ssize_t C, int rest, double count) noexcept nogil:
    cdef Level here
    here.mean, here.squares, here.count = vec_load_part(part, rest), vec_load_part(part + C, rest), count
    return here


cdef inline Level both(Level left, Level right) noexcept nogil:
    merge(&left.mean, &left.squares, right.mean, right.squares, left.count, right.count)
    left.count += right.count
    return left


cdef void batch_norm_merge(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    # the tree of `block_sum`
    cdef const BatchMerge* a = <const BatchMerge*> args
    cdef Py_ssize_t i = task * a.chunk, end = min(a.C, (task + 1) * a.chunk), n, k, wave
    cdef bint last = a.first + a.N >= a.blocks, begun
    cdef double each = <double> a.each * a.pixels, all = <double> a.images * a.pixels
    cdef Level[LEVELS] level
    cdef Level here
    cdef real* part
    cdef int rest, d
    here.mean, here.squares, here.count = VEC_ZERO, VEC_ZERO, 0
    while i < end:
        rest = <int> min(end - i, LANES)
        part = <real*> a.parts + i
        for n in range(a.N):
            here = level_at(<real*> (<char*> part + n * a.step), a.C, rest, min(each, all - (a.first + n) * each))
            k, d = n, 0
            while k & 1:
                here = both(level[d], here)
                k >>= 1
                d += 1
            level[d] = here
        k, d, begun = a.N, 0, False
        while k:
            if k & 1:
                here = both(level[d], here) if begun else level[d]
                begun = True
            k >>= 1
            d += 1
        wave, d = a.first // WAVE, 0
        while wave:
            if wave & 1:
                here = both(level_at(<real*> (<char*> part + (WAVE + d) * a.step), a.C, rest, (WAVE << d) * each), here)
            elif not last:
                break
            wave >>= 1
            d += 1
        if last:
            vec_store_part(<real*> a.mean + i, here.mean, rest)
            vec_store_part(<real*> a.squares + i, here.squares, rest)
        else:
            part = <real*> (<char*> part + (WAVE + d) * a.step)
            vec_store_part(part, here.mean, rest)
            vec_store_part(part + a.C, here.squares, rest)
        i += rest


cdef void batch_norm_variance(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const BatchVariance* a = <const BatchVariance*> args
    cdef real count = <real> max(<double> a.images * a.pixels, 1.0)
    cdef Py_ssize_t c
    for c in range(a.C):
        (<real*> a.var)[c] = (<const real*> a.squares)[c] / count


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
    cdef Py_ssize_t live = a.live if part.n == a.N - 1 else LANES
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
        sums[c] = vec_sum_first(total, live)
        # of each image, before they are added up: else it would matter how many a block has
        sums[a.C + c] = vec_sum_first(product * vec_all(one_by_deviation((<const real*> a.var)[c], a.eps)), live)


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
    second = vec_all(one_by_deviation((<const real*> a.var)[c], a.eps) * <real> ((<const real*> a.sums)[a.C + c] / count))
    for i in range(a.pixels):  # no difference of two products, of which either may become part of a multiply-add
        dx[i] = (let_through(f, dy[i], x[i], clip) - first - (x[i] - mean) * second) * scale


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
