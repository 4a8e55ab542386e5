// The frequency transformation block of a tile [bins, frames, channels].
//
// A few frames at a time, so that their product with the transform stays in
// the first-level cache until the joining convolution has read it.
#pragma once

#include <vector>

#include "convolution.hpp"

namespace phasen {

template <typename T>
struct Transform {
  const T* x;  // readable up to the next multiple of 16 bins
  int64_t x_bin;
  const T* shares;  // of the attention, [frames + taps - 1, taps, weights]
  int64_t taps;
  const float* attention_bias;
  float attention_limit;
  bool per_bin;  // whether it weighs bins, not channels
  const T* transform;  // [padded bins, transform_row], zero where padded
  int64_t transform_row;
  const T* mix;        // [padded channels, padded outputs], see engines.hpp
  const T* keep;       // like mix
  const float* bias;
  T* y;
  int64_t y_bin;
  int64_t bins, frames, channels;
};

// Computes the attention weights of a frame's channels or bins from the shares
// of the frames around it.
template <typename T>
void attend(const Transform<T>& t, int64_t frame, float* attention) {
  const int64_t weights = t.per_bin ? t.bins : t.channels;
  const Vector limit = set(t.attention_limit);
  for (int64_t n = 0; n < weights; n += WIDTH) {
    const Mask mask = first(weights - n);
    Vector sum = load(t.attention_bias + n, mask);
    for (int64_t tap = 0; tap < t.taps; tap++) {
      const int64_t at = ((frame + tap) * t.taps + tap) * weights + n;
      sum = sum + load(t.shares + at, mask);
    }
    store(attention + n, smaller(limit, relu(sum)), mask);
  }
}

// The product's right side [depth, columns], as engines want it.
template <typename T>
void fill_panel(const Transform<T>& t, int64_t frame, int64_t frames,
                int64_t columns, int64_t depth, T* panel) {
  const int64_t count = frames * t.channels;
  const T* x = t.x + frame * t.channels;
  for (int64_t k = 0; k < depth; k += PAIR<T>)
    for (int64_t n = 0; n < columns; n += WIDTH) {
      const Mask mask = k < t.bins ? first(count - n) : 0;
      if constexpr (PAIR<T> == 2) {
        const Mask next = k + 1 < t.bins ? mask : 0;
        const T* row = x + k * t.x_bin + n;
        store_pairs(panel + k * columns + 2 * n, row, mask, row + t.x_bin,
                    next);
      } else {
        store(panel + k * columns + n, load(x + k * t.x_bin + n, mask));
      }
    }
}

// The same, of values that are weighed by their bin's attention.
template <typename T>
void fill_weighed_panel(const Transform<T>& t, int64_t frame, int64_t frames,
                        int64_t columns, int64_t depth, T* panel) {
  std::vector<float> attention(t.bins);
  std::vector<T> weighed(t.bins * columns);
  for (int64_t f = 0; f < frames; f++) {
    attend(t, frame + f, attention.data());
    for (int64_t bin = 0; bin < t.bins; bin++) {
      const T* x = t.x + bin * t.x_bin + (frame + f) * t.channels;
      T* y = weighed.data() + bin * columns + f * t.channels;
      const Vector weight = set(attention[bin]);
      for (int64_t c = 0; c < t.channels; c += WIDTH) {
        const Mask mask = first(t.channels - c);
        store(y + c, load(x + c, mask) * weight, mask);
      }
    }
  }
  Transform<T> of_weighed = t;
  of_weighed.x = weighed.data();
  of_weighed.x_bin = columns;
  fill_panel(of_weighed, 0, frames, columns, depth, panel);
}

template <class Engine>
void transform(const Transform<typename Engine::Value>& t) {
  using T = typename Engine::Value;
  const int64_t channels = t.channels;
  const int64_t together =
      channels < MOST_COLUMNS ? MOST_COLUMNS / channels : 1;
  const int64_t panels = (t.frames + together - 1) / together;
  const int64_t columns = padded(together * channels, LINE);
  const int64_t outputs = padded(channels, LINE);
  const int64_t rows = padded(t.bins, 16);
  const int64_t depth = padded(t.bins, Engine::GRAIN);
  const int64_t joined = padded(channels, Engine::GRAIN);
  Engine::begin();
  alignas(64) float out[MOST_ROWS * MOST_COLUMNS];
  std::vector<T> panel(depth * columns), mixed(rows * columns + 64);
  std::vector<float> weights(columns, 1.f);
  for (int64_t index = 0; index < panels; index++) {
    const int64_t frame = index * together;
    const int64_t left = t.frames - frame;
    const int64_t frames = left < together ? left : together;
    if (t.per_bin) {
      fill_weighed_panel(t, frame, frames, columns, depth, panel.data());
    } else {
      fill_panel(t, frame, frames, columns, depth, panel.data());
      for (int64_t f = 0; f < frames; f++)
        attend(t, frame + f, weights.data() + f * channels);
    }
    for (int64_t n = 0, width; n < columns; n += width) {
      width = Engine::columns(columns - n);
      for (int64_t row = 0, count; row < t.bins; row += count) {
        count = Engine::rows(t.bins - row, width);
        const Tap<T> tap = {t.transform + row * t.transform_row,
                            t.transform_row,
                            panel.data() + n * PAIR<T>};
        Engine::block(&tap, 1, {depth, 0}, columns, n, width, count, out);
        for (int r = 0; r < count; r++)
          for (int64_t c = 0; c < width; c += WIDTH)
            store(mixed.data() + (row + r) * columns + n + c,
                  load(out + r * MOST_COLUMNS + c) *
                      load(weights.data() + n + c));
      }
    }
    for (int64_t f = 0; f < frames; f++)
      for (int64_t n = 0, width; n < channels; n += width) {
        width = Engine::columns(channels - n);
        const int64_t end = std::min(n + width, channels);
        for (int64_t row = 0, count; row < t.bins; row += count) {
          count = Engine::rows(t.bins - row, width);
          const Tap<T> taps[2] = {
              {mixed.data() + row * columns + f * channels, columns,
               t.mix + n * PAIR<T>},
              {t.x + row * t.x_bin + (frame + f) * channels, t.x_bin,
               t.keep + n * PAIR<T>}};
          Engine::block(taps, 2, {joined, 0}, outputs, n, width, count, out);
          for (int64_t at = n; at < end; at += WIDTH) {
            const Mask mask = first(end - at);
            const Vector bias = load(t.bias + at, mask);
            for (int r = 0; r < count && row + r < t.bins; r++)
              store(t.y + (row + r) * t.y_bin + (frame + f) * channels + at,
                    relu(load(out + r * MOST_COLUMNS + at - n) + bias), mask);
          }
        }
      }
  }
  Engine::end();
}

}  // namespace phasen
