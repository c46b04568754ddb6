# Convolutions of bytes, however their sums come about: which of them a task has, and what they become.

from cpython.pycapsule cimport PyCapsule_New

cdef extern from "dot.h" nogil:
    ctypedef int ints
    ctypedef float floats
    enum: INTS
    ints ints_at(const void*)
    ints ints_same(int)
    floats ints_numbers(ints)
    floats numbers_at(const float*)
    ints numbers_rounded(floats, float, float)
    floats numbers_clipped(floats, float, float)
    void numbers_store(float*, floats)
    void bytes_store(unsigned char*, ints, int)
    ints ints_larger(ints, ints)
    void tile_largest(ints (*)[8], int, int)
    void tile_to_bytes(ints (*)[8], int, int, int, const float**, Py_ssize_t, float, float, ints, unsigned char**,
                       const Py_ssize_t*, const int*)

include "bytes_args.pxi"


cdef struct ByteTask:          # some pixels of some blocks of output channels
    Py_ssize_t first, last, block, end


cdef inline ByteTask byte_task(const ByteConv* a, Py_ssize_t task) noexcept nogil:
    cdef ByteTask own
    cdef Py_ssize_t cuts = (a.pixels + a.pixel_cut - 1) // a.pixel_cut
    own.first, own.block = task % cuts * a.pixel_cut, task // cuts * a.block_cut
    own.last, own.end = min(own.first + a.pixel_cut, a.pixels), min(own.block + a.block_cut, a.blocks)
    return own


cdef inline void tile_results(const ByteConv* a, ints (*acc)[8], Py_ssize_t pixel, Py_ssize_t last, Py_ssize_t block,
                              Py_ssize_t end, int pixels, int vectors, bint fewer) noexcept nogil:
    # What the sums of a tile become, or of a quarter of its pixels alone.
    cdef unsigned char* to[16]
    cdef Py_ssize_t channel[8]
    cdef const float* terms[8]
    cdef int count[8]
    cdef ints sums[16][8]
    cdef int i, j
    if a.as_numbers or INTS < 16 and (block + vectors) * INTS > a.K:
        for i in range(pixels):
            for j in range(vectors):
                sums[i][j] = acc[i][j]
        some_results(a, sums, pixel, min(pixel + (pixels // 4 if fewer else pixels), last), block, end, vectors)
        return
    for j in range(vectors):
        channel[j] = min(block + j, end - 1) * INTS
        terms[j] = <const float*> a.terms + channel[j]
        count[j] = <int> min(<Py_ssize_t> INTS, a.K - channel[j])
    for i in range(pixels):
        to[i] = <unsigned char*> a.y + a.y_pixel[min(pixel + i, last - 1)]
    tile_to_bytes(acc, pixels, vectors, fewer, terms, a.blocks * INTS, a.low, a.high, ints_same(a.zero), to, channel,
                  count)


cdef void some_results(const ByteConv* a, ints (*sums)[8], Py_ssize_t pixel, Py_ssize_t last, Py_ssize_t block,
                       Py_ssize_t end, int vectors) noexcept nogil:
    # numbers, or bytes of any number of channels
    cdef const float* terms
    cdef Py_ssize_t apart = a.blocks * INTS, i, k
    cdef floats number
    cdef int j
    for j in range(<int> min(<Py_ssize_t> vectors, end - block)):
        k = (block + j) * INTS
        terms = <const float*> a.terms + k
        for i in range(pixel, last):
            number = ints_numbers(sums[i - pixel][j]) * numbers_at(terms + apart)
            number = number + numbers_at(terms + 2 * apart)
            if a.as_numbers:
                numbers_store(<float*> a.y + a.y_pixel[i] + (block + j) * a.y_step,
                              numbers_clipped(number, a.low, a.high))
            else:
                bytes_store(<unsigned char*> a.y + a.y_pixel[i] + k,
                            numbers_rounded(number, a.low, a.high) + ints_same(a.zero),
                            <int> min(<Py_ssize_t> INTS, a.K - k))
