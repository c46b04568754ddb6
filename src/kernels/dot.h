/* Vectors of 32-bit integers for products of bytes: INTS of them, as wide as the instruction set.
 *
 * `ints_dot` adds to each integer the products of four unsigned bytes and four signed ones.  That is exact, so every
 * instruction set gives the same numbers.  A compiler without vector types gets one integer: slow and right.
 *
 * Where there are products of signed bytes alone, `ints_all` takes DOT_OFFSET from each byte, and whoever starts a sum adds
 * as many times the sum of its weights.
 */
#ifndef CNN_EXT_DOT_H
#define CNN_EXT_DOT_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && !defined(CNN_EXT_SCALAR)
#if defined(__AVX512F__)
#define INTS_BYTES 64
#elif defined(__AVX2__)
#define INTS_BYTES 32
#else
#define INTS_BYTES 16
#endif
typedef int32_t ints __attribute__((vector_size(INTS_BYTES), aligned(4), may_alias));
typedef float floats __attribute__((vector_size(INTS_BYTES), aligned(4), may_alias));
#define ints_numbers(v) __builtin_convertvector(v, floats)
#define numbers_ints(v) __builtin_convertvector(v, ints)
static inline floats numbers_select(ints m, floats a, floats b) { return (floats)(((ints)a & m) | ((ints)b & ~m)); }
#else
#define INTS_BYTES 4
typedef int32_t ints;
typedef float floats;
#define ints_numbers(v) ((float)(v))
#define numbers_ints(v) ((int32_t)(v))
static inline floats numbers_select(ints m, floats a, floats b) { return m ? a : b; }
#endif
#define INTS (INTS_BYTES / 4)

#if INTS_BYTES > 4 && defined(__SSE2__)
#include <immintrin.h>
#endif
#if INTS_BYTES > 4 && defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#define NEON_DOT 1
#endif
#if defined(NEON_DOT) && !defined(__ARM_FEATURE_MATMUL_INT8)
#define DOT_OFFSET 128
#else
#define DOT_OFFSET 0
#endif

/* the four bytes at p in every integer */
static inline ints ints_all(const unsigned char *p)
{
    int32_t v;
    memcpy(&v, p, 4);
#if DOT_OFFSET
    v ^= (int32_t)0x80808080; /* from 0 to 255 to -128 to 127 */
#endif
#if INTS_BYTES == 64
    return (ints)_mm512_set1_epi32(v);
#elif INTS_BYTES == 32
    return (ints)_mm256_set1_epi32(v);
#elif INTS_BYTES == 16 && defined(__SSE2__)
    return (ints)_mm_set1_epi32(v);
#else
    return v - (ints){0};
#endif
}

static inline ints ints_dot(ints acc, ints x, ints w)
{
#if INTS_BYTES == 64 && defined(__AVX512VNNI__)
    return (ints)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
#elif INTS_BYTES == 32 && defined(__AVXVNNI__)
    return (ints)_mm256_dpbusd_avx_epi32((__m256i)acc, (__m256i)x, (__m256i)w);
#elif INTS_BYTES == 32
    /* even and odd bytes as numbers of 16 bits, which no sum of two products fills */
    const __m256i low = _mm256_set1_epi16(255), a = (__m256i)x, b = (__m256i)w;
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(a, low), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return acc + ((ints)even + (ints)odd);
#elif INTS_BYTES == 16 && defined(__SSE2__)
    const __m128i low = _mm_set1_epi16(255), a = (__m128i)x, b = (__m128i)w;
    const __m128i even = _mm_madd_epi16(_mm_and_si128(a, low), _mm_srai_epi16(_mm_slli_epi16(b, 8), 8));
    const __m128i odd = _mm_madd_epi16(_mm_srli_epi16(a, 8), _mm_srai_epi16(b, 8));
    return acc + ((ints)even + (ints)odd);
#elif defined(NEON_DOT) && DOT_OFFSET
    return (ints)vdotq_s32((int32x4_t)acc, (int8x16_t)x, (int8x16_t)w);
#elif defined(NEON_DOT)
    return (ints)vusdotq_s32((int32x4_t)acc, (uint8x16_t)x, (int8x16_t)w);
#else
    acc += (x & 255) * ((w << 24) >> 24);
    acc += ((x >> 8) & 255) * ((w << 16) >> 24);
    acc += ((x >> 16) & 255) * ((w << 8) >> 24);
    return acc + ((x >> 24) & 255) * (w >> 24);
#endif
}

/* adds to each integer the product of one from 0 to 255 and one from -128 to 127: both fit the lower halves of pairs of 16
 * bits */
static inline ints ints_times(ints acc, ints x, ints w)
{
#if INTS_BYTES == 64 && defined(__AVX512VNNI__)
    return (ints)_mm512_dpwssd_epi32((__m512i)acc, (__m512i)x, (__m512i)w);
#elif INTS_BYTES == 32
    return acc + (ints)_mm256_madd_epi16((__m256i)x, (__m256i)w);
#elif INTS_BYTES == 16 && defined(__SSE2__)
    return acc + (ints)_mm_madd_epi16((__m128i)x, (__m128i)w);
#else
    return acc + x * w;
#endif
}

/* rounded to the nearest integer, to the even one of two that are as near: a number that is added and taken away again
 * leaves no fraction.  For numbers up to 2^22; NaN becomes `low`. */
static inline ints numbers_rounded(floats v, float low, float high)
{
#if INTS_BYTES == 64
    const __m512 most = _mm512_min_ps(_mm512_max_ps((__m512)v, _mm512_set1_ps(low)), _mm512_set1_ps(high));
    return (ints)_mm512_cvtps_epi32(most);
#elif INTS_BYTES == 32
    const __m256 most = _mm256_min_ps(_mm256_max_ps((__m256)v, _mm256_set1_ps(low)), _mm256_set1_ps(high));
    return (ints)_mm256_cvtps_epi32(most);
#else
    const floats least = low - (floats){0}, most = high - (floats){0}, whole = 12582912.0f - (floats){0};
    v = numbers_select((ints)(v > least), v, least);
    v = numbers_select((ints)(v < most), v, most);
    return numbers_ints(v + whole - whole);
#endif
}

static inline floats numbers_clipped(floats v, float low, float high)
{
    const floats least = low - (floats){0}, most = high - (floats){0};
    v = numbers_select((ints)(least > v), least, v);
    return numbers_select((ints)(v > most), most, v);
}
/* all bits where there is NaN */
static inline ints numbers_odd(floats v) { return (ints)(v != v); }
static inline int ints_any(ints v)
{
    int32_t each[INTS], any = 0;
    memcpy(each, &v, sizeof v);
    for (int i = 0; i < INTS; i++) any |= each[i];
    return any != 0;
}
static inline ints ints_larger(ints a, ints b)
{
#if INTS_BYTES == 64
    return (ints)_mm512_max_epi32((__m512i)a, (__m512i)b);
#elif INTS_BYTES == 32
    return (ints)_mm256_max_epi32((__m256i)a, (__m256i)b);
#elif INTS_BYTES == 16
    const ints first = a > b;
    return (a & first) | (b & ~first);
#else
    return a > b ? a : b;
#endif
}
static inline ints ints_same(int32_t v) { return v - (ints){0}; }
static inline floats numbers_same(float v) { return v - (floats){0}; }
static inline floats numbers_at(const void *p) { return *(const floats *)p; }
static inline ints ints_at(const void *p) { return *(const ints *)p; }
/* n numbers, the others 0 */
static inline floats numbers_some(const float *p, int n)
{
#if INTS_BYTES == 64
    return (floats)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    float each[INTS] = {0};
    floats v;
    memcpy(each, p, (size_t)n * sizeof *p);
    memcpy(&v, each, sizeof v);
    return v;
#endif
}
static inline void numbers_store(float *p, floats v) { *(floats *)p = v; }

/* the first n integers, 0 to 255 each, as bytes */
static inline void bytes_store(unsigned char *p, ints v, int n)
{
#if INTS_BYTES == 64
    const __m128i b = _mm512_cvtepi32_epi8((__m512i)v);
    if (__builtin_constant_p(n) && n == INTS) _mm_storeu_si128((__m128i *)p, b);
    else _mm_mask_storeu_epi8(p, (__mmask16)((1u << n) - 1), b);
#else
#if INTS_BYTES == 32
    __m128i b = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    b = _mm_packus_epi16(b, b);
    if (n == INTS) {
        _mm_storel_epi64((__m128i *)p, b);
        return;
    }
#elif INTS_BYTES == 16 && defined(__SSE2__)
    __m128i b = _mm_packs_epi32((__m128i)v, (__m128i)v);
    b = _mm_packus_epi16(b, b);
#else
    unsigned char b[INTS];
    int32_t each[INTS];
    memcpy(each, &v, sizeof v);
    for (int i = 0; i < INTS; i++) b[i] = (unsigned char)each[i];
#endif
    if (n == INTS) memcpy(p, &b, INTS);
    else memcpy(p, &b, (size_t)n);
#endif
}
/* n bytes as integers, the others 0 */
static inline ints ints_of_bytes(const unsigned char *p, int n)
{
#if INTS_BYTES == 64
    if (__builtin_constant_p(n) && n == INTS) return (ints)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    return (ints)_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), p));
#else
#if INTS_BYTES == 32
    if (n == INTS) return (ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
#endif
    unsigned char b[INTS] = {0};
    int32_t each[INTS];
    ints v;
    if (n == INTS) memcpy(b, p, INTS);
    else memcpy(b, p, (size_t)n);
    for (int i = 0; i < INTS; i++) each[i] = b[i];
    memcpy(&v, each, sizeof v);
    return v;
#endif
}

static inline ints ints_shifted(ints v, int bits) { return v << bits; }
/* the lowest n bytes of each integer, which are so far `apart`; n is 1 to 4 */
static inline void bytes_beside(unsigned char *p, ints v, int n, ptrdiff_t apart)
{
    int32_t each[INTS];
    int i = 0;
    memcpy(each, &v, sizeof v);
    if (n == 4 || (n == 3 && apart == 3)) /* the fourth byte of all but the last is written over */
        for (; i < INTS - (n == 3); i++) memcpy(p + i * apart, each + i, 4);
    for (; i < INTS; i++)
        for (int j = 0; j < n; j++) p[i * apart + j] = (unsigned char)(each[i] >> 8 * j);
}

/* the maxima of `count` rows of n bytes, and of y itself unless it is the first */
static inline void bytes_largest(unsigned char *restrict y, const unsigned char *const *x, int count, ptrdiff_t n,
                                 int first)
{
#if INTS_BYTES == 64
    ptrdiff_t i = 0;
    if (n <= 16) { /* no wider than there are channels: what crosses a cache line is loaded twice */
        const __mmask16 in = (__mmask16)((1u << n) - 1);
        __m128i v = _mm_maskz_loadu_epi8(in, x[0]);
        for (int t = 1; t < count; t++) v = _mm_max_epu8(v, _mm_maskz_loadu_epi8(in, x[t]));
        if (!first) v = _mm_max_epu8(v, _mm_maskz_loadu_epi8(in, y));
        _mm_mask_storeu_epi8(y, in, v);
        return;
    }
    for (; n - i >= 32 && n - i < 64; i += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(x[0] + i));
        for (int t = 1; t < count; t++) v = _mm256_max_epu8(v, _mm256_loadu_si256((const __m256i *)(x[t] + i)));
        if (!first) v = _mm256_max_epu8(v, _mm256_loadu_si256((const __m256i *)(y + i)));
        _mm256_storeu_si256((__m256i *)(y + i), v);
    }
    for (; i < n; i += 64) { /* in a register: what a mask has stored is loaded slowly */
        const __mmask64 in = n - i < 64 ? (UINT64_C(1) << (n - i)) - 1 : ~UINT64_C(0);
        __m512i v = _mm512_maskz_loadu_epi8(in, x[0] + i);
        for (int t = 1; t < count; t++) v = _mm512_max_epu8(v, _mm512_maskz_loadu_epi8(in, x[t] + i));
        if (!first) v = _mm512_max_epu8(v, _mm512_maskz_loadu_epi8(in, y + i));
        _mm512_mask_storeu_epi8(y + i, in, v);
    }
#else
    if (first) memcpy(y, x[0], (size_t)n);
    for (int t = first ? 1 : 0; t < count; t++)
        for (ptrdiff_t i = 0; i < n; i++) y[i] = x[t][i] > y[i] ? x[t][i] : y[i];
#endif
}

/* Tiles of sums, `pixels` x `vectors`: unrolled, so that none leaves its register before it is done. */
#ifdef __GNUC__
#define UNROLLED _Pragma("GCC unroll 12")
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define UNROLLED
#define ALWAYS_INLINE inline
#endif
/* of each four pixels the largest sums, as the first pixels */
static ALWAYS_INLINE void tile_largest(ints (*acc)[8], int pixels, int vectors)
{
    UNROLLED for (int i = 0; i < pixels / 4; i++) UNROLLED for (int j = 0; j < vectors; j++)
        acc[i][j] = ints_larger(ints_larger(acc[4 * i][j], acc[4 * i + 1][j]),
                                ints_larger(acc[4 * i + 2][j], acc[4 * i + 3][j]));
}
/* to bytes, `count` channels of each vector, or all where vectors are not the widest; of a quarter of the pixels alone,
 * if they are `fewer` */
static ALWAYS_INLINE void tile_to_bytes(ints (*acc)[8], int pixels, int vectors, int fewer, const float *const *terms,
                                        ptrdiff_t apart, float low, float high, ints zero, unsigned char *const *y,
                                        const ptrdiff_t *channel, const int *count)
{
    UNROLLED for (int j = 0; j < vectors; j++) {
        const floats scale = numbers_at(terms[j] + apart), bias = numbers_at(terms[j] + 2 * apart);
        UNROLLED for (int i = 0; i < pixels; i++) {
            if (fewer && i == pixels / 4) break;
            bytes_store(y[i] + channel[j],
                        numbers_rounded(ints_numbers(acc[i][j]) * scale + bias, low, high) + zero,
                        INTS_BYTES == 64 ? count[j] : INTS);
        }
    }
}

/* The same address, but a compiler does not know how it came about: else it holds what the addresses of a tile have in
 * common and adds the rest again for each product. */
static inline const unsigned char *held_address(const unsigned char *p)
{
#ifdef __GNUC__
    __asm__("" : "+r"(p));
#endif
    return p;
}

/* Register tiles, pixels x vectors of channels: as many sums as leave room for the operands in 32 registers, or in 16 with
 * one instruction or several a product, and not more pixels than there are registers for their addresses. */
#if INTS_BYTES == 64 || defined(NEON_DOT)
enum { BYTE_SHAPES = 7, PIX0 = 4, VEC0 = 4, PIX1 = 8, VEC1 = 3, PIX2 = 8, VEC2 = 2, PIX3 = 12, VEC3 = 1,
       PIX4 = 1, VEC4 = 8, PIX5 = 4, VEC5 = 2, PIX6 = 8, VEC6 = 1 };
#elif defined(__AVXVNNI__)
enum { BYTE_SHAPES = 7, PIX0 = 6, VEC0 = 2, PIX1 = 12, VEC1 = 1, PIX2 = 4, VEC2 = 3, PIX3 = 8, VEC3 = 1,
       PIX4 = 1, VEC4 = 8, PIX5 = 4, VEC5 = 2, PIX6 = 4, VEC6 = 1 };
#else
enum { BYTE_SHAPES = 7, PIX0 = 4, VEC0 = 2, PIX1 = 8, VEC1 = 1, PIX2 = 2, VEC2 = 4, PIX3 = 4, VEC3 = 1,
       PIX4 = 1, VEC4 = 8, PIX5 = 3, VEC5 = 2, PIX6 = 2, VEC6 = 2 };
#endif
static const int TILE_PIXELS[BYTE_SHAPES] = {PIX0, PIX1, PIX2, PIX3, PIX4, PIX5, PIX6};
static const int TILE_VECTORS[BYTE_SHAPES] = {VEC0, VEC1, VEC2, VEC3, VEC4, VEC5, VEC6};

/* The tile that covers so many results, of `each` 1 or 4 pixels, and vectors with the least work; fewer than ten sums wait
 * for the last product.  Weights that do not fit the first cache come anew for each tile. */
static inline int best_byte_tile(ptrdiff_t results, int each, ptrdiff_t vectors, ptrdiff_t taps)
{
    ptrdiff_t least = PTRDIFF_MAX;
    int best = 0;
#ifdef __GNUC__
#pragma GCC unroll 8
#endif
    for (int i = 0; i < BYTE_SHAPES; i++) {
        const int P = TILE_PIXELS[i], V = TILE_VECTORS[i], sums = P * V > 10 ? P * V : 10;
        const int far = taps * V * INTS_BYTES > 24576 ? 6 * V : 0;
        const ptrdiff_t work = 2 * sums > far ? 2 * sums : far;
        const ptrdiff_t tiles = P % each ? (results + P - 1) / P * each : (results * each + P - 1) / P;
        const ptrdiff_t cost = tiles * ((vectors + V - 1) / V) * (work + P + V + 2);
        if (cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}
#endif
