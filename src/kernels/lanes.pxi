# The way into the lane layout and out of it: N plain images <-> blocks of LANES images with the
# image index innermost, a square of LANES images x LANES pixels at a time.  A task is one block;
# lanes without an image are zero.

cdef inline vec bytes_or_reals(const Pack* a, Py_ssize_t at, int count) noexcept nogil:
    # `count` numbers of a plain image from `at` on
    cdef real lane[LANES]
    cdef int i
    if not a.bytes:
        return vec_load_part(<const real*> a.a + at, count)
    memset(lane, 0, sizeof(lane))
    for i in range(count):
        lane[i] = (<const unsigned char*> a.a)[at + i]
    return vec_load_part(lane, LANES) * <real> a.scale


cdef inline void pack_square(const Pack* a, Py_ssize_t first, int images, Py_ssize_t i,
                             int count) noexcept nogil:
    # `images` rows of `count` pixels, both constants where the square is whole
    cdef vec x[LANES]
    cdef real* y = <real*> a.y + (first * a.pixels + i * LANES)
    cdef int l
    for l in range(LANES):
        x[l] = VEC_ZERO
        if l < images:
            x[l] = bytes_or_reals(a, (first + l) * a.pixels + i, count)
    vec_turn(x)
    for l in range(count):
        (<vec*> (y + l * LANES))[0] = x[l]


cdef void pack(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Pack* a = <const Pack*> args
    cdef Py_ssize_t first = task * LANES, i = 0
    cdef int images = <int> min(a.N - first, LANES)
    while i + LANES <= a.pixels:
        if images == LANES:
            pack_square(a, first, LANES, i, LANES)
        else:
            pack_square(a, first, images, i, LANES)
        i += LANES
    if i < a.pixels:
        pack_square(a, first, images, i, <int> (a.pixels - i))


cdef inline void unpack_square(const Pack* a, Py_ssize_t first, int images, Py_ssize_t i,
                               int count) noexcept nogil:
    cdef vec x[LANES]
    cdef const real* from_ = <const real*> a.a + (first * a.pixels + i * LANES)
    cdef int l
    for l in range(LANES):
        x[l] = VEC_ZERO
        if l < count:
            x[l] = (<const vec*> (from_ + l * LANES))[0]
    vec_turn(x)
    for l in range(images):
        vec_store_part(<real*> a.y + (first + l) * a.pixels + i, x[l], count)


cdef void unpack(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Pack* a = <const Pack*> args
    cdef Py_ssize_t first = task * LANES, i = 0
    cdef int images = <int> min(a.N - first, LANES)
    while i + LANES <= a.pixels:
        if images == LANES:
            unpack_square(a, first, LANES, i, LANES)
        else:
            unpack_square(a, first, images, i, LANES)
        i += LANES
    if i < a.pixels:
        unpack_square(a, first, images, i, <int> (a.pixels - i))
