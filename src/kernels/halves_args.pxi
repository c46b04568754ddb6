# The arguments of the kernels of bfloat16, shared by their callers (core/halves.pxi) and the loops (halves.pxi).
#
# A pair is two numbers of bfloat16, of neighbouring channels, in the place of one of float32.  A unit is so many pairs
# as one instruction multiplies.

cdef struct HalfPairs:
    # y[N, units, pixels, unit, LANES]: pairs of the channels of x[N, C, pixels, LANES], zeros behind the last one
    const void* x
    void* y
    Py_ssize_t N, C, pixels, unit


cdef struct HalfWeights:
    # u[groups of `rows` output channels, units, taps, rows, unit]: pairs of the input channels, zeros behind the last
    # ones, of the kernel rotated by 180 degrees if `rotate`
    const void* w
    void* u
    Py_ssize_t K, C, taps, unit, rows, w_k, w_c
    int rotate


cdef enum:
    TOGETHER = 16              # output channels a task that pairs weights, in whole groups

cdef struct HalfTable:
    Py_ssize_t rows            # output channels, and
    Py_ssize_t most_pairs      # pairs of input channels that one instruction multiplies, at most
    double rate                # products in the time of one of float32
    kernel pairs, weight_pairs, conv
    scratch_size conv_scratch
