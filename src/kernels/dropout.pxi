# Dropout of elements, channels or images, the same call forward and backward.

cdef inline void drop_channel(const Drop* a, const real* from_, real* to, hashes images, unsigned int half,
                              unsigned int number, unsigned int least, bint each) noexcept nogil:
    # `number` is that of the first element if `each` has its own chance, else of them all
    cdef const vec* x = <const vec*> from_
    cdef vec* y = <vec*> to
    cdef vec scale = vec_all(<real> (1 / (1 - a.p)))
    cdef mask keeps = hash_keeps(images, half, number, least)
    cdef Py_ssize_t i
    for i in range(a.pixels):
        if each:
            keeps = hash_keeps(images, half, number + <unsigned int> i, least)
        y[i] = vec_select(keeps, x[i] * scale, VEC_ZERO)


cdef void dropout(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Drop* a = <const Drop*> args
    cdef Channels part = channels_of(task, a.C, a.channels)
    cdef double most = 4294967295.0, bound = ceil(a.p * 4294967296.0)
    cdef unsigned int least = <unsigned int> min(bound, most), half = hash_key(a.key, 1)
    cdef hashes images = hash_images(hash_key(a.key, 0), a.first + part.n * LANES)
    cdef Py_ssize_t c, at
    for c in range(part.first, part.last):
        at = (part.n * a.C + c) * a.pixels * LANES
        if bound > most:       # no hash is that large
            memset(<real*> a.y + at, 0, a.pixels * LANES * sizeof(real))
        elif a.kind == ELEMENTS:
            drop_channel(a, <const real*> a.x + at, <real*> a.y + at, images, half,
                         <unsigned int> (c * a.pixels), least, True)
        else:
            drop_channel(a, <const real*> a.x + at, <real*> a.y + at, images, half,
                         <unsigned int> c if a.kind == CHANNELS else 0, least, False)
