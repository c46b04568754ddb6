# The costs of one block of images and their gradients at z, fused with the output activation where
# the algebra cancels: softmax with the log-likelihood and sigmoid with the binary cross-entropy
# both leave (a - target).  Lanes beyond the last image get cost and gradient zero.

cdef inline vec cross_entropy(const vec* z, const vec* target, Py_ssize_t K, Py_ssize_t step,
                              real scale, mask live, vec* dz) noexcept nogil:
    # of one pixel, whose classes lie `step` vectors apart; returns the cost
    cdef vec best = channel_max(z, K, step), total = VEC_ZERO, weight = VEC_ZERO, chosen = VEC_ZERO
    cdef Py_ssize_t k, i
    for i in range(K):
        k = i * step
        dz[k] = vec_exp(z[k] - best)
        total += dz[k]
        weight += target[k]
        # a class of target 0 has no say, even at z = -inf
        chosen += vec_select(vec_equal(target[k], VEC_ZERO), VEC_ZERO, target[k] * (z[k] - best))
    for i in range(K):
        k = i * step
        dz[k] = vec_select(live, (dz[k] / total * weight - target[k]) * scale, VEC_ZERO)
    return weight * vec_log1p(total - <real> 1) - chosen


cdef inline void binary_cross_entropy(const vec* z, const vec* target, Py_ssize_t K, real scale,
                                      mask live, vec* cost, vec* dz) noexcept nogil:
    # -[t ln a + (1-t) ln(1-a)] = max(z, 0) - z t + ln(1 + e^-|z|)
    cdef vec total = VEC_ZERO
    cdef Py_ssize_t k
    for k in range(K):
        total += vec_relu(z[k]) - z[k] * target[k] + vec_log1p(vec_exp(-vec_abs(z[k])))
        dz[k] = vec_select(live, (vec_sigmoid(z[k]) - target[k]) * scale, VEC_ZERO)
    cost[0] = total


cdef inline void squared_error(const vec* a, const vec* target, Py_ssize_t K, real scale, mask live,
                               vec* cost, vec* da) noexcept nogil:
    # (1/2) sum of (a - t)^2
    cdef vec total = VEC_ZERO, error
    cdef Py_ssize_t k
    for k in range(K):
        error = a[k] - target[k]
        total += error * error
        da[k] = vec_select(live, error * scale, VEC_ZERO)
    cost[0] = total * <real> 0.5


cdef void loss(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Loss* a = <const Loss*> args
    cdef Py_ssize_t size = task * a.K * a.pixels * LANES, pixel
    cdef const vec* z = <const vec*> (<const real*> a.z + size)
    cdef const vec* target = <const vec*> (<const real*> a.target + size)
    cdef vec* cost = <vec*> (<real*> a.cost + task * LANES)
    cdef vec* dz = <vec*> (<real*> a.dz + size)
    cdef real scale = <real> a.scale
    cdef mask live = vec_first(a.N - task * LANES)
    if a.op == CROSS_ENTROPY:
        cost[0] = VEC_ZERO
        for pixel in range(a.pixels):
            cost[0] += cross_entropy(z + pixel, target + pixel, a.K, a.pixels, scale, live, dz + pixel)
    elif a.op == BINARY_CROSS_ENTROPY:
        binary_cross_entropy(z, target, a.K, scale, live, cost, dz)
    else:
        squared_error(z, target, a.K, scale, live, cost, dz)
