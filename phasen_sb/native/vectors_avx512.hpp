// Vectors of AVX-512: 16 values as fp32, stored as fp32 or bf16.
#pragma once

#include <immintrin.h>

namespace phasen {

constexpr int WIDTH = 16;

using Vector = __m512;
using Mask = __mmask16;
constexpr Mask ALL = 0xFFFF;

// The first places of a vector.
inline Mask first(int64_t count) {
  return count >= WIDTH ? ALL : (1u << (count < 0 ? 0 : count)) - 1;
}

inline Vector zeros() { return _mm512_setzero_ps(); }
inline Vector set(float x) { return _mm512_set1_ps(x); }

inline Vector load(const float* p, Mask mask = ALL) {
  return _mm512_maskz_loadu_ps(mask, p);
}

inline Vector load(const bf16* p, Mask mask = ALL) {
  const __m256i half = _mm256_maskz_loadu_epi16(mask, p);
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

inline void store(float* p, Vector x, Mask mask = ALL) {
  _mm512_mask_storeu_ps(p, mask, x);
}

inline void store(bf16* p, Vector x, Mask mask = ALL) {
  _mm256_mask_storeu_epi16(p, mask, (__m256i)_mm512_cvtneps_pbh(x));
}

// Stores two rows as pairs of adjacent values.
inline void store_pairs(bf16* p, const bf16* row, Mask mask,
                        const bf16* next_row, Mask next_mask) {
  const __m256i one = _mm256_maskz_loadu_epi16(mask, row);
  const __m256i two = _mm256_maskz_loadu_epi16(next_mask, next_row);
  _mm512_storeu_si512(
      p, _mm512_or_si512(_mm512_cvtepu16_epi32(one),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(two), 16)));
}

// A value, or a pair of bf16, in each place.
template <typename T>
Vector repeat(const T* p) {
  std::int32_t bits;
  std::memcpy(&bits, p, 4);
  return _mm512_castsi512_ps(_mm512_set1_epi32(bits));
}

// Values, or pairs of bf16.
template <typename T>
Vector load_operand(const T* p) {
  return _mm512_loadu_ps(p);
}

// x * y + sum, of pairs in bf16.
template <typename T = float>
Vector multiply_add(Vector x, Vector y, Vector sum) {
  if constexpr (PAIR<T> == 2)
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
  else
    return _mm512_fmadd_ps(x, y, sum);
}

// sum - x * y.
inline Vector subtract_product(Vector sum, Vector x, Vector y) {
  return _mm512_fnmadd_ps(x, y, sum);
}

// These comparisons return the second operand where one is NaN.
inline Vector larger(Vector x, Vector y) { return _mm512_max_ps(x, y); }
inline Vector smaller(Vector x, Vector y) { return _mm512_min_ps(x, y); }

// x where z > 0, and where z is NaN; zero elsewhere.
inline Vector where_positive(Vector z, Vector x) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(z, zeros(), _CMP_NLE_UQ), x);
}

inline Vector nearest(Vector x) {
  return _mm512_roundscale_ps(x,
                              _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// x * 2^n of a whole n.
inline Vector times_power_of_two(Vector x, Vector n) {
  return _mm512_scalef_ps(x, n);
}

// 1 / x of a finite x of at least 1; for bf16, to 14 bits.
template <typename T>
Vector reciprocal(Vector x) {
  const Vector y = _mm512_rcp14_ps(x);
  if constexpr (PAIR<T> == 2) return y;
  // Newton's step doubles the bits, faster than a division.
  return y * subtract_product(set(2), x, y);
}

inline float sum_of(Vector x) { return _mm512_reduce_add_ps(x); }

// The first bytes of a vector.
inline __mmask64 first_bytes(int64_t count) {
  return count >= 64 ? ~0ull : (1ull << count) - 1;
}

// Rounds values to 24-bit floats, the upper three bytes of fp32.
inline void to_float24(const float* x, char* y, int64_t count) {
  const __m512i upper = _mm512_broadcast_i32x4(_mm_setr_epi8(
      1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, -1, -1, -1, -1));
  const __m512i together = _mm512_setr_epi32(
      0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
  const __m512i half = _mm512_set1_epi32(128);
  for (; count > 0; count -= WIDTH, x += WIDTH, y += 3 * WIDTH) {
    __m512i v = _mm512_castps_si512(load(x, first(count)));
    v = _mm512_shuffle_epi8(_mm512_add_epi32(v, half), upper);
    v = _mm512_permutexvar_epi32(together, v);
    const int64_t values = count < WIDTH ? count : WIDTH;
    _mm512_mask_storeu_epi8(y, first_bytes(3 * values), v);
  }
}

// 24-bit floats to fp32.
inline void from_float24(const char* x, float* y, int64_t count) {
  const __m512i apart = _mm512_setr_epi32(
      0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10, 11, 0);
  const __m512i upper = _mm512_broadcast_i32x4(_mm_setr_epi8(
      -1, 0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11));
  for (; count > 0; count -= WIDTH, x += 3 * WIDTH, y += WIDTH) {
    const int64_t values = count < WIDTH ? count : WIDTH;
    __m512i v = _mm512_maskz_loadu_epi8(first_bytes(3 * values), x);
    v = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(apart, v), upper);
    store(y, _mm512_castsi512_ps(v), first(values));
  }
}

}  // namespace phasen
