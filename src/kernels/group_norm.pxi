# Normalisation of each image by itself, forward and backward: over groups of channels, whose numbers lie
# side by side, or across the channels at each pixel, some pixels at a time.

cdef enum:
    SIDE = 4                   # pixels at a time


cdef inline void normalise_group(const GroupNorm* a, Py_ssize_t group, Py_ssize_t channel) noexcept nogil:
    # `group` of all groups of all images, `channel` its first one
    cdef Py_ssize_t at = group * a.C * a.pixels * LANES, count = a.C * a.pixels, c, i
    cdef const vec* x = <const vec*> (<const real*> a.x + at)
    cdef vec* y = <vec*> (<real*> a.y + at)
    cdef vec* stats = <vec*> (<real*> a.stats + 2 * group * LANES)
    cdef vec size = vec_all(<real> count), mean = sum_of(x, count) / size, scale, bias = VEC_ZERO
    cdef vec deviation = vec_all(1) / vec_sqrt(squares_of(x, mean, count) / size + <real> a.eps)
    stats[0], stats[1] = mean, deviation
    for c in range(a.C):
        scale = deviation
        if a.weight != NULL:
            scale = scale * (<const real*> a.weight)[channel + c]
        if a.bias != NULL:
            bias = vec_all((<const real*> a.bias)[channel + c])
        for i in range(c * a.pixels, (c + 1) * a.pixels):
            y[i] = (x[i] - mean) * scale + bias


cdef inline void normalise_pixels(const GroupNorm* a, Py_ssize_t n, Py_ssize_t pixel, int side) noexcept nogil:
    # of block n, from `pixel` on; `side` is a constant
    cdef Py_ssize_t at = (n * a.C * a.pixels + pixel) * LANES, c
    cdef const vec* x = <const vec*> (<const real*> a.x + at)
    cdef vec* y = <vec*> (<real*> a.y + at)
    cdef vec* stats = <vec*> (<real*> a.stats + 2 * (n * a.pixels + pixel) * LANES)
    cdef vec[SIDE] mean, deviation
    cdef vec size = vec_all(<real> a.C), bias = VEC_ZERO
    cdef real weight = 1
    cdef int i
    for i in range(side):
        mean[i] = deviation[i] = VEC_ZERO
    for c in range(a.C):
        for i in range(side):
            mean[i] += x[c * a.pixels + i]
    for i in range(side):
        mean[i] = mean[i] / size
    for c in range(a.C):
        for i in range(side):
            deviation[i] += (x[c * a.pixels + i] - mean[i]) * (x[c * a.pixels + i] - mean[i])
    for i in range(side):
        deviation[i] = vec_all(1) / vec_sqrt(deviation[i] / size + <real> a.eps)
        stats[2 * i], stats[2 * i + 1] = mean[i], deviation[i]
    for c in range(a.C):
        if a.weight != NULL:
            weight = (<const real*> a.weight)[c]
        if a.bias != NULL:
            bias = vec_all((<const real*> a.bias)[c])
        for i in range(side):
            y[c * a.pixels + i] = (x[c * a.pixels + i] - mean[i]) * (deviation[i] * weight) + bias


cdef void group_norm(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const GroupNorm* a = <const GroupNorm*> args
    cdef Channels part
    cdef Py_ssize_t i
    if not a.across:
        normalise_group(a, task, task % a.G * a.C)
        return
    part = channels_of(task, a.pixels, a.cut)  # pixels here
    i = part.first
    while i + SIDE <= part.last:
        normalise_pixels(a, part.n, i, SIDE)
        i += SIDE
    while i < part.last:
        normalise_pixels(a, part.n, i, 1)
        i += 1


cdef inline void group_back(const GroupInput* a, Py_ssize_t group, Py_ssize_t channel) noexcept nogil:
    # dx = (dy weight - its mean - normalised x * mean of dy weight times normalised x) / deviation
    cdef Py_ssize_t at = group * a.C * a.pixels * LANES, c, i
    cdef const vec* dy = <const vec*> (<const real*> a.dy + at)
    cdef const vec* x = <const vec*> (<const real*> a.x + at)
    cdef vec* dx = <vec*> (<real*> a.dx + at)
    cdef const vec* stats = <const vec*> (<const real*> a.stats + 2 * group * LANES)
    cdef vec mean = stats[0], deviation = stats[1], total = VEC_ZERO, product = VEC_ZERO
    cdef vec first = VEC_ZERO, second = VEC_ZERO, scale, size = vec_all(<real> (a.C * a.pixels))
    cdef real weight = 1
    for c in range(a.C):
        if a.weight != NULL:
            weight = (<const real*> a.weight)[channel + c]
        gradient_sums(dy + c * a.pixels, x + c * a.pixels, mean, a.pixels, &total, &product)
        first += total * weight
        second += product * weight
    first = first * deviation / size
    second = second * deviation * deviation * deviation / size
    for c in range(a.C):
        if a.weight != NULL:
            weight = (<const real*> a.weight)[channel + c]
        scale = deviation * weight
        for i in range(c * a.pixels, (c + 1) * a.pixels):
            dx[i] = dy[i] * scale - first - (x[i] - mean) * second


cdef inline void pixels_back(const GroupInput* a, Py_ssize_t n, Py_ssize_t pixel, int side) noexcept nogil:
    cdef Py_ssize_t at = (n * a.C * a.pixels + pixel) * LANES, c, k
    cdef const vec* dy = <const vec*> (<const real*> a.dy + at)
    cdef const vec* x = <const vec*> (<const real*> a.x + at)
    cdef vec* dx = <vec*> (<real*> a.dx + at)
    cdef const vec* stats = <const vec*> (<const real*> a.stats + 2 * (n * a.pixels + pixel) * LANES)
    cdef vec[SIDE] mean, deviation, first, second
    cdef vec size = vec_all(<real> a.C)
    cdef real weight = 1
    cdef int i
    for i in range(side):
        mean[i], deviation[i] = stats[2 * i], stats[2 * i + 1]
        first[i] = second[i] = VEC_ZERO
    for c in range(a.C):
        k = c * a.pixels
        if a.weight != NULL:
            weight = (<const real*> a.weight)[c]
        for i in range(side):
            first[i] += dy[k + i] * weight
            second[i] += dy[k + i] * weight * (x[k + i] - mean[i])
    for i in range(side):
        first[i] = first[i] * deviation[i] / size
        second[i] = second[i] * deviation[i] * deviation[i] * deviation[i] / size
    for c in range(a.C):
        k = c * a.pixels
        if a.weight != NULL:
            weight = (<const real*> a.weight)[c]
        for i in range(side):
            dx[k + i] = dy[k + i] * (deviation[i] * weight) - first[i] - (x[k + i] - mean[i]) * second[i]


cdef void group_norm_input(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const GroupInput* a = <const GroupInput*> args
    cdef Channels part
    cdef Py_ssize_t i
    if not a.across:
        group_back(a, task, task % a.G * a.C)
        return
    part = channels_of(task, a.pixels, a.cut)  # pixels here
    i = part.first
    while i + SIDE <= part.last:
        pixels_back(a, part.n, i, SIDE)
        i += SIDE
    while i < part.last:
        pixels_back(a, part.n, i, 1)
        i += 1


cdef void group_norm_sums(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const GroupSums* a = <const GroupSums*> args
    cdef Py_ssize_t channels = a.G * a.C, c, i
    cdef Channels part = channels_of(task, channels, a.channels)
    cdef Py_ssize_t live = a.live if part.n == a.N - 1 else LANES
    cdef real* sums = <real*> a.parts + 2 * part.n * channels
    cdef const vec* dy
    cdef const vec* x
    cdef const vec* stats
    cdef vec total = VEC_ZERO, product = VEC_ZERO
    for c in range(part.first, part.last):
        dy = <const vec*> (<const real*> a.dy + (part.n * channels + c) * a.pixels * LANES)
        x = <const vec*> (<const real*> a.x + (part.n * channels + c) * a.pixels * LANES)
        if a.across:
            stats = <const vec*> (<const real*> a.stats + 2 * part.n * a.pixels * LANES)
            total = product = VEC_ZERO
            for i in range(a.pixels):
                total += dy[i]
                product += dy[i] * (x[i] - stats[2 * i]) * stats[2 * i + 1]
        else:
            stats = <const vec*> (<const real*> a.stats + 2 * (part.n * a.G + c // a.C) * LANES)
            gradient_sums(dy, x, stats[0], a.pixels, &total, &product)
            product *= stats[1]
        sums[c] = vec_sum_first(total, live)
        sums[channels + c] = vec_sum_first(product, live)
