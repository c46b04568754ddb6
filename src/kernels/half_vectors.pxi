# What the kernels of bfloat16 have in common with those of float32.

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memcpy, memset

cdef extern from "vec.h" nogil:
    ctypedef double real
    ctypedef double vec
    vec VEC_ZERO
    real REAL_HUGE
    enum: LANES
    enum: ROWS0, ROWS1, ROWS2, ROWS3, ROWS4, ROWS5
    enum: COLS0, COLS1, COLS2, COLS3, COLS4, COLS5
    int best_tile(Py_ssize_t rows, Py_ssize_t cols, int load, int most_rows)
    vec vec_all(real)
    vec vec_clip(vec, real, real)
    vec vec_add_dot(vec, vec, vec)
    vec vec_pair(vec even, vec odd)
    real one_pair(real even, real odd)
    void vec_store_halves(real*, vec)
    void vec_store_first(real*, vec, int)
    ctypedef int mask
    mask vec_first(Py_ssize_t)
    vec vec_select(mask, vec, vec)
    void vec_store_part(real*, vec, int)

cdef extern from "square.h" nogil:
    void vec_turn(vec*)

include "args.pxi"
include "halves_args.pxi"
include "tile_args.pxi"
include "tree.pxi"
