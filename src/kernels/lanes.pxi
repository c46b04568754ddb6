# The way into the lane layout and out of it: N plain images <-> blocks of LANES images with the
# image index innermost.  A task is one block; lanes without an image are zero.

cdef void pack(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Pack* a = <const Pack*> args
    cdef Py_ssize_t first = task * LANES, i
    cdef int images = <int> min(a.N - first, LANES), l
    cdef real* y = <real*> a.y + first * a.pixels
    cdef const real* x = <const real*> a.a
    cdef const unsigned char* byte = <const unsigned char*> a.a
    cdef real scale = <real> a.scale
    if images < LANES:
        memset(y, 0, a.pixels * LANES * sizeof(real))
    for l in range(images):
        if a.bytes:
            for i in range(a.pixels):
                y[i * LANES + l] = byte[(first + l) * a.pixels + i] * scale
        else:
            for i in range(a.pixels):
                y[i * LANES + l] = x[(first + l) * a.pixels + i]


cdef void unpack(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Pack* a = <const Pack*> args
    cdef Py_ssize_t first = task * LANES, i
    cdef int images = <int> min(a.N - first, LANES), l
    cdef const real* x = <const real*> a.a + first * a.pixels
    cdef real* y = <real*> a.y
    for l in range(images):
        for i in range(a.pixels):
            y[(first + l) * a.pixels + i] = x[i * LANES + l]
