# The costs of one block of images and their gradients at z, fused with the output activation where
# the algebra cancels: softmax with the log-likelihood and sigmoid with the binary cross-entropy
# both leave (a - target).  Lanes beyond the last image, and images of weight zero, get gradient zero.

cdef inline vec cross_entropy(const vec* z, const vec* target, Py_ssize_t K, Py_ssize_t step, real smooth,
                              vec scale, mask live, vec* dz) noexcept nogil:
    # of one pixel, whose classes lie `step` vectors apart; returns the cost
    cdef vec best = channel_max(z, K, step), total = VEC_ZERO, weight = VEC_ZERO, chosen = VEC_ZERO, wanted
    cdef real keep = 1 - smooth, everywhere = smooth / K
    cdef Py_ssize_t k, i
    for i in range(K):
        k = i * step
        dz[k] = vec_exp(z[k] - best)
        total += dz[k]
        wanted = target[k] * keep + everywhere
        weight += wanted
        # a class of target 0 has no say, even at z = -inf
        chosen += vec_select(vec_equal(wanted, VEC_ZERO), VEC_ZERO, wanted * (z[k] - best))
    for i in range(K):
        k = i * step
        wanted = target[k] * keep + everywhere
        dz[k] = vec_select(live, (dz[k] / total * weight - wanted) * scale, VEC_ZERO)
    return weight * vec_log1p(total - <real> 1) - chosen


cdef inline vec focal(const vec* z, const vec* target, Py_ssize_t K, Py_ssize_t step, real gamma,
                      vec scale, mask live, vec* dz) noexcept nogil:
    # -sum of t (1 - p)^gamma ln p with p = softmax(z); its gradient at z is g - p sum of g, where g is p times that
    # at p.  1 - p is kept above zero, whose logarithm times gamma = 0 is NaN.
    cdef vec best = channel_max(z, K, step), total = VEC_ZERO, cost = VEC_ZERO, sum = VEC_ZERO
    cdef vec logarithm, p, rest, power, g
    cdef Py_ssize_t k, i
    for i in range(K):
        k = i * step
        dz[k] = vec_exp(z[k] - best)
        total += dz[k]
    logarithm = vec_log1p(total - <real> 1)
    for i in range(K):
        k = i * step
        p = dz[k] / total
        rest = vec_least(vec_all(<real> 1e-30), (total - dz[k]) / total)
        power = target[k] * vec_exp(gamma * vec_log(rest))
        g = power * (gamma * p * (z[k] - best - logarithm) / rest - <real> 1)
        dz[k] = vec_select(vec_equal(target[k], VEC_ZERO), VEC_ZERO, g)
        sum += dz[k]
        cost -= vec_select(vec_equal(target[k], VEC_ZERO), VEC_ZERO, power * (z[k] - best - logarithm))
    for i in range(K):
        k = i * step
        dz[k] = vec_select(live, (dz[k] - vec_exp(z[k] - best) / total * sum) * scale, VEC_ZERO)
    return cost


cdef inline vec hinge(const vec* z, const vec* target, Py_ssize_t K, Py_ssize_t step, vec scale, mask live,
                      vec* dz) noexcept nogil:
    # sum over the other classes of max(0, 1 + z - z of the class)
    cdef vec chosen = VEC_ZERO, cost = VEC_ZERO, count = VEC_ZERO, over, one
    cdef mask other
    cdef Py_ssize_t k, i
    for i in range(K):
        k = i * step
        chosen += vec_select(vec_equal(target[k], VEC_ZERO), VEC_ZERO, z[k])
    for i in range(K):
        k = i * step
        other = vec_equal(target[k], VEC_ZERO)
        over = vec_select(other, vec_relu(z[k] - chosen + <real> 1), VEC_ZERO)
        one = vec_select(vec_above(over, VEC_ZERO), vec_all(<real> 1), VEC_ZERO)
        cost += over
        count += one
        dz[k] = vec_select(live, one * scale, VEC_ZERO)
    for i in range(K):
        k = i * step
        dz[k] -= vec_select(live, count * target[k] * scale, VEC_ZERO)
    return cost


cdef inline vec binary_cross_entropy(const vec* z, const vec* target, Py_ssize_t K, vec scale, mask live,
                                     vec* dz) noexcept nogil:
    # -[t ln a + (1-t) ln(1-a)] = max(z, 0) - z t + ln(1 + e^-|z|)
    cdef vec total = VEC_ZERO
    cdef Py_ssize_t k
    for k in range(K):
        total += vec_relu(z[k]) - z[k] * target[k] + vec_log1p(vec_exp(-vec_abs(z[k])))
        dz[k] = vec_select(live, (vec_sigmoid(z[k]) - target[k]) * scale, VEC_ZERO)
    return total


cdef inline vec squared_error(const vec* a, const vec* target, Py_ssize_t K, vec scale, mask live,
                              vec* da) noexcept nogil:
    # (1/2) sum of (a - t)^2
    cdef vec total = VEC_ZERO, error
    cdef Py_ssize_t k
    for k in range(K):
        error = a[k] - target[k]
        total += error * error
        da[k] = vec_select(live, error * scale, VEC_ZERO)
    return total * <real> 0.5


cdef inline vec huber(const vec* a, const vec* target, Py_ssize_t K, real delta, vec scale, mask live,
                      vec* da) noexcept nogil:
    # half the square of an error up to delta, from there on a straight line
    cdef vec total = VEC_ZERO, error, clipped
    cdef Py_ssize_t k
    for k in range(K):
        error = a[k] - target[k]
        clipped = vec_clip(error, -delta, delta)
        total += clipped * (error - clipped * <real> 0.5)
        da[k] = vec_select(live, clipped * scale, VEC_ZERO)
    return total


cdef void loss(const void* args, Py_ssize_t task, char* scratch) noexcept nogil:
    cdef const Loss* a = <const Loss*> args
    cdef Py_ssize_t size = task * a.K * a.pixels * LANES, pixel, pixels = a.pixels, K = a.K
    cdef const vec* z = <const vec*> (<const real*> a.z + size)
    cdef const vec* target = <const vec*> (<const real*> a.target + size)
    cdef vec* dz = <vec*> (<real*> a.dz + size)
    cdef vec weight = (<const vec*> (<const real*> a.weight + task * LANES))[0]
    cdef vec scale = weight * <real> a.scale, cost = VEC_ZERO
    cdef real value = <real> a.value
    cdef mask live = vec_above(vec_select(vec_first(a.N - task * LANES), weight, VEC_ZERO), VEC_ZERO)
    for pixel in range(pixels):
        if a.op == CROSS_ENTROPY:
            cost += cross_entropy(z + pixel, target + pixel, K, pixels, value, scale, live, dz + pixel)
        elif a.op == FOCAL:
            cost += focal(z + pixel, target + pixel, K, pixels, value, scale, live, dz + pixel)
        elif a.op == HINGE:
            cost += hinge(z + pixel, target + pixel, K, pixels, scale, live, dz + pixel)
        elif a.op == BINARY_CROSS_ENTROPY:
            cost = binary_cross_entropy(z, target, K, scale, live, dz)
        elif a.op == SQUARED_ERROR:
            cost = squared_error(z, target, K, scale, live, dz)
        else:
            cost = huber(z, target, K, value, scale, live, dz)
    (<vec*> (<real*> a.cost + task * LANES))[0] = vec_select(live, cost * weight, VEC_ZERO)
