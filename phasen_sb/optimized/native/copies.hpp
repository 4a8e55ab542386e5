// Copies of tiles [bins, values], each bin by the thread that computes it.
//
// Values that another core has written cost more than the copy itself.
#pragma once

#include <cstring>

#include "values.hpp"

namespace phasen {

struct Copy {
  const char* x;  // nothing: zeros
  int64_t x_bin;
  char* y;
  int64_t y_bin;
  int64_t bins, bytes;
};

inline void copy(const Copy& t, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t bin = 0; bin < t.bins; bin++)
    if (t.x)
      std::memcpy(t.y + bin * t.y_bin, t.x + bin * t.x_bin, t.bytes);
    else
      std::memset(t.y + bin * t.y_bin, 0, t.bytes);
}

}  // namespace phasen
