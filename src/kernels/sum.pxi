# Sums of gradients: over pixels and images for a bias, over blocks of images for anything.

cdef void channel_sum(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const ChannelSum* a = <const ChannelSum*> args
    cdef vec total = VEC_ZERO, acc
    cdef Py_ssize_t n, i
    cdef const real* dy
    for n in range(a.N):
        dy = <const real*> a.dy + (n * a.K + task) * a.pixels * LANES
        acc = VEC_ZERO
        for i in range(a.pixels):
            acc += (<const vec*> (dy + i * LANES))[0]
        if n == a.N - 1 and a.live < LANES:
            acc = vec_select(vec_first(a.live), acc, VEC_ZERO)
        total += acc
    (<real*> a.db)[task] = vec_sum(total)


cdef void block_sum(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const BlockSum* a = <const BlockSum*> args
    cdef const char* x
    cdef real* y = <real*> a.y
    cdef vec total
    cdef Py_ssize_t i = task * a.chunk, last = min(a.count, (task + 1) * a.chunk), n
    cdef int rest
    while i < last:
        rest = <int> min(last - i, LANES)
        x = <const char*> (<const real*> a.x + i)
        total = VEC_ZERO
        if a.first:
            total = vec_load_part(y + i, rest)
        for n in range(a.N):
            if rest == LANES:
                total += (<const vec*> (x + n * a.step))[0]
            else:
                total += vec_load_part(<const real*> (x + n * a.step), rest)
        if rest == LANES:
            (<vec*> (y + i))[0] = total
        else:
            vec_store_part(y + i, total, rest)
        i += LANES
