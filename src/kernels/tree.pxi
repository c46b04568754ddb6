# Numbers, or vectors of them, that come one after the other, added up as a binary tree.

cdef inline void add_number(real* level, Py_ssize_t n, real x) noexcept nogil:
    # number n of those that are added up; `level` keeps the sums of 1, 2, 4, 8 ... neighbours
    cdef int d = 0
    while n & 1:
        x = level[d] + x
        n >>= 1
        d += 1
    level[d] = x


cdef inline real number_of(const real* level, Py_ssize_t count) noexcept nogil:
    # the sum of them all
    cdef real x = 0
    cdef bint begun = False
    cdef int d = 0
    while count:
        if count & 1:
            x = level[d] + x if begun else level[d]
            begun = True
        count >>= 1
        d += 1
    return x


cdef inline void add_part(vec* level, Py_ssize_t n, vec* x, int width) noexcept nogil:
    # `add_number` for so many vectors
    cdef int d = 0, j
    while n & 1:
        for j in range(width):
            x[j] = level[d * width + j] + x[j]
        n >>= 1
        d += 1
    for j in range(width):
        level[d * width + j] = x[j]


cdef inline void part_of(const vec* level, Py_ssize_t count, vec* x, int width) noexcept nogil:
    # `number_of`
    cdef bint begun = False
    cdef int d = 0, j
    for j in range(width):
        x[j] = VEC_ZERO
    while count:
        if count & 1:
            for j in range(width):
                x[j] = level[d * width + j] + x[j] if begun else level[d * width + j]
            begun = True
        count >>= 1
        d += 1
