# Sums over images, for gradients: each is the binary tree over the number of the image in the batch.  Within a
# vector lanes are images (`vec_sum`); here blocks of images are added up, of which only as many sums are kept at
# once as the tree has levels.

cdef void channel_sum(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const ChannelSum* a = <const ChannelSum*> args
    cdef vec acc
    cdef real[LEVELS] level
    cdef Py_ssize_t n, i
    cdef const real* dy
    for n in range(a.N):
        dy = <const real*> a.dy + (n * a.K + task) * a.pixels * LANES
        acc = VEC_ZERO
        for i in range(a.pixels):
            acc += (<const vec*> (dy + i * LANES))[0]
        add_number(level, n, vec_sum_first(acc, a.live if n == a.N - 1 else LANES))
    (<real*> a.db)[task] = number_of(level, a.N)


cdef inline void sum_blocks(const BlockSum* a, Py_ssize_t i, int width, int rest) noexcept nogil:
    # `width` vectors of the sum from number i on; if rest < LANES, so many numbers of one
    cdef vec[LEVELS * 4] level
    cdef vec[4] x
    cdef vec before
    cdef Py_ssize_t wave = a.first // WAVE, n
    cdef bint last = a.first + a.N >= a.blocks
    cdef char* here = <char*> (<real*> a.x + i)
    cdef real* y
    cdef int d = 0, j
    for n in range(a.N):
        for j in range(width):
            x[j] = some_numbers(<const real*> (here + n * a.step) + j * LANES, rest)
        add_part(level, n, x, width)
    part_of(level, a.N, x, width)
    while wave:
        if wave & 1:
            for j in range(width):
                before = some_numbers(<const real*> (here + (WAVE + d) * a.step) + j * LANES, rest)
                x[j] = before + x[j]
        elif not last:
            break
        wave >>= 1
        d += 1
    y = <real*> a.y + i if last else <real*> (here + (WAVE + d) * a.step)
    for j in range(width):
        if rest == LANES:
            (<vec*> (y + j * LANES))[0] = x[j]
        else:
            vec_store_part(y, x[j], rest)


cdef inline vec some_numbers(const real* x, int count) noexcept nogil:
    return (<const vec*> x)[0] if count == LANES else vec_load_part(x, count)


cdef void block_sum(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const BlockSum* a = <const BlockSum*> args
    cdef Py_ssize_t i = task * a.chunk, last = min(a.count, (task + 1) * a.chunk)
    while i + 4 * LANES <= last:
        sum_blocks(a, i, 4, LANES)
        i += 4 * LANES
    while i + LANES <= last:
        sum_blocks(a, i, 1, LANES)
        i += LANES
    if i < last:
        sum_blocks(a, i, 1, <int> (last - i))
