/* Squares of LANES x LANES numbers in registers: turned about their diagonal, and summed row by row.
 *
 * Both go by steps that exchange lanes whose numbers differ in one bit.
 */
#ifndef CNN_EXT_SQUARE_H
#define CNN_EXT_SQUARE_H
#include "vec.h"

#if LANES > 1 && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HAVE_SHUFFLES
#endif
#endif

#ifdef HAVE_SHUFFLES
/* where lane l of a result comes from: a has the numbers 0 ... LANES-1, b those behind */
#define TURN_LOW(l, h) ((l) & (h) ? LANES + ((l) ^ (h)) : (l))
#define TURN_HIGH(l, h) ((l) & (h) ? LANES + (l) : (l) ^ (h))
#define OWN(l, h) ((l) & (h) ? LANES + (l) : (l))
#define OTHER(l, h) ((l) & (h) ? LANES + ((l) ^ (h)) : (l) ^ (h))
#define EVEN(l, h) (2 * (l))
#define ODD(l, h) (2 * (l) + 1)
#define PLACES_2(f, l, h) f(l, h), f(l + 1, h)
#define PLACES_4(f, l, h) PLACES_2(f, l, h), PLACES_2(f, l + 2, h)
#define PLACES_8(f, l, h) PLACES_4(f, l, h), PLACES_4(f, l + 4, h)
#define PLACES_16(f, l, h) PLACES_8(f, l, h), PLACES_8(f, l + 8, h)
#if LANES == 16
#define PLACES PLACES_16
#define STEPS(step) step(8) step(4) step(2) step(1)
#elif LANES == 8
#define PLACES PLACES_8
#define STEPS(step) step(4) step(2) step(1)
#elif LANES == 4
#define PLACES PLACES_4
#define STEPS(step) step(2) step(1)
#else
#define PLACES PLACES_2
#define STEPS(step) step(1)
#endif
#define SHUFFLE(f, h) __builtin_shufflevector(a, b, PLACES(f, 0, h))

#define TURN_STEP(h)                                   \
    for (int i = 0; i < LANES; i++)                    \
        if (!(i & h)) {                                \
            vec a = x[i], b = x[i + h];                \
            x[i] = SHUFFLE(TURN_LOW, h);               \
            x[i + h] = SHUFFLE(TURN_HIGH, h);          \
        }
/* neighbours first, as `vec_sum` */
#define SUM_STEP(h)                                                             \
    for (int i = 0; i < h; i++) {                                               \
        vec a = x[2 * i], b = x[2 * i + 1];                                     \
        x[i] = SHUFFLE(OWN, LANES / 2 / h) + SHUFFLE(OTHER, LANES / 2 / h);     \
    }

/* lane l of x[i] and lane i of x[l] change places; a function of its own, for it is long and works in memory */
__attribute__((noinline, unused)) static void vec_turn(vec *x) { STEPS(TURN_STEP) }

/* lane i of the result is the sum of x[i]; x is overwritten */
static inline vec vec_sums(vec *x)
{
    STEPS(SUM_STEP)
    return x[0];
}
/* the numbers 0, 2, 4 ... and 1, 3, 5 ... of a and b, one behind the other */
static inline vec vec_evens(vec a, vec b) { return SHUFFLE(EVEN, 0); }
static inline vec vec_odds(vec a, vec b) { return SHUFFLE(ODD, 0); }
#else
static inline vec every_second(vec a, vec b, int first)
{
    real from[2 * LANES], to[LANES];
    memcpy(from, &a, sizeof a);
    memcpy(from + LANES, &b, sizeof b);
    for (int l = 0; l < LANES; l++) to[l] = from[2 * l + first];
    memcpy(&a, to, sizeof a);
    return a;
}
static inline vec vec_evens(vec a, vec b) { return every_second(a, b, 0); }
static inline vec vec_odds(vec a, vec b) { return every_second(a, b, 1); }
static inline void vec_turn(vec *x)
{
    real from[LANES][LANES], to[LANES][LANES];
    memcpy(from, x, sizeof from);
    for (int i = 0; i < LANES; i++)
        for (int l = 0; l < LANES; l++) to[i][l] = from[l][i];
    memcpy(x, to, sizeof to);
}
static inline vec vec_sums(vec *x)
{
    real sum[LANES];
    vec y;
    for (int i = 0; i < LANES; i++) sum[i] = vec_sum(x[i]);
    memcpy(&y, sum, sizeof y);
    return y;
}
#endif

/* The sums over the lanes of so many vectors, number after number at the start of x, which has room for whole groups of
 * LANES.  Not for each tile anew: inlined, it would be the greater part of them. */
#ifdef __GNUC__
__attribute__((noinline, unused))
#endif
static void vec_sum_all(vec *x, int count)
{
    for (int i = 0; i * LANES < count; i++) x[i] = vec_sums(x + i * LANES);
}
#endif
