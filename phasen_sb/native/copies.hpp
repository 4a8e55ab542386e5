// Copies of tiles [bins, values].
//
// Some convert between fp32 and 24-bit floats, its upper three bytes.
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

inline void copy(const Copy& t) {
  for (int64_t bin = 0; bin < t.bins; bin++)
    if (t.x)
      std::memcpy(t.y + bin * t.y_bin, t.x + bin * t.x_bin, t.bytes);
    else
      std::memset(t.y + bin * t.y_bin, 0, t.bytes);
}

// Rounds fp32 to 24-bit floats.
inline void to_float24(const Copy& t) {
  for (int64_t bin = 0; bin < t.bins; bin++)
    to_float24((const float*)(t.x + bin * t.x_bin), t.y + bin * t.y_bin,
               t.bytes / 3);
}

// 24-bit floats to fp32.
inline void from_float24(const Copy& t) {
  for (int64_t bin = 0; bin < t.bins; bin++)
    from_float24(t.x + bin * t.x_bin, (float*)(t.y + bin * t.y_bin),
                 t.bytes / 4);
}

}  // namespace phasen
