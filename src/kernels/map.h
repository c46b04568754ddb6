/* A loop for each function of the list, so that its formula is compiled into it.
 */
#ifndef CNN_EXT_MAP_H
#define CNN_EXT_MAP_H
#include "functions.h"
#include "vec_math.h"

/* the short words of the formulas */
#define R(number) ((real)(number)) /* or a constant of float64 would meet vectors of float32 */
#define zero VEC_ZERO
#define one R(1)
#define where vec_select
static inline mask above(vec x, real least) { return vec_above(x, vec_all(least)); }
static inline mask below(vec x, real most) { return vec_above(vec_all(most), x); }
static inline mask between(real low, vec x, real high) { return above(x, low) & below(x, high); }
/* The nearest whole number, the even one of two that are as near, of numbers up to half of this: added and taken away
 * again, it leaves no fraction. */
#define FRACTIONLESS (REAL_BYTES == 8 ? R(6755399441055744.0) : R(12582912.0))
static inline vec vec_nearest(vec x) { return x + FRACTIONLESS - FRACTIONLESS; }
/* The nearest number of eight bits, the even one of two that are as near: half of what is cut off, less the last bit
 * that stays, is added to the bits of the number.  NaN stays as it is. */
#define CUT (REAL_BYTES * 8 == 64 ? 45 : 16)
static inline vec vec_bfloat16(vec x)
{
    const plain_mask bits = (plain_mask)vec_bits(x), half = ((plain_bits)1 << (CUT - 1)) - 1 - (plain_mask){0};
    const plain_mask rounded = (bits + half + ((bits >> CUT) & 1)) >> CUT << CUT;
    return vec_select(vec_nan(x), x, bits_vec((mask)rounded));
}
/* where 0 < x p + q < 1, but for rounding */
static inline mask on_slope(vec x, real p, real q)
{
    const real first = -q / p, last = (1 - q) / p;
    return first < last ? between(first, x, last) : between(last, x, first);
}
/* of the gradient dy: all to what exceeds the other, half to equals */
static inline vec share(vec dy, vec x, vec other)
{
    return where(vec_above(x, other), dy, where(vec_equal(x, other), dy * R(0.5), zero));
}
/* a^b differentiated by a, and what a^b is multiplied by for the derivative by b: 0^b does not change with b > 0 */
static inline vec pow_slope(vec a, vec b) { return where(vec_equal(b, zero), zero, b * vec_pow(a, b - one)); }
static inline vec log_of_base(vec a, vec b)
{
    return where(vec_equal(a, zero), where(below(b, 0), vec_all(-REAL_HUGE), zero), vec_log(a));
}

typedef void (*map_loop)(const vec *, const vec *, const vec *, vec *, ptrdiff_t, real, real);
#define LOOP(name, formula) \
    static void map_##name(const vec *first, const vec *second, const vec *third, vec *y, ptrdiff_t count, \
                           real p, real q) \
    { \
        for (ptrdiff_t i = 0; i < count; i++) { \
            const vec a = first[i], b = second[i], c = third[i]; \
            (void)a, (void)b, (void)c; \
            y[i] = formula; \
        } \
        (void)p, (void)q; \
    }
#define LOOPS_ONE(name, formula, saved, gradient) LOOP(name, formula) LOOP(name##_back, gradient)
#define LOOPS_TWO(name, formula, gradient_a, gradient_b) \
    LOOP(name, formula) LOOP(name##_back_a, gradient_a) LOOP(name##_back_b, gradient_b)
FUNCTIONS(LOOPS_ONE, LOOPS_TWO)

#define ENTRY_ONE(name, formula, saved, gradient) map_##name, map_##name##_back,
#define ENTRY_TWO(name, formula, gradient_a, gradient_b) map_##name, map_##name##_back_a, map_##name##_back_b,
static const map_loop MAP_LOOPS[] = {FUNCTIONS(ENTRY_ONE, ENTRY_TWO)};

#undef R
#undef zero
#undef one
#undef where
#endif
