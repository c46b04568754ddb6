# Class numbers as lanes of targets, and the cost of a batch as one number.

def one_hot(numbers, y, int itemsize, Py_ssize_t images, Py_ssize_t K, Py_ssize_t pixels, /):
    """y (blocks, K, pixels, LANES) = 1 where `numbers` (images, pixels), of int64, name the class, else 0.

    The place of the first number that is not 0 to K - 1, or -1 if all are; then y is not whole.
    """
    cdef Py_ssize_t L = table_of(itemsize).lanes, N = blocks_of(images, table_of(itemsize)), image, pixel, at
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Py_buffer* view = held.take(numbers, 0)
    cdef const int64_t* classes = <const int64_t*> view.buf
    cdef char* out = <char*> held.pointer(y, (N, K, pixels, L), itemsize, True)
    cdef char kind = kind_of(view)
    if view.itemsize != 8 or kind != c"l" and kind != c"q" or <uintptr_t> view.buf % 8:
        raise TypeError("expected an array of native int64")
    if view.len // 8 < images * pixels:
        raise ValueError(f"expected at least {images} x {pixels} class numbers, got {view.len // 8}")
    at_least(1, &K, 1)
    memset(out, 0, N * K * pixels * L * itemsize)
    for image in range(images):
        for pixel in range(pixels):
            at = classes[image * pixels + pixel]
            if at < 0 or at >= K:
                return image * pixels + pixel
            at = ((image // L * K + at) * pixels + pixel) * L + image % L
            if itemsize == 4:
                (<float*> out)[at] = 1
            else:
                (<double*> out)[at] = 1
    return -1


def total(costs, int itemsize, Py_ssize_t images, /):
    """The sum of the costs of so many images, one after the other, as a double."""
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef const void* x = held.pointer(costs, (images,), itemsize)
    cdef double sum_ = 0
    cdef Py_ssize_t i
    for i in range(images):
        sum_ += (<const float*> x)[i] if itemsize == 4 else (<const double*> x)[i]
    return sum_
