// Copies of tiles [bins, values], each bin by the thread that computes it.
//
// Reading what another core has written costs more than the copy itself. Some
// copies convert between fp32 and 24-bit floats, its upper three bytes.
#pragma once

#include <cstring>

#include "values.hpp"

namespace phasen {

struct Copy {
  const char* x;  // null: zeros
  int64_t x_bin;
  char* y;
  int64_t y_bin;
  int64_t bins, bytes;  // bytes of y
};

inline void copy(const Copy& t, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t bin = 0; bin < t.bins; bin++)
    if (t.x)
      std::memcpy(t.y + bin * t.y_bin, t.x + bin * t.x_bin, t.bytes);
    else
      std::memset(t.y + bin * t.y_bin, 0, t.bytes);
}

// The first bytes of a vector.
inline __mmask64 first_bytes(int64_t count) {
  return count >= 64 ? ~0ull : (1ull << count) - 1;
}

// Rounds fp32 to 24-bit floats.
inline void to_float24(const Copy& t, int threads) {
  const __m512i upper = _mm512_broadcast_i32x4(_mm_setr_epi8(
      1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, -1, -1, -1, -1));
  const __m512i together = _mm512_setr_epi32(
      0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
  const __m512i half = _mm512_set1_epi32(128);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t bin = 0; bin < t.bins; bin++) {
    const float* x = (const float*)(t.x + bin * t.x_bin);
    char* y = t.y + bin * t.y_bin;
    for (int64_t left = t.bytes; left > 0; left -= 48, x += WIDTH, y += 48) {
      __m512i v = _mm512_castps_si512(load(x, first(left / 3)));
      v = _mm512_shuffle_epi8(_mm512_add_epi32(v, half), upper);
      v = _mm512_permutexvar_epi32(together, v);
      _mm512_mask_storeu_epi8(y, first_bytes(left < 48 ? left : 48), v);
    }
  }
}

// 24-bit floats to fp32.
inline void from_float24(const Copy& t, int threads) {
  const __m512i apart = _mm512_setr_epi32(
      0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10, 11, 0);
  const __m512i upper = _mm512_broadcast_i32x4(_mm_setr_epi8(
      -1, 0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11));
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t bin = 0; bin < t.bins; bin++) {
    const char* x = t.x + bin * t.x_bin;
    float* y = (float*)(t.y + bin * t.y_bin);
    for (int64_t left = t.bytes / 4; left > 0; left -= WIDTH) {
      const int64_t count = left < WIDTH ? left : WIDTH;
      __m512i v = _mm512_maskz_loadu_epi8(first_bytes(3 * count), x);
      v = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(apart, v), upper);
      store(y, _mm512_castsi512_ps(v), first(count));
      x += 48, y += WIDTH;
    }
  }
}

}  // namespace phasen
