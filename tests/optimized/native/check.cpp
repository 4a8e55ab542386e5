// Checks each kernel against plain loops, for CPUs that Python does not run on
// here: it is compiled for them and run by an emulator. Prints the name of each
// kernel and the largest difference; fails if one is too large.
#include "../../../phasen_sb/native/kernels.cpp"

#include <cmath>
#include <cstdio>
#include <functional>

namespace {

// Behind the values there are some that kernels may read.
struct Values : std::vector<float> {
  explicit Values(int64_t count, float scale = 1)
      : std::vector<float>(count + 4096) {
    static std::uint32_t state = 1;
    for (float& x : *this) {
      state = state * 1664525u + 1013904223u;
      x = scale * ((state >> 8) / 8388608.f - 1);
    }
  }
};

int failures = 0;

void expect(const char* name, int64_t count,
            const std::function<double(int64_t)>& difference) {
  double worst = 0;
  for (int64_t i = 0; i < count; i++) {
    const double d = std::fabs(difference(i));
    worst = d <= worst ? worst : d;  // NaN stays
  }
  std::printf("%s %.1e\n", name, worst);
  if (!(worst < 1e-4)) failures++;
}

double sigma(double x) { return 1 / (1 + std::exp(-x)); }

// Rows of `packed` frames; the kernel reaches over `kernel_bins` bins.
void check_convolution(int outputs, int64_t rows, After after) {
  const int64_t bins = 7, depth = 30, row = 10, kernel_bins = 3;
  const int64_t columns = padded(outputs, LINE), taps = kernel_bins;
  const Values x(bins * (rows + 2) * row), bias(outputs),
      gated(bins * rows * outputs), added(bins * rows * outputs);
  Values weight(taps * depth * columns, 0.2f), y(bins * rows * outputs);
  // The edges that kernels skip must be zero.
  const int64_t edge = columns == 48 ? 4 : 0;
  for (int64_t i = 0; i < taps * depth * columns; i++) {
    const int64_t k = i / columns % depth, column = i % columns;
    if (column >= outputs || (k < edge && column >= 32) ||
        (k >= depth - edge && column < 16))
      weight[i] = 0;
  }
  const int64_t x_bin = (rows + 2) * row, y_bin = rows * outputs;
  const Convolution<float> c = {
      x.data(),     x_bin,   row,          weight.data(), kernel_bins,
      {depth, edge}, outputs, bias.data(),  y.data(),      y_bin,
      outputs,      bins,    rows,         after,         gated.data(),
      y_bin,        outputs, added.data(), y_bin,         outputs};
  phasen_convolve(FP32, &c);
  expect("convolve", bins * rows * outputs, [&](int64_t i) {
    const int64_t bin = i / y_bin, at = i / outputs % rows, o = i % outputs;
    double sum = bias[o];
    for (int64_t tap = 0; tap < taps; tap++) {
      const int64_t from = bin + tap - 1;
      if (from < 0 || from >= bins) continue;
      for (int64_t k = 0; k < depth; k++)
        sum += (double)x[from * x_bin + at * row + k] *
               weight[(tap * depth + k) * columns + o];
    }
    if (after == RELU) sum = std::max(sum, 0.);
    if (after == GATE) sum = std::tanh(sum) * gated[i];
    return y[i] - sum - added[i];
  });
}

// What a tap contributes to the value of a kernel at a point.
double evaluation(int p, int64_t tap, int64_t taps) {
  const double points[] = {0, 1, -1, 2, -2, 0.5, -0.5};
  if (p == POINTS - 1) return tap == taps - 1;  // at infinity
  double factor = 1;
  for (int q = 1; points[p] != 0 && q < POINTS - 1; q += 2)
    if (points[q] != std::fabs(points[p]))
      factor *= points[p] * points[p] - points[q] * points[q];
  if (points[p] != 0) factor *= 2 * points[p] * points[p];
  return std::pow(points[p], tap) / factor;
}

void check_winograd(int64_t fives, int64_t channels, int64_t outputs) {
  const int64_t bins = 41, rows = 8, taps = TAPS * fives, kernel_bins = 3;
  const int64_t frames = rows + taps - 1, columns = padded(outputs, LINE);
  const int64_t depth = kernel_bins * channels;
  const Values x(bins * frames * channels), bias(outputs),
      kernel(taps * depth * outputs, 0.2f);
  Values weight(POINTS * fives * depth * columns, 0), y(bins * rows * outputs);
  for (int p = 0; p < POINTS; p++)
    for (int64_t i = 0; i < taps * depth * outputs; i++) {
      const int64_t tap = i / outputs / depth, k = i / outputs % depth;
      weight[((p * fives + tap / TAPS) * depth + k) * columns + i % outputs] +=
          evaluation(p, tap % TAPS, TAPS) * kernel[i];
    }
  const int64_t x_bin = frames * channels, y_bin = rows * outputs;
  const Winograd w = {{x.data(), x_bin, channels, weight.data(), kernel_bins,
                       {depth, 0}, outputs, bias.data(), y.data(), y_bin,
                       outputs, bins, rows, NOTHING, nullptr, 0, 0, nullptr, 0,
                       0},
                      fives, 1, channels};
  phasen_convolve_winograd(FP32, &w);
  expect("winograd", bins * rows * outputs, [&](int64_t i) {
    const int64_t bin = i / y_bin, frame = i / outputs % rows, o = i % outputs;
    double sum = bias[o];
    for (int64_t tap = 0; tap < taps; tap++)
      for (int64_t k = 0; k < depth; k++) {
        const int64_t from = bin + k / channels - 1;
        if (from >= 0 && from < bins)
          sum += (double)x[from * x_bin + (frame + tap) * channels +
                           k % channels] *
                 kernel[(tap * depth + k) * outputs + o];
      }
    return y[i] - sum;
  });
}

// Convolutions of 5 x 5 in training.
void check_filtering(int64_t inputs, int64_t outputs, int64_t threads,
                     int64_t past) {
  const int64_t batch = 2, bins = 11, frames = 50, taps = TAPS * TAPS;
  const int64_t columns = padded(outputs, LINE), rows = padded(inputs, LINE);
  const int64_t each = POINTS_2D * rows * columns;
  Values x(batch * bins * frames * inputs), y(batch * bins * frames * outputs);
  Values kernel(taps * inputs * outputs, 0.1f), bias(columns);
  Values weight(POINTS_2D * inputs * columns, 0);
  const auto share = [](int point, int64_t tap) {
    return evaluation(point / POINTS, tap / TAPS, TAPS) *
           evaluation(point % POINTS, tap % TAPS, TAPS);
  };
  for (int point = 0; point < POINTS_2D; point++)
    for (int64_t i = 0; i < taps * inputs * outputs; i++)
      weight[(point * inputs + i / outputs % inputs) * columns + i % outputs] +=
          share(point, i / outputs / inputs) * kernel[i];
  Filtering f = {x.data(), y.data(), weight.data(), bias.data(), batch, bins,
                 frames, inputs, outputs, past, threads};
  phasen_filter(FP32, &f);
  // Calls with the input's index at each tap of an output.
  const auto each_tap = [&](int64_t at, auto use) {
    const int64_t bin = at / frames % bins, frame = at % frames;
    for (int64_t tap = 0; tap < taps; tap++) {
      const int64_t b = bin + tap / TAPS - TAPS / 2;
      const int64_t t = frame + tap % TAPS - past;
      if (b >= 0 && b < bins && t >= 0 && t < frames)
        use(tap, at + (b - bin) * frames + t - frame);
    }
  };
  expect("filter", batch * bins * frames * outputs, [&](int64_t i) {
    double sum = bias[i % outputs];
    each_tap(i / outputs, [&](int64_t tap, int64_t from) {
      for (int64_t k = 0; k < inputs; k++)
        sum += (double)x[from * inputs + k] *
               kernel[(tap * inputs + k) * outputs + i % outputs];
    });
    return y[i] - sum;
  });
  Values grad(threads * each, 0), of_bias(threads * columns, 0);
  f.weight = grad.data();
  f.bias = of_bias.data();
  phasen_differentiate(FP32, &f);
  std::vector<double> expected(taps * inputs * outputs), sums(outputs);
  for (int64_t i = 0; i < batch * bins * frames * outputs; i++) {
    sums[i % outputs] += y[i];
    each_tap(i / outputs, [&](int64_t tap, int64_t from) {
      for (int64_t k = 0; k < inputs; k++)
        expected[(tap * inputs + k) * outputs + i % outputs] +=
            (double)x[from * inputs + k] * y[i];
    });
  }
  // Sums of so many products, of which only the relative error is small.
  expect("differentiate", expected.size(), [&](int64_t i) {
    double sum = 0;
    for (int64_t n = 0; n < threads; n++)
      for (int point = 0; point < POINTS_2D; point++)
        sum += share(point, i / outputs / inputs) *
               grad[n * each + (point * rows + i / outputs % inputs) * columns +
                    i % outputs];
    return (sum - expected[i]) / std::sqrt(batch * bins * frames);
  });
  expect("bias", outputs, [&](int64_t o) {
    double sum = 0;
    for (int64_t n = 0; n < threads; n++) sum += of_bias[n * columns + o];
    return (sum - sums[o]) / std::sqrt(batch * bins * frames);
  });
}

void check_transform(int64_t bins, int64_t channels, bool per_bin) {
  const int64_t frames = 5, taps = 3, weights = per_bin ? bins : channels;
  const float limit = 0.6f;
  const int64_t rows = padded(bins, 16), columns = padded(channels, LINE);
  const Values x(rows * frames * channels),
      shares((frames + taps - 1) * taps * weights, 0.3f), attention(weights),
      transform(rows * bins, 0.1f), bias(channels);
  Values mix(channels * columns), keep(channels * columns),
      y(bins * frames * channels);
  for (Values* matrix : {&mix, &keep})
    for (int64_t i = 0; i < channels * columns; i++)
      if (i % columns >= channels) (*matrix)[i] = 0;
  const int64_t step = frames * channels;
  const Transform<float> t = {
      x.data(),  step,   shares.data(), taps,     attention.data(), limit,
      per_bin,   transform.data(), bins, mix.data(), keep.data(), bias.data(),
      y.data(),  step,   bins,          frames,   channels};
  phasen_transform(FP32, &t);
  const auto weigh = [&](int64_t frame, int64_t n) {
    double sum = attention[n];
    for (int64_t tap = 0; tap < taps; tap++)
      sum += shares[((frame + tap) * taps + tap) * weights + n];
    return std::min(std::max(sum, 0.), (double)limit);
  };
  expect("transform", bins * step, [&](int64_t i) {
    const int64_t bin = i / step, frame = i / channels % frames;
    const int64_t o = i % channels;
    double sum = bias[o];
    for (int64_t c = 0; c < channels; c++) {
      double mixed = 0;
      for (int64_t b = 0; b < bins; b++)
        mixed += (double)transform[bin * bins + b] *
                 x[b * step + frame * channels + c] *
                 weigh(frame, per_bin ? b : c);
      sum += mixed * mix[c * columns + o] +
             x[bin * step + frame * channels + c] * keep[c * columns + o];
    }
    return y[i] - std::max(sum, 0.);
  });
}

// Batch norm and ReLU in training.
void check_rectified_norm(int64_t channels, int64_t threads) {
  const int64_t rows = 1001, count = rows * channels;
  const Values x(count), grad(count), scale(channels), shift(channels);
  const Values mean(channels), slope(channels), constant(channels);
  Values y(count);
  const RectifiedNorm<float> t = {
      x.data(),     grad.data(), y.data(),     rows,         channels, threads,
      scale.data(), shift.data(), mean.data(), slope.data(), constant.data()};
  std::vector<Moments> moments(channels);
  phasen_find_moments(FP32, &t, moments.data());
  const auto sum_over = [&](int64_t channel, auto value) {
    double sum = 0;
    for (int64_t i = channel; i < count; i += channels) sum += value(i);
    return sum;
  };
  expect("moments", channels, [&](int64_t c) {
    const double middle = sum_over(c, [&](int64_t i) { return x[i]; }) / rows;
    const double squares = sum_over(c, [&](int64_t i) {
      return (x[i] - middle) * (x[i] - middle);
    });
    return std::abs(moments[c].count - rows) +
           std::abs(moments[c].mean - middle) +
           std::abs(moments[c].squares - squares) / rows;
  });
  phasen_rectify(FP32, &t);
  const auto before = [&](int64_t i) {
    return (double)x[i] * scale[i % channels] + shift[i % channels];
  };
  expect("rectify", count, [&](int64_t i) {
    return y[i] - std::max(before(i), 0.);
  });
  const auto passed = [&](int64_t i) { return before(i) > 0 ? grad[i] : 0.; };
  std::vector<double> sums(2 * channels);
  phasen_sum_up_gradients(FP32, &t, sums.data());
  expect("sums", 2 * channels, [&](int64_t n) {
    const int64_t c = n % channels;
    return (sums[n] - sum_over(c, [&](int64_t i) {
              return passed(i) * (n < channels ? 1. : x[i] - mean[c]);
            })) / rows;
  });
  phasen_differentiate_norm(FP32, &t);
  expect("gradient", count, [&](int64_t i) {
    const int64_t c = i % channels;
    return y[i] - (scale[c] * passed(i) + slope[c] * (x[i] - mean[c]) +
                   constant[c]);
  });
}

void check_norms() {
  const int64_t bins = 5, frames = 18, channels = 7, step = frames * channels;
  const Values x(bins * step), scale(channels), shift(channels);
  Values y(bins * step);
  const Norm<float> t = {x.data(), step,     y.data(),     step,        bins,
                         frames,   channels, scale.data(), shift.data()};
  phasen_affine(FP32, &t);
  expect("affine", bins * step, [&](int64_t i) {
    return y[i] - (x[i] * scale[i % channels] + shift[i % channels]);
  });
  phasen_frame_norm(FP32, &t, 1e-5f);
  expect("frame_norm", bins * step, [&](int64_t i) {
    double sum = 0, squares = 0;
    for (int64_t b = 0; b < bins; b++)
      for (int64_t c = 0; c < channels; c++) {
        const double v = x[b * step + i / channels % frames * channels + c];
        sum += v / (bins * channels), squares += v * v / (bins * channels);
      }
    const double deviation = std::sqrt(squares - sum * sum + 1e-5);
    return y[i] - ((x[i] - sum) / deviation * scale[i % channels] +
                   shift[i % channels]);
  });
  double result[2], expected[2] = {};
  phasen_moments(FP32, &t, result);
  for (int64_t i = 0; i < bins * step; i++)
    expected[0] += x[i], expected[1] += x[i] * x[i];
  expect("moments", 2, [&](int64_t i) { return result[i] - expected[i]; });
}

void check_recurrence(bool backward) {
  const int64_t units = 70, groups = 2, frames = 6, size = groups * 64;
  const int64_t columns = groups * COLUMNS;
  const Values input(frames * columns), bias(columns),
      weight(units * columns, 0.1f);
  Values y(frames * size), state(size, 0), cells(size, 0);
  const Recurrence<float> t = {input.data(), bias.data(),  weight.data(),
                               y.data(),     size,         state.data(),
                               cells.data(), frames,       units, backward};
  phasen_recur(FP32, &t);
  std::vector<double> h(units), cell(units), expected(frames * size);
  for (int64_t step = 0; step < frames; step++) {
    const int64_t frame = backward ? frames - 1 - step : step;
    const std::vector<double> before = h;
    for (int64_t unit = 0; unit < units; unit++) {
      double gate[GATES];
      for (int64_t g = 0; g < GATES; g++) {
        const int64_t in_group =
            unit % 64 / LINE * GATES * LINE + g * LINE + unit % LINE;
        const int64_t group = unit / 64, n = group * COLUMNS + in_group;
        gate[g] = input[frame * columns + n] + bias[n];
        for (int64_t k = 0; k < units; k++)
          gate[g] +=
              before[k] * weight[(group * units + k) * COLUMNS + in_group];
      }
      cell[unit] =
          sigma(gate[1]) * cell[unit] + sigma(gate[0]) * std::tanh(gate[2]);
      h[unit] = sigma(gate[3]) * std::tanh(cell[unit]);
      expected[frame * size + unit] = h[unit];
    }
  }
  expect("recur", frames * size, [&](int64_t i) {
    return i % size < units ? y[i] - expected[i] : 0.;
  });
}

void check_float24() {
  const int64_t bins = 2, values = 37;
  const Values x(bins * values, 100);
  std::vector<char> kept(3 * bins * values);
  Values back(bins * values);
  const Copy there = {(const char*)x.data(), 4 * values, kept.data(),
                      3 * values,            bins,       3 * values};
  phasen_to_float24(FP32, &there);
  const Copy back_again = {kept.data(), 3 * values, (char*)back.data(),
                           4 * values,  bins,       4 * values};
  phasen_from_float24(FP32, &back_again);
  expect("float24", bins * values, [&](int64_t i) {
    // Half of the last of 16 bits at most; 1e-4 is the limit.
    return (back[i] - x[i]) / x[i] / std::ldexp(1, -16) > 1 ? 1. : 0.;
  });
}

}  // namespace

int main() {
  if (!phasen_supports(FP32)) return std::puts("not on this CPU"), 77;
  for (const int outputs : {5, 16, 24, 36, 48, 60})
    for (const int64_t rows : {1, 3, 5, 7, 8, 9, 16, 21})
      check_convolution(outputs, rows, After(rows % 3));
  for (const int64_t outputs : {3, 12, 24, 60}) {
    check_winograd(1, 7, outputs);
    check_winograd(2, 12, outputs);
  }
  for (const int64_t channels : {3, 12, 24})
    for (const int64_t past : {2, 4})
      check_filtering(channels, 27 - channels, channels / 12 + 1, past);
  check_filtering(2, 60, 1, 2);
  for (const bool per_bin : {false, true}) {
    check_transform(33, 12, per_bin);
    check_transform(17, 24, per_bin);
  }
  check_norms();
  for (const int64_t channels : {1, 5, 12, 24})
    for (const int64_t threads : {1, 3})
      check_rectified_norm(channels, threads);
  for (const bool backward : {false, true}) check_recurrence(backward);
  check_float24();
  return failures ? 1 : 0;
}
