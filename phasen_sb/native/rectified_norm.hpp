// Batch norm and ReLU in training, of rows of channels.
//
// Memory limits their speed: the input is read twice, and twice for gradients.
// Rows are read in periods, as many as make whole vectors, so that any number
// of channels fills them. Sums are those of blocks in fp32, and of all blocks
// in fp64.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "threads.hpp"
#include "values.hpp"

namespace phasen {

template <typename T>
struct RectifiedNorm {
  const T* x;     // [rows, channels]
  const T* grad;  // of the output, [rows, channels]
  T* y;           // [rows, channels]: the output, or the gradient of x
  int64_t rows, channels;
  int64_t threads;
  // [channels], of which the output is max(0, x * scale + shift).
  const float* scale;
  const float* shift;
  // [channels], of which the gradient of x is scale * grad where the output is
  // positive, + slope * (x - mean) + constant.
  const float* mean;
  const float* slope;
  const float* constant;
};

// Values whose sums are in fp32.
constexpr int64_t BLOCK = 4096;

// Count, mean and sum of squared differences from it.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  // Chan, Golub and LeVeque (1979).
  void add(const Moments& other) {
    if (other.count == 0) return;
    const double total = count + other.count;
    const double apart = other.mean - mean;
    mean += apart * other.count / total;
    squares += other.squares + apart * apart * count * other.count / total;
    count = total;
  }
};

inline int64_t find_period(int64_t channels) {
  return std::lcm(channels, int64_t(LINE));
}

// Values of channels, repeated over a period.
inline std::vector<float> repeat_channels(const float* values,
                                          int64_t channels) {
  std::vector<float> out(find_period(channels));
  for (size_t n = 0; n < out.size(); n++) out[n] = values[n % channels];
  return out;
}

// Calls for the blocks of rows with their first value, the number of values in
// a period and of periods. The last rows may make a shorter period.
template <class Work>
inline void each_block(int64_t from, int64_t to, int64_t channels,
                       const Work& work) {
  const int64_t period = find_period(channels), rows = period / channels;
  const int64_t most = std::max<int64_t>(BLOCK / period, 1);
  while (to - from >= rows) {
    const int64_t count = std::min((to - from) / rows, most);
    work(from * channels, period, count);
    from += count * rows;
  }
  if (from < to) work(from * channels, (to - from) * channels, 1);
}

// The moments of each channel.
template <typename T>
void find_moments(const RectifiedNorm<T>& t, Moments* result) {
  const int64_t longest = find_period(t.channels);
  std::vector<Moments> all(t.threads * longest);
  divide(t.rows, t.threads, [&](int64_t thread, int64_t from, int64_t to) {
    Moments* places = all.data() + thread * longest;
    std::vector<float> mean(longest), squares(longest);
    each_block(from, to, t.channels, [&](int64_t start, int64_t period,
                                         int64_t count) {
      std::fill(mean.begin(), mean.end(), 0.f);
      std::fill(squares.begin(), squares.end(), 0.f);
      const T* x = t.x + start;
      for (int64_t i = 0; i < count; i++)
        each_vector(period, [&](int64_t p, auto mask) {
          store(&mean[p], load(&mean[p]) + load(x + i * period + p, mask));
        });
      for (float& value : mean) value /= count;
      for (int64_t i = 0; i < count; i++)
        each_vector(period, [&](int64_t p, auto mask) {
          const Vector d = load(x + i * period + p, mask) - load(&mean[p]);
          store(&squares[p], multiply_add(d, d, load(&squares[p])));
        });
      for (int64_t p = 0; p < period; p++)
        places[p].add({double(count), mean[p], squares[p]});
    });
  });
  for (size_t n = 0; n < all.size(); n++)
    result[n % longest % t.channels].add(all[n]);
}

template <typename T>
void normalize_and_rectify(const RectifiedNorm<T>& t) {
  const auto scale = repeat_channels(t.scale, t.channels);
  const auto shift = repeat_channels(t.shift, t.channels);
  divide(t.rows, t.threads, [&](int64_t, int64_t from, int64_t to) {
    each_block(from, to, t.channels, [&](int64_t start, int64_t period,
                                         int64_t count) {
      for (int64_t i = 0; i < count; i++, start += period)
        each_vector(period, [&](int64_t p, auto mask) {
          const Vector z = multiply_add(load(t.x + start + p, mask),
                                        load(&scale[p]), load(&shift[p]));
          store(t.y + start + p, relu(z), mask);
        });
    });
  });
}

// Of each channel, the sums of the gradient where the output is positive, and
// of it times x - mean: [2, channels].
template <typename T>
void sum_up_gradients(const RectifiedNorm<T>& t, double* result) {
  const auto scale = repeat_channels(t.scale, t.channels);
  const auto shift = repeat_channels(t.shift, t.channels);
  const auto mean = repeat_channels(t.mean, t.channels);
  const int64_t longest = find_period(t.channels);
  std::vector<double> all(t.threads * 2 * longest);
  divide(t.rows, t.threads, [&](int64_t thread, int64_t from, int64_t to) {
    double* totals = all.data() + thread * 2 * longest;
    std::vector<float> sum(longest), product(longest);
    each_block(from, to, t.channels, [&](int64_t start, int64_t period,
                                         int64_t count) {
      std::fill(sum.begin(), sum.end(), 0.f);
      std::fill(product.begin(), product.end(), 0.f);
      for (int64_t i = 0; i < count; i++, start += period)
        each_vector(period, [&](int64_t p, auto mask) {
          const Vector x = load(t.x + start + p, mask);
          const Vector passed = where_positive(
              multiply_add(x, load(&scale[p]), load(&shift[p])),
              load(t.grad + start + p, mask));
          store(&sum[p], load(&sum[p]) + passed);
          store(&product[p], multiply_add(passed, x - load(&mean[p]),
                                          load(&product[p])));
        });
      for (int64_t p = 0; p < period; p++) {
        totals[p] += sum[p];
        totals[longest + p] += product[p];
      }
    });
  });
  for (size_t n = 0; n < all.size(); n++)
    result[n / longest % 2 * t.channels + n % longest % t.channels] += all[n];
}

template <typename T>
void differentiate(const RectifiedNorm<T>& t) {
  const auto scales = repeat_channels(t.scale, t.channels);
  const auto shifts = repeat_channels(t.shift, t.channels);
  const auto means = repeat_channels(t.mean, t.channels);
  const auto slopes = repeat_channels(t.slope, t.channels);
  const auto constants = repeat_channels(t.constant, t.channels);
  divide(t.rows, t.threads, [&](int64_t, int64_t from, int64_t to) {
    each_block(from, to, t.channels, [&](int64_t start, int64_t period,
                                         int64_t count) {
      for (int64_t i = 0; i < count; i++, start += period)
        each_vector(period, [&](int64_t p, auto mask) {
          const Vector x = load(t.x + start + p, mask);
          const Vector scale = load(&scales[p]);
          const Vector passed =
              where_positive(multiply_add(x, scale, load(&shifts[p])),
                             load(t.grad + start + p, mask));
          const Vector through = multiply_add(
              load(&slopes[p]), x - load(&means[p]), load(&constants[p]));
          store(t.y + start + p, multiply_add(scale, passed, through), mask);
        });
    });
  });
}

}  // namespace phasen
