// Sixteen values at a time, as fp32, whatever they are stored as.
#pragma once

#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include <initializer_list>

namespace phasen {

using bf16 = std::uint16_t;
using std::int64_t;

constexpr int WIDTH = 16;

// Adjacent values of k in a product's right side.
template <typename T>
constexpr int PAIR = 4 / sizeof(T);

inline int64_t padded(int64_t count, int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

inline __mmask16 first(int64_t count) {
  return count >= WIDTH ? 0xFFFF : (1u << (count < 0 ? 0 : count)) - 1;
}

inline __m512 load(const float* p, __mmask16 mask = 0xFFFF) {
  return _mm512_maskz_loadu_ps(mask, p);
}

inline __m512 load(const bf16* p, __mmask16 mask = 0xFFFF) {
  const __m256i half = _mm256_maskz_loadu_epi16(mask, p);
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

inline void store(float* p, __m512 x, __mmask16 mask = 0xFFFF) {
  _mm512_mask_storeu_ps(p, mask, x);
}

inline void store(bf16* p, __m512 x, __mmask16 mask = 0xFFFF) {
  _mm256_mask_storeu_epi16(p, mask, (__m256i)_mm512_cvtneps_pbh(x));
}

// A value, or a pair of bf16, in each place.
template <typename T>
__m512 repeat(const T* p) {
  std::int32_t bits;
  std::memcpy(&bits, p, 4);
  return _mm512_castsi512_ps(_mm512_set1_epi32(bits));
}

// sum + x * y, of pairs in bf16.
template <typename T>
__m512 multiply_add(__m512 x, __m512 y, __m512 sum) {
  if constexpr (PAIR<T> == 2)
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
  else
    return _mm512_fmadd_ps(x, y, sum);
}

// These comparisons return the second operand where one is NaN.
inline __m512 relu(__m512 x) { return _mm512_max_ps(_mm512_setzero_ps(), x); }

// exp(x), of a relative error below 3e-7 where x is not clamped.
inline __m512 exponential(__m512 x) {
  x = _mm512_min_ps(_mm512_set1_ps(88), x);
  x = _mm512_max_ps(_mm512_set1_ps(-87), x);
  const __m512 n = _mm512_roundscale_ps(
      _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
      _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts: n times the first is exact.
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 y = _mm512_set1_ps(1 / 720.f);
  for (const float c : {1 / 120.f, 1 / 24.f, 1 / 6.f, 0.5f, 1.f, 1.f})
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(c));
  return _mm512_scalef_ps(y, n);
}

// 1 / x of a finite x of at least 1; for bf16, to 14 bits.
template <typename T>
__m512 reciprocal(__m512 x) {
  const __m512 y = _mm512_rcp14_ps(x);
  if constexpr (PAIR<T> == 2) return y;
  // Newton's step doubles the bits, faster than a division.
  return _mm512_mul_ps(y, _mm512_fnmadd_ps(x, y, _mm512_set1_ps(2)));
}

template <typename T>
__m512 sigmoid(__m512 x) {
  const __m512 e = exponential(_mm512_sub_ps(_mm512_setzero_ps(), x));
  return reciprocal<T>(_mm512_add_ps(_mm512_set1_ps(1), e));
}

// Its absolute error is that of the precision, its relative error is not.
template <typename T>
__m512 hyperbolic_tangent(__m512 x) {
  const __m512 s = sigmoid<T>(_mm512_add_ps(x, x));
  return _mm512_fmsub_ps(s, _mm512_set1_ps(2), _mm512_set1_ps(1));
}

}  // namespace phasen
