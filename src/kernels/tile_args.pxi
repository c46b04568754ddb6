# What the one inner loop is given, that of convolution (forward and gradient to the input), of linear layers and of Winograd's products:
#
#     out[row, col] = row_bias[row] + col_bias[col] + sum over terms of scalar[row, term] * vector[col, term]
#
# for a register tile of rows x cols.  A scalar is one number that goes to all lanes, as is a bias of a row; all else is
# a vector of lanes.  Whoever calls says which operand is which: for a batch of images the scalars are weights, a row
# for each output channel, and the vectors are pixels.  The terms are `outer` times `inner` ones, channels and taps for
# example.  Outer terms are a step apart; inner terms, columns and, if need be, rows are tables of offsets, so that
# stride, dilation, padding, rotation and the layout of the weights are somebody else's business.  Edges are clamped: a
# tile that hangs over computes its last row or column again and stores the same result twice.  `tile.pxi` has the loop.

cdef struct Tile:
    Py_ssize_t rows, cols, outer, inner
    Py_ssize_t vector_outer_step, scalar_outer_step, scalar_row_step, out_row_step
    const Py_ssize_t* vector_inner
    const Py_ssize_t* scalar_inner
    const Py_ssize_t* vector_col
    const Py_ssize_t* out_col
    const Py_ssize_t* scalar_row  # both or neither; without them the rows are a step apart
    const Py_ssize_t* out_row
    const real* vector
    const real* scalar
    const real* row_bias          # none is zero
    const real* col_bias
    real* out
    Py_ssize_t unit, line         # with tiles of AMX: numbers of a term, and from row to row of a tile of scalars
    bint clip                     # results to low ... high
    real low, high


cdef real NOTHING[LANES]  # zeros: no bias, or a pixel outside the image


cdef void no_terms(const Tile* a, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    # the sum of nothing; here a bias is one of the rows
    cdef Tile t = a[0]
    cdef Py_ssize_t row, col
    cdef vec value
    for row in range(first, last):
        value = vec_all(0 if t.row_bias == NULL else t.row_bias[row])
        if t.clip:
            value = vec_clip(value, t.low, t.high)
        for col in range(t.cols):
            (<vec*> (t.out + row * t.out_row_step + t.out_col[col]))[0] = value
