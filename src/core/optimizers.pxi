# The steps of the optimizers, the mean of weights, copies of them, and what clipping needs.

cdef int run_descent(Descent* d, Arrays held, p, g, tuple slots, int itemsize, Py_ssize_t count) except -1:
    # d.p and d.slot are written, d.slot[i] is NULL where there is none
    cdef Table* table = table_of(itemsize)
    cdef int i
    d.count, d.chunk = count, CHUNK
    d.p = held.pointer(p, (count,), itemsize, True)
    d.g = held.pointer(g, (count,), itemsize)
    for i in range(3):
        d.slot[i] = NULL
        if i < len(slots) and slots[i] is not None:
            d.slot[i] = held.pointer(slots[i], (count,), itemsize, True)
    return run(table.descend, d, sizeof(Descent), 1, 4, (count + CHUNK - 1) // CHUNK,
               (1.0 + d.work) * count, 0, 0 if d.rule == SHRINK else ADDS)


def sgd(p, g, v, int itemsize, Py_ssize_t count, double lr, double momentum, double dampening,
        double weight_decay, bint nesterov, bint first, /):
    """One step of descent on `count` numbers p, in place; v (or None) is the velocity."""
    cdef Descent d
    d.rule, d.work, d.lr, d.weight_decay = SGD, 1, lr, weight_decay
    d.momentum, d.dampening, d.nesterov, d.first = momentum, dampening, nesterov, first
    run_descent(&d, Arrays.__new__(Arrays), p, g, (v,), itemsize, count)


def adam(p, g, m, v, int itemsize, Py_ssize_t count, double lr, double beta1, double beta2, double eps,
         double weight_decay, double keep, double root, /):
    """One step of Adam in place; m and v are the means of gradients and their squares.

    The corrections of the bias, 1 - beta^t, are in `lr` and, its root, `root`; p is multiplied by `keep`.
    """
    cdef Descent d
    d.rule, d.work, d.lr, d.weight_decay, d.eps = ADAM, 4, lr, weight_decay, eps
    d.beta1, d.beta2, d.keep, d.root = beta1, beta2, keep, root
    run_descent(&d, Arrays.__new__(Arrays), p, g, (m, v), itemsize, count)


def rmsprop(p, g, v, b, a, int itemsize, Py_ssize_t count, double lr, double alpha, double eps,
            double weight_decay, double momentum, /):
    """One step of RMSprop in place; v is the mean of squares, b (or None) the velocity, a (or None) the mean."""
    cdef Descent d
    d.rule, d.work, d.lr, d.weight_decay, d.eps = RMSPROP, 4, lr, weight_decay, eps
    d.beta2, d.momentum = alpha, momentum
    run_descent(&d, Arrays.__new__(Arrays), p, g, (v, b, a), itemsize, count)


def average(p, a, int itemsize, Py_ssize_t count, double weight, /):
    """a += weight (p - a), in place."""
    cdef Descent d
    d.rule, d.work, d.lr = AVERAGE, 1, weight
    run_descent(&d, Arrays.__new__(Arrays), a, p, (), itemsize, count)


def copy_all(arrays, into, /):
    """Copy each array into the one beside it, of the same numbers; what fits is copied before one that does not."""
    cdef Arrays held
    cdef Py_buffer* source
    cdef Py_buffer* target
    for array, copy in zip(arrays, into, strict=True):
        held = Arrays.__new__(Arrays)
        source, target = held.take(array, 0), held.take(copy, 0, True)
        if source.len != target.len or kind_of(source) != kind_of(target):
            raise ValueError("expected arrays of the same size and number type")
        memmove(target.buf, source.buf, source.len)


def shrink(g, y, int itemsize, Py_ssize_t count, double factor, /):
    """y = factor g; y may be g."""
    cdef Descent d
    d.rule, d.work, d.lr = SHRINK, 0, factor
    run_descent(&d, Arrays.__new__(Arrays), y, g, (), itemsize, count)


def sum_of_squares(g, int itemsize, Py_ssize_t count, /):
    """The sum of the squares of `count` numbers, always in the same order."""
    cdef Table* table = table_of(itemsize)
    cdef Arrays held = Arrays.__new__(Arrays)
    cdef Squares a
    cdef Py_ssize_t i, tasks
    cdef double total = 0
    a.count, a.chunk = count, CHUNK
    a.g = held.pointer(g, (count,), itemsize)
    tasks = (count + CHUNK - 1) // CHUNK
    cdef Memory sums = Memory(tasks * sizeof(double))
    a.sums = sums.address
    run(table.squares, &a, sizeof(a), 1, 1, tasks, <double> count)
    for i in range(tasks):
        total += (<double*> a.sums)[i]
    return total
