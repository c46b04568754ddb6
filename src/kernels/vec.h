/* The lane vector: `vec` holds LANES numbers of type `real` and is as wide as the instruction set
 * that this file is compiled for.  Cython sees it as a plain number, so the loops read like scalar
 * code.  A compiler without vector types gets one lane: slow and right.
 *
 * The type may alias and needs only the alignment of `real`, so no array can make a load fault.
 */
#ifndef CNN_EXT_VEC_H
#define CNN_EXT_VEC_H
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef CNN_EXT_DOUBLE
typedef double real;
#define REAL_BYTES 8
typedef int64_t bits;
typedef uint64_t plain_bits;
#define REAL_HUGE HUGE_VAL
#else
typedef float real;
#define REAL_BYTES 4
typedef int32_t bits;
typedef uint32_t plain_bits;
#define REAL_HUGE HUGE_VALF
#endif

#if (defined(__GNUC__) || defined(__clang__)) && !defined(CNN_EXT_SCALAR)
#if defined(__AVX512F__)
#define VEC_BYTES 64
#elif defined(__AVX__)
#define VEC_BYTES 32
#else
#define VEC_BYTES 16
#endif
typedef real vec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));
typedef bits mask __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));
typedef plain_bits plain_mask __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));
#define VEC_ZERO ((vec){0})
static inline vec vec_select(mask m, vec a, vec b) { return (vec)(((mask)a & m) | ((mask)b & ~m)); }
#else
#define VEC_BYTES REAL_BYTES
typedef real vec;
typedef bits mask;
typedef plain_bits plain_mask;
#define VEC_ZERO ((real)0)
static inline vec vec_select(mask m, vec a, vec b) { return m ? a : b; }
#endif
#define LANES (VEC_BYTES / REAL_BYTES)

/* Register tiles (rows x columns of accumulators): up to 24 of them where there are 32 vector
 * registers, 12 where there are 16, so that operands fit beside them; and smaller ones for what is
 * left at the edges.  GCC unrolls up to 16 of a kind.  Fewer than FEWEST would wait for the last multiply-add to finish. */
#ifdef CNN_EXT_HALVES /* whose modules are to be small */
enum { ROWS0 = 6, COLS0 = 4, ROWS1 = 8, COLS1 = 3, ROWS2 = 12, COLS2 = 2, ROWS3 = 16, COLS3 = 1, ROWS4 = 3, COLS4 = 8,
       ROWS5 = 1, COLS5 = 8 };
#define SHAPES 6
#define EACH_SHAPE(side) {side##0, side##1, side##2, side##3, side##4, side##5}
#elif defined(__AVX512F__) || defined(__aarch64__)
enum { ROWS0 = 4, COLS0 = 6, ROWS1 = 6, COLS1 = 4, ROWS2 = 5, COLS2 = 5,
       ROWS3 = 8, COLS3 = 3, ROWS4 = 3, COLS4 = 8, ROWS5 = 12, COLS5 = 2,
       ROWS6 = 16, COLS6 = 1, ROWS7 = 6, COLS7 = 3, ROWS8 = 6, COLS8 = 2,
       ROWS9 = 10, COLS9 = 1, ROWS10 = 6, COLS10 = 1, ROWS11 = 5, COLS11 = 4,
       ROWS12 = 1, COLS12 = 8, ROWS13 = 8, COLS13 = 2, ROWS14 = 8, COLS14 = 1 };
#else
enum { ROWS0 = 4, COLS0 = 3, ROWS1 = 6, COLS1 = 2, ROWS2 = 3, COLS2 = 4,
       ROWS3 = 5, COLS3 = 2, ROWS4 = 2, COLS4 = 6, ROWS5 = 12, COLS5 = 1,
       ROWS6 = 3, COLS6 = 3, ROWS7 = 4, COLS7 = 2, ROWS8 = 3, COLS8 = 2,
       ROWS9 = 6, COLS9 = 1, ROWS10 = 2, COLS10 = 3, ROWS11 = 8, COLS11 = 1,
       ROWS12 = 1, COLS12 = 8, ROWS13 = 1, COLS13 = 4, ROWS14 = 5, COLS14 = 1 };
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
enum { WIDE = 1 }; /* 32 registers */
#else
enum { WIDE = 0 };
#endif
#ifndef SHAPES
#define SHAPES 15
#define EACH_SHAPE(side) {side##0, side##1, side##2, side##3, side##4, side##5, side##6, side##7, side##8, side##9, \
                          side##10, side##11, side##12, side##13, side##14}
#endif
#if defined(__AVX2__) && !defined(__AVX512F__) || defined(__aarch64__)
#define FEWEST 8
#else
#define FEWEST 4
#endif
static const int TILE_ROWS[SHAPES] = EACH_SHAPE(ROWS), TILE_COLS[SHAPES] = EACH_SHAPE(COLS);

/* The tile of at most most_rows rows that covers rows x cols with the least work: eight for a
 * multiply-add, `load` for an operand.  Unrolled, it has no divisions by variables, which take longer
 * than a small tile. */
#ifdef __GNUC__
__attribute__((noinline))
#endif
static int best_tile(ptrdiff_t rows, ptrdiff_t cols, int load, int most_rows)
{
    ptrdiff_t least = PTRDIFF_MAX;
    int best = 0;
#ifdef __GNUC__
#pragma GCC unroll 16
#endif
    for (int i = 0; i < SHAPES; i++) {
        const int R = TILE_ROWS[i], C = TILE_COLS[i], sums = R * C > FEWEST ? R * C : FEWEST;
        ptrdiff_t cost = ((rows + R - 1) / R) * ((cols + C - 1) / C) * (8 * sums + load * (R + C) + 4);
        if (R <= most_rows && cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}

static inline mask vec_bits(vec x) { mask m; memcpy(&m, &x, sizeof m); return m; }
static inline vec bits_vec(mask m) { vec x; memcpy(&x, &m, sizeof x); return x; }
/* a - b, which may wrap around: the bits of negative numbers are the most negative integers */
static inline mask bits_minus(mask a, mask b) { return (mask)((plain_mask)a - (plain_mask)b); }
static inline mask vec_nan(vec x) { return (mask)(x != x); }
static inline mask vec_above(vec a, vec b) { return (mask)(a > b); }
static inline mask vec_equal(vec a, vec b) { return (mask)(a == b); }
#ifdef CNN_EXT_HALVES
/* `vec_all`: a number in every lane, which may be two of bfloat16.  `vec_add_dot`: sum + the products of both halves.
 * `vec_store_halves`: so many numbers of bfloat16 side by side, which are all that is in x.  `vec_store_first`: n
 * of its numbers. */
#ifdef __aarch64__
#include <arm_neon.h>
static inline vec vec_all(real a) { return (vec)vdupq_n_f32(a); }
/* rounds to odd what the sum of the products is, and that with the sum */
static inline vec vec_add_dot(vec sum, vec a, vec b)
{
    return (vec)vbfdotq_f32((float32x4_t)sum, (bfloat16x8_t)a, (bfloat16x8_t)b);
}
static inline void vec_store_halves(real *p, vec x)
{
    const uint16x4_t halves = vshrn_n_u32((uint32x4_t)x, 16);
    memcpy(p, &halves, sizeof halves);
}
static inline void vec_store_first(real *p, vec x, int n) { memcpy(p, &x, (size_t)n * sizeof(real)); }
#else
#include <immintrin.h>
static inline vec vec_all(real a) { return (vec)_mm512_set1_ps(a); }
#ifdef __AVX512BF16__
/* a rounding for each product, the upper ones first */
static inline vec vec_add_dot(vec sum, vec a, vec b)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#endif
static inline void vec_store_halves(real *p, vec x)
{
    const __m256i halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32((__m512i)x, 16));
    _mm256_storeu_si256((__m256i *)p, halves);
}
static inline void vec_store_first(real *p, vec x, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)(0xffffu >> (LANES - n)), (__m512)x);
}
#endif
/* the upper halves, `even` in the lower ones: two numbers of bfloat16 in one of float32, exact if they are such */
static inline vec vec_pair(vec even, vec odd)
{
    return (vec)(((plain_mask)even >> 16) | ((plain_mask)odd & 0xffff0000u));
}
static inline real one_pair(real even, real odd)
{
    uint32_t e, o;
    memcpy(&e, &even, sizeof e);
    memcpy(&o, &odd, sizeof o);
    e = e >> 16 | (o & 0xffff0000u);
    memcpy(&even, &e, sizeof e);
    return even;
}
#else
/* a in every lane; a - 0 is a, also for -0, so the compiler leaves only the broadcast */
static inline vec vec_all(real a) { return a - VEC_ZERO; }
/* sum + a b, in one rounding where the CPU can */
static inline vec vec_add_dot(vec sum, vec a, vec b) { return sum + a * b; }
#endif

/* a b, rounded: of a sum of two products the compiler may put either one into a multiply-add, and each gives other
 * digits; this one it leaves alone. */
static inline vec vec_times(vec a, vec b)
{
    vec y = a * b;
#if VEC_BYTES > REAL_BYTES && (defined(__x86_64__) || defined(__i386__))
    __asm__("" : "+v"(y));
#elif VEC_BYTES > REAL_BYTES && defined(__aarch64__)
    __asm__("" : "+w"(y));
#endif
    return y;
}

/* The same address, from nowhere: else GCC would keep those of all that lies at constant distances from it, each in a
 * register of its own, and spill them. */
static inline const real *one_address(const real *p)
{
#if defined(__GNUC__) || defined(__clang__)
    __asm__("" : "+r"(p));
#endif
    return p;
}

/* true in the first n lanes */
static inline mask vec_first(ptrdiff_t n)
{
    bits lane[LANES];
    mask m;
    for (int l = 0; l < LANES; l++) lane[l] = l < n ? (bits)-1 : 0;
    memcpy(&m, lane, sizeof m);
    return m;
}
static inline mask mask_or(mask a, mask b) { return a | b; }

/* the greater and the smaller of a limit and x, and x if it is NaN or equal, as these instructions of x86 have it */
#if defined(__SSE2__) && VEC_BYTES > REAL_BYTES
#include <immintrin.h>
#if VEC_BYTES == 64
#define X86(name, suffix) _mm512_##name##_##suffix
#elif VEC_BYTES == 32
#define X86(name, suffix) _mm256_##name##_##suffix
#else
#define X86(name, suffix) _mm_##name##_##suffix
#endif
#if REAL_BYTES == 8
#define PACKED(name) X86(name, pd)
#else
#define PACKED(name) X86(name, ps)
#endif
static inline vec vec_least(vec limit, vec x) { return PACKED(max)(limit, x); }
static inline vec vec_most(vec limit, vec x) { return PACKED(min)(limit, x); }
#else
static inline vec vec_least(vec limit, vec x) { return vec_select((mask)(limit > x), limit, x); }
static inline vec vec_most(vec limit, vec x) { return vec_select((mask)(x > limit), limit, x); }
#endif
/* a b + c in one rounding, also where the compiler would compute a b in another place */
static inline vec vec_add_product(vec a, vec b, vec c)
{
#if defined(PACKED) && defined(__FMA__)
    return PACKED(fmadd)(a, b, c);
#else
    return a * b + c;
#endif
}
/* max(x, 0), and min(max(x, low), high), that let NaN through */
static inline vec vec_relu(vec x) { return vec_least(VEC_ZERO, x); }
static inline vec vec_clip(vec x, real low, real high) { return vec_most(vec_all(high), vec_least(vec_all(low), x)); }
static inline vec vec_abs(vec x) { return vec_select((mask)(VEC_ZERO > x), -x, x); }

/* the sum of all lanes, neighbours first, then pairs, then fours: a binary tree */
static inline real vec_sum(vec x)
{
    real lane[LANES];
    memcpy(lane, &x, sizeof x);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lane[l] = lane[2 * l] + lane[2 * l + 1];
    return lane[0];
}
/* The same of the first n lanes, as if there were no others: x + -0 is x, also for 0 and -0. */
static inline real vec_sum_first(vec x, ptrdiff_t n)
{
    return vec_sum(n < LANES ? vec_select(vec_first(n), x, -VEC_ZERO) : x);
}

/* The first n < LANES numbers at p; the other lanes are 0.  And the way back. */
static inline vec vec_load_part(const real *p, int n)
{
    vec x = VEC_ZERO;
    memcpy(&x, p, (size_t)n * sizeof(real));
    return x;
}
static inline void vec_store_part(real *p, vec x, int n) { memcpy(p, &x, (size_t)n * sizeof(real)); }
#endif
