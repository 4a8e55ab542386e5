// Norms of a tile [bins, frames, channels].
#pragma once

#include <cmath>
#include <vector>

#include "values.hpp"

namespace phasen {

template <typename T>
struct Norm {
  const T* x;
  int64_t x_bin;
  T* y;
  int64_t y_bin;
  int64_t bins, frames, channels;
  const float* scale;  // [channels]
  const float* shift;
};

// y = x * scale + shift
template <typename T>
void affine(const Norm<T>& t) {
  const int64_t count = t.frames * t.channels;
  std::vector<float> scale(count), shift(count);
  for (int64_t n = 0; n < count; n++) {
    scale[n] = t.scale[n % t.channels];
    shift[n] = t.shift[n % t.channels];
  }
  for (int64_t bin = 0; bin < t.bins; bin++)
    for (int64_t n = 0; n < count; n += WIDTH) {
      const Mask mask = first(count - n);
      store(t.y + bin * t.y_bin + n,
            multiply_add(load(t.x + bin * t.x_bin + n, mask),
                         load(scale.data() + n, mask),
                         load(shift.data() + n, mask)),
            mask);
    }
}

// Each frame over its bins and channels, 16 frames at a time.
template <typename T>
void frame_norm(const Norm<T>& t, float eps) {
  constexpr int64_t TOGETHER = 16;
  const int64_t channels = t.channels;
  std::vector<float> sum(TOGETHER * channels), scale(TOGETHER * channels),
      shift(TOGETHER * channels);
  for (int64_t frame = 0; frame < t.frames; frame += TOGETHER) {
    const int64_t left = t.frames - frame;
    const int64_t frames = left < TOGETHER ? left : TOGETHER;
    const int64_t count = frames * channels;
    const T* x = t.x + frame * channels;
    T* y = t.y + frame * channels;
    float mean[TOGETHER], deviation[TOGETHER];
    const auto over_bins = [&](bool squares) {
      for (int64_t n = 0; n < count; n += WIDTH) {
        const Mask mask = first(count - n);
        const Vector center =
            squares ? load(shift.data() + n, mask) : zeros();
        Vector total = zeros();
        for (int64_t bin = 0; bin < t.bins; bin++) {
          const Vector d = load(x + bin * t.x_bin + n, mask) - center;
          total = squares ? multiply_add(d, d, total) : total + d;
        }
        store(sum.data() + n, total, mask);
      }
    };
    const auto over_channels = [&](float* result) {
      for (int64_t f = 0; f < frames; f++) {
        double total = 0;
        for (int64_t c = 0; c < channels; c++)
          total += sum[f * channels + c];
        result[f] = total / (t.bins * channels);
      }
    };
    over_bins(false);
    over_channels(mean);
    for (int64_t n = 0; n < count; n++) shift[n] = mean[n / channels];
    over_bins(true);
    over_channels(deviation);
    for (int64_t n = 0; n < count; n++) {
      const int64_t f = n / channels, c = n % channels;
      scale[n] = t.scale[c] / std::sqrt(deviation[f] + eps);
      shift[n] = t.shift[c] - mean[f] * scale[n];
    }
    for (int64_t bin = 0; bin < t.bins; bin++)
      for (int64_t n = 0; n < count; n += WIDTH) {
        const Mask mask = first(count - n);
        store(y + bin * t.y_bin + n,
              multiply_add(load(x + bin * t.x_bin + n, mask),
                           load(scale.data() + n, mask),
                           load(shift.data() + n, mask)),
              mask);
      }
  }
}

// Sum and sum of squares of all values.
template <typename T>
void moments(const Norm<T>& t, double* result) {
  const int64_t count = t.frames * t.channels;
  double total = 0, squares = 0;
  for (int64_t bin = 0; bin < t.bins; bin++) {
    Vector sum = zeros(), square = zeros();
    for (int64_t n = 0; n < count; n += WIDTH) {
      const Vector x = load(t.x + bin * t.x_bin + n, first(count - n));
      sum = sum + x;
      square = multiply_add(x, x, square);
    }
    total += sum_of(sum);
    squares += sum_of(square);
  }
  result[0] = total;
  result[1] = squares;
}

}  // namespace phasen
