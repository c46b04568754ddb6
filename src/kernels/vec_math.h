/* exp, log, erf, powers and what is made of them, on lane vectors, for all numbers there are: NaN stays
 * NaN, infinities give the limit.  Errors are a few units in the last place.  The polynomials are Taylor
 * series, but for the tail of the normal distribution.
 */
#ifndef CNN_EXT_VEC_MATH_H
#define CNN_EXT_VEC_MATH_H
#include <float.h>
#include "vec.h"

#ifdef CNN_EXT_DOUBLE
#define EXP_TERMS 13     /* 1/k! up to here: relative error below 2**-53 for |r| <= ln(2)/2 */
#define EXP_LOW (-745.2)
#define EXP_HIGH 709.8
#define MAGIC 6755399441055744.0 /* 1.5 * 2**52: adding it rounds to an integer */
#define MANTISSA 52
#define EXPONENT_BIAS 1023
#define LN2_HIGH 6.93147180369123816490e-01 /* so short that it times an exponent is exact */
#define LN2_LOW 1.90821492927058770002e-10
#define LOG_TERMS 9      /* of artanh(s) / s for |s| < 0.1716: relative error below 2**-53 */
#define ERF_TERMS 12     /* of erf(x) / x for |x| < 0.5, likewise */
#define REAL_MAX DBL_MAX
#define FAR 40           /* where e^(-x^2/2) is 0 */
#else
#define EXP_TERMS 7      /* likewise 2**-24 */
#define EXP_LOW (-104.0f)
#define EXP_HIGH 88.8f
#define MAGIC 12582912.0f /* 1.5 * 2**23 */
#define MANTISSA 23
#define EXPONENT_BIAS 127
#define LN2_HIGH 6.93145752e-1f
#define LN2_LOW 1.42860677e-6f
#define LOG_TERMS 4
#define ERF_TERMS 7
#define REAL_MAX FLT_MAX
#define FAR 16
#endif

/* (u + 4) e^(u^2/2) (1 - Phi(u)) as a polynomial in t = (u - 4) / (u + 4) for 0 <= u <= FAR: it goes through
 * the function at the zeros of a Chebyshev polynomial (computed with 60 digits), with relative errors of
 * 1.4e-8 in float32 and 4e-17 in float64. */
static const real TAIL[] = {
#ifdef CNN_EXT_DOUBLE
    0.755285130415751478, -0.607896641971891764, 0.387137400742219335, -0.186521857959693392,
    0.0603965748906766544, -0.00754018896562501684, -0.00347969236180405956, 0.00163081844248058856,
    0.000133344249783584282, -0.00023109482414997104, -1.90784340592487053e-6, 0.0000351442149682578036,
    7.14930832547840089e-7, -5.91901318615404412e-6, -6.24990699536978521e-7, 1.02007133925684645e-6,
    2.63543105606844541e-7, -1.54619681912219187e-7, -7.63471284344108608e-8, 1.48423900727513431e-8,
    1.39765281559508218e-8, -1.01529571764961797e-11, -9.990624160023276e-10};
#else
    0.7552851385f, -0.6078965716f, 0.387136708f, -0.1865238455f, 0.06040547949f, -0.007522386384f,
    -0.003515919052f, 0.001563369968f, 0.0001790493954f, -0.0001301223115f};
#endif
enum { TAIL_TERMS = sizeof TAIL / sizeof TAIL[0] };

static const double INVERSE_FACTORIAL[14] = {
    1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
    1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};

/* x without the lower half of its digits, so that products of two such numbers are exact */
static inline vec vec_upper(vec x) { return bits_vec(vec_bits(x) & -((bits)1 << (MANTISSA / 2 + 1))); }
/* x with the greatest finite numbers for infinities, so that a factor of 0 makes them 0 */
static inline vec vec_finite(vec x) { return vec_clip(x, -REAL_MAX, REAL_MAX); }

static inline vec vec_sqrt(vec x)
{
    real lane[LANES];
    memcpy(lane, &x, sizeof x);
    for (int l = 0; l < LANES; l++) lane[l] = (real)(sizeof(real) == 4 ? sqrtf((float)lane[l]) : sqrt(lane[l]));
    memcpy(&x, lane, sizeof x);
    return x;
}

/* a / (factor sqrt(x) + eps) */
static inline vec vec_over_root(vec a, vec x, real factor, real eps)
{
    return a / (vec_sqrt(x) * factor + eps);
}

/* --------------------------------------------------------------------------------- exponentials */

/* e^x - 1 = scale * p + (scale - (real)1), where x = n ln 2 + r, scale = 2**n and p = e^r - 1 as a Taylor
 * polynomial.  scale is built in two halves, so that results down to the denormals come out right. */
static inline vec vec_exp_parts(vec x, vec *half, vec *other)
{
    const real high = (real)EXP_HIGH, low = (real)EXP_LOW, magic = (real)MAGIC;
    x = vec_select(vec_nan(x), VEC_ZERO, x); /* the callers put NaN back */
    x = vec_select((mask)(x > vec_all(high)), vec_all(high), x);
    x = vec_select((mask)(x < vec_all(low)), vec_all(low), x);
    vec shifted = x * (real)1.4426950408889634 + magic;
    vec n = shifted - magic;
    vec r = x - n * (real)LN2_HIGH - n * (real)LN2_LOW;
    vec p = vec_all((real)INVERSE_FACTORIAL[EXP_TERMS]);
    for (int k = EXP_TERMS - 1; k > 0; k--) p = p * r + (real)INVERSE_FACTORIAL[k];
    mask exponent = vec_bits(shifted) - vec_bits(vec_all(magic)), first = exponent >> 1;
    *half = bits_vec((first + EXPONENT_BIAS) << MANTISSA);
    *other = bits_vec((exponent - first + EXPONENT_BIAS) << MANTISSA);
    return p * r;
}

static inline vec vec_exp(vec x)
{
    vec half, other, p = vec_exp_parts(x, &half, &other);
    return vec_select(vec_nan(x), x, (p + (real)1) * half * other);
}

/* e^x - 1 for x up to 88 */
static inline vec vec_expm1(vec x)
{
    vec half, other, p = vec_exp_parts(x, &half, &other), scale = half * other;
    return vec_select(vec_nan(x), x, scale * p + (scale - (real)1));
}

/* e^-|x| cannot overflow, so that results down to the denormals come out right */
static inline vec vec_sigmoid(vec x)
{
    vec e = vec_exp(-vec_abs(x));
    return vec_select((mask)(VEC_ZERO > x), e, vec_all((real)1)) / ((real)1 + e);
}

/* tanh x = u / (u + (real)2), u = e^(2x) - 1, exact to a few units in the last place for small x too */
static inline vec vec_tanh(vec x)
{
    const real far = 20;
    vec z = vec_select((mask)(x > vec_all(far)), vec_all(far), x);
    z = vec_select((mask)(z < vec_all(-far)), vec_all(-far), z);
    vec half, other, p = vec_exp_parts(z + z, &half, &other);
    vec scale = half * other, u = scale * p + (scale - (real)1);
    return vec_select(vec_nan(x), x, u / (u + (real)2));
}

/* ----------------------------------------------------------------------------------- logarithms */

/* x = 2^n m with sqrt(1/2) <= m < sqrt(2), for positive x; returns m - 1, which is exact */
static inline vec vec_log_parts(vec x, vec *n)
{
    const vec magic = vec_all((real)MAGIC);
    mask above = bits_minus(vec_bits(x), vec_bits(vec_all((real)0.70710678118654752)));
    mask exponent = above & -((bits)1 << MANTISSA);
    *n = bits_vec(vec_bits(magic) + (exponent >> MANTISSA)) - magic;
    return bits_vec(bits_minus(vec_bits(x), exponent)) - (real)1;
}

/* artanh(s) / s - 1, doubled, from z = s^2 */
static inline vec vec_artanh_rest(vec z)
{
    vec sum = vec_all((real)(2.0 / (2 * LOG_TERMS + 1)));
    for (int k = LOG_TERMS - 1; k > 0; k--) sum = sum * z + (real)(2.0 / (2 * k + 1));
    return sum * z;
}

/* `y`, which holds for positive finite x, or the logarithm of the others */
static inline vec vec_log_edges(vec x, vec y)
{
    y = vec_select(vec_above(VEC_ZERO, x), vec_all((real)NAN), y);
    y = vec_select(vec_equal(x, VEC_ZERO), vec_all(-REAL_HUGE), y);
    return vec_select(mask_or(vec_nan(x), vec_equal(x, vec_all(REAL_HUGE))), x, y);
}

/* ln(1 + f) = 2 artanh s = f - s (f - rest), where s = f / (2 + f); f - f^2/2 keeps its digits */
static inline vec vec_log(vec x)
{
    vec n, f = vec_log_parts(x, &n), s = f / (f + (real)2), half = f * f * (real)0.5;
    vec small = s * (half + vec_artanh_rest(s * s)) + vec_times(n, vec_all((real)LN2_LOW));
    return vec_log_edges(x, n * (real)LN2_HIGH + (f - (half - small)));
}

/* ln(1 + x): what 1 + x loses of x comes back as the derivative times that */
static inline vec vec_log1p(vec x)
{
    vec u = x + (real)1, lost = x - (u - (real)1), y = vec_log(u);
    return vec_select(vec_above(vec_all(REAL_HUGE), vec_abs(y)), y + lost / u, y);
}

/* ln(1 + e^x) */
static inline vec vec_softplus(vec x) { return vec_relu(x) + vec_log1p(vec_exp(-vec_abs(x))); }

/* --------------------------------------------------------------------------- normal distribution */

/* Phi(x), the chance to be below x, and *bell = e^(-x^2/2); what x^2 loses by rounding comes back as a factor */
static inline vec vec_normal(vec x, vec *bell)
{
    vec u = vec_clip(vec_abs(x), 0, FAR), h = vec_upper(u), square = u * u;
    vec lost = (h * h - square) + (u - h) * (u + h), e = vec_exp(square * (real)-0.5);
    vec w = (real)1 / (u + (real)4), t = (real)1 - w * (real)8, p = vec_all(TAIL[TAIL_TERMS - 1]);
    for (int k = TAIL_TERMS - 2; k >= 0; k--) p = p * t + TAIL[k];
    *bell = e * ((real)1 - lost * (real)0.5);
    vec tail = *bell * p * w;
    return vec_select(vec_above(VEC_ZERO, x), tail, (real)1 - tail);
}

static inline vec vec_erf(vec x)
{
    const double two_over_root_pi = 1.1283791670955126;
    vec bell, far = (real)1 - (real)2 * vec_normal(vec_abs(x) * (real)-1.4142135623730951, &bell);
    vec z = x * x, near = VEC_ZERO;
    for (int n = ERF_TERMS; n >= 0; n--)
        near = near * z + (real)((n % 2 ? -1 : 1) * two_over_root_pi * INVERSE_FACTORIAL[n] / (2 * n + 1));
    far = vec_select(vec_above(VEC_ZERO, x), -far, far);
    return vec_select(vec_above(vec_all((real)0.5), vec_abs(x)), near * x, far);
}

/* x Phi(x) and its derivative */
static inline vec vec_gelu(vec x)
{
    vec bell, least = vec_clip(x, -REAL_MAX, REAL_HUGE);
    return least * vec_normal(least, &bell);
}
static inline vec vec_gelu_slope(vec x)
{
    vec bell, chance = vec_normal(x, &bell);
    return chance + vec_finite(x) * bell * (real)0.39894228040143268; /* 1 / sqrt(2 pi) */
}

/* s = 1 / (1 + e^-x) and *slope = s (1 - s), which keeps its digits where s is near 1 */
static inline vec vec_gate(vec x, vec *slope)
{
    vec e = vec_exp(-vec_abs(x)), s = (real)1 / ((real)1 + e);
    *slope = e * s * s;
    return vec_select(vec_above(VEC_ZERO, x), e * s, s);
}

/* x s(x) and its derivative, s the sigmoid */
static inline vec vec_silu(vec x) { return vec_clip(x, -REAL_MAX, REAL_HUGE) * vec_sigmoid(x); }
static inline vec vec_silu_slope(vec x)
{
    vec slope, s = vec_gate(x, &slope);
    return s + slope * vec_finite(x);
}

/* x tanh(ln(1 + e^x)) and its derivative */
static inline vec vec_mish(vec x) { return vec_clip(x, -REAL_MAX, REAL_HUGE) * vec_tanh(vec_softplus(x)); }
static inline vec vec_mish_slope(vec x)
{
    vec t = vec_tanh(vec_softplus(x));
    return t + vec_finite(x) * ((real)1 - t * t) * vec_sigmoid(x);
}

/* x s(2 w) and its derivative, w = sqrt(2/pi) (x + 0.044715 x^3), which is near gelu */
static inline vec vec_gelu_tanh(vec x)
{
    x = vec_clip(x, -FAR, REAL_HUGE);
    return x * vec_sigmoid(x * (x * x * (real)0.07135481627260025 + (real)1.5957691216057308));
}
static inline vec vec_gelu_tanh_slope(vec x)
{
    x = vec_clip(x, -FAR, FAR);
    vec z = x * x, slope, s = vec_gate(x * (z * (real)0.07135481627260025 + (real)1.5957691216057308), &slope);
    return s + slope * x * (z * (real)0.21406444881780076 + (real)1.5957691216057308);
}

/* --------------------------------------------------------------------------------------- powers */

static inline mask vec_whole(vec x)
{
    const real least = (real)((bits)1 << MANTISSA); /* from here on all numbers are whole */
    vec u = vec_abs(x), rounded = (u + least) - least;
    return vec_equal(vec_select(vec_above(vec_all(least), u), rounded, u), u);
}

/* a^b by the rules of C's pow.  b ln|a| is p + q, with 6 bits more than one number holds: ln|a| is the sum
 * of n ln 2 and 2 s, the quotient with its remainder, of which only the rest of the series is rounded.  Six loops call it,
 * and a call costs little beside it. */
#ifdef __GNUC__
__attribute__((noinline))
#endif
static vec vec_pow(vec a, vec b)
{
    const vec one = vec_all((real)1), zero = VEC_ZERO, huge = vec_all(REAL_HUGE);
    vec u = vec_abs(a), n, f = vec_log_parts(u, &n), d = f + (real)2, s = f / d;
    vec sh = vec_upper(s), dh = vec_upper(d);
    vec remainder = (f - sh * dh) - sh * ((f - (d - (real)2)) + (d - dh)) - (s - sh) * d;
    vec high = n * (real)LN2_HIGH, p = high + (s + s);
    vec q = ((high - p) + (s + s)) + (n * (real)LN2_LOW + (vec_times(remainder / d, vec_all((real)2)) + s * vec_artanh_rest(s * s)));
    vec log = vec_log_edges(u, p + q), low = (p - log) + q, ph, bh = vec_upper(b);
    p = b * log;
    ph = vec_upper(log);
    q = ((bh * ph - p) + (bh * (log - ph) + vec_times(b - bh, log))) + b * low;
    q = vec_select(vec_above(vec_all(EXP_HIGH - EXP_LOW), vec_abs(p)), q, zero);
    vec y = vec_select(vec_equal(u, one), one, vec_exp(p) * (q + (real)1));
    mask whole = vec_whole(b);
    y = vec_select(vec_above(zero, a), vec_select(mask_or(whole, vec_equal(u, huge)), y, vec_all((real)NAN)), y);
    vec signed_ = bits_vec(vec_bits(y) | (vec_bits(a) & vec_bits(vec_all((real)-0.0))));
    y = vec_select(vec_whole(b * (real)0.5), y, vec_select(whole, signed_, y));
    return vec_select(mask_or(vec_equal(b, zero), vec_equal(a, one)), one, y);
}
#endif
