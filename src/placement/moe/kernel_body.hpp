// The text of kernel.hpp's functions over a type of eight floats. Included once in each file that
// builds it, inside a namespace of its own; it must include nothing that defines inline functions.

template <class V>
inline V natural_log(const V &x) {
  // x = 2^e m, m = 1 + f in [sqrt(1/2), sqrt(2)); the polynomial is off by 4e-6 at most.
  const auto bits = as_bits(x);
  const auto exponent = shift_right(bits - 0x3F3504F3, 23);
  const V f = as_floats(bits - shift_left(exponent, 23)) - 1.0F;
  const V square = f * f;
  const V low = f * -2.52327523E-1F + 3.32571798E-1F;
  const V high = f * -1.50213793E-1F + 2.21006872E-1F;
  const V cubic = high * square + low;
  return (f - square * 0.5F) + (cubic * f * square + to_floats(exponent) * 0.693147181F);
}

template <class V>
inline V exponential(const V &asked) {
  const V x = at_least(at_most(asked, 40.0F), -40.0F);
  const V shifted = x * 1.44269504F + 12582912.0F;  // 1.5 · 2^23: rounds to a whole number
  const V n = shifted - 12582912.0F;
  const V r = x - n * 0.693359375F - n * -2.12194440E-4F;
  // Off by 6e-6 of the value at most.
  const V p = (r * 4.19007846E-2F + 1.67544750E-1F) * r + 4.99991205E-1F;
  const V power = p * r * r + (r + 1.0F);
  return power * as_floats(shift_left(as_bits(shifted) - 0x4B400000 + 127, 23));
}

inline constexpr float decay[average_count] = {0.9F, 0.96F, 0.99F, 0.998F};
inline constexpr float floor_of[average_count] = {0.01F, 0.007F, 0.005F, 0.003F};

/// New averages, inputs and forecast; the error of the forecast before, and what it sums to.
/// What the rows say of eight experts together; four sums, so that additions need not wait.
template <class V>
inline V sum_of_rows(const float *const *rows, uint32_t count, uint32_t at) {
  V a = V::all(0.0F), b = a, c = a, d = a;
  uint32_t r = 0;
  for (; r + 4 <= count; r += 4) {
    a = a + V::load(rows[r] + at);
    b = b + V::load(rows[r + 1] + at);
    c = c + V::load(rows[r + 2] + at);
    d = d + V::load(rows[r + 3] + at);
  }
  for (; r < count; ++r) a = a + V::load(rows[r] + at);
  return (a + b) + (c + d);
}

/// New averages, inputs and forecast; the error of the forecast before, and what it sums to.
template <class V>
inline void forecast(const learn_step &given, V (&sums)[input_count]) {
  const learn_step step = given;  // a copy: nothing that is stored here can be part of it
  const float *const weights = step.weights;
  V weight[input_count];
  for (uint32_t i = 0; i < input_count; ++i) weight[i] = V::all(weights[i]);
  for (uint32_t at = 0; at < step.width; at += lanes) {
    const V on = V::load(step.on + at);
    V error = V::load(step.value + at);
    V z = sum_of_rows<V>(step.rows, step.row_count, at) + on * weight[1] + weight[0];
    V before[average_count];
    for (uint32_t i = 0; i < average_count; ++i) {
      const uint32_t there = i * step.width + at;
      const V average = V::load(step.averages + there) * decay[i] + on * (1 - decay[i]);
      average.store(step.averages + there);
      before[i] = V::load(step.logarithms + there);
      const V input = natural_log(average + floor_of[i]) + 2.0F;
      input.store(step.logarithms + there);
      z = z + input * weight[2 + i];
    }
    const V value = V::all(1.0F) / (exponential(V::all(0.0F) - z) + 1.0F);
    const V target = on + (V::all(1.0F) - on) * value * step.gamma;
    error = (target - error) * V::load(step.exists + at);
    error.store(step.error + at);
    sums[0] = sums[0] + error;
    sums[1] = sums[1] + error * V::load(step.was_on + at);
    for (uint32_t i = 0; i < average_count; ++i) sums[2 + i] = sums[2 + i] + error * before[i];
    on.store(step.was_on + at);
    value.store(step.value + at);
  }
}

template <class V>
inline void learn(const learn_step &step) {
  V sums[input_count];
  for (V &sum : sums) sum = V::all(0.0F);
  forecast(step, sums);
  if (!step.learn) return;
  for (uint32_t i = 0; i < input_count; ++i) {
    const float sum = sums[i].sum();
    step.squares[i] += sum * sum;
    step.weights[i] += 0.02F * sum / __builtin_sqrtf(step.squares[i] + 1);
  }
  const uint32_t width = step.width, count = step.trained_count;
  const float *const error = step.error;
  for (uint32_t r = 0; r < count; ++r) {
    float *const row = step.trained[r];
    const V rate = V::all(step.rates[r]);
    for (uint32_t at = 0; at < width; at += lanes)
      (V::load(row + at) + V::load(error + at) * rate).store(row + at);
  }
}

template <class V>
inline void rank(const rank_step &step) {
  for (uint32_t at = 0; at < step.width; at += lanes) {
    V value = V::load(step.values[0] + at);
    for (uint32_t i = 1; i < step.value_count; ++i) {
      const V other = V::load(step.values[i] + at);
      value = value + other - value * other;
    }
    (V::all(step.base) - natural_log(value + 1e-7F)).store(step.key + at);
  }
}

template <class V>
inline float largest(const float *key, const float *bias, uint32_t width) {
  V most = V::load(key) + V::load(bias);
  for (uint32_t at = lanes; at < width; at += lanes)
    most = at_least(V::load(key + at) + V::load(bias + at), most);
  return most.largest();
}
