// The text of kernel.hpp's functions over a type of eight floats. Included once in each file that
// builds it, inside a namespace of its own; it must include nothing that defines inline functions.

template <class V>
inline V natural_log(const V &x) {
  // x = 2^e m, m in [sqrt(1/2), sqrt(2)); the polynomial is that of Cephes' logf.
  const auto bits = as_bits(x);
  const auto exponent = shift_right(bits - 0x3F3504F3, 23);
  const V f = as_floats(bits - shift_left(exponent, 23)) - 1.0F;
  V p = f * 7.0376836292E-2F + -1.1514610310E-1F;
  p = p * f + 1.1676998740E-1F;
  p = p * f + -1.2420140846E-1F;
  p = p * f + 1.4249322787E-1F;
  p = p * f + -1.6668057665E-1F;
  p = p * f + 2.0000714765E-1F;
  p = p * f + -2.4999993993E-1F;
  p = p * f + 3.3333331174E-1F;
  const V square = f * f;
  const V e = to_floats(exponent);
  return f + (p * f * square - square * 0.5F + e * -2.12194440E-4F) + e * 0.693359375F;
}

template <class V>
inline V exponential(const V &asked) {
  const V x = at_least(at_most(asked, 40.0F), -40.0F);
  const V shifted = x * 1.44269504F + 12582912.0F;  // 1.5 · 2^23: rounds to a whole number
  const V n = shifted - 12582912.0F;
  const V r = x - n * 0.693359375F - n * -2.12194440E-4F;
  V p = r * 1.9875691500E-4F + 1.3981999507E-3F;
  p = p * r + 8.3334519073E-3F;
  p = p * r + 4.1665795894E-2F;
  p = p * r + 1.6666665459E-1F;
  p = p * r + 5.0000001201E-1F;
  p = p * r * r + r + 1.0F;
  return p * as_floats(shift_left(as_bits(shifted) - 0x4B400000 + 127, 23));
}

inline constexpr float decay[average_count] = {0.9F, 0.96F, 0.99F, 0.998F};
inline constexpr float floor_of[average_count] = {0.01F, 0.007F, 0.005F, 0.003F};

/// New averages, inputs and forecast; the error of the forecast before, and what it sums to.
template <class V>
inline void forecast(const learn_step &step, V (&sums)[input_count]) {
  for (uint32_t at = 0; at < step.width; at += lanes) {
    const V on = V::load(step.on + at);
    V error = V::load(step.value + at);
    V z = on * step.weights[1] + step.weights[0];
    V inputs[average_count], before[average_count];
    for (uint32_t i = 0; i < average_count; ++i) {
      const uint32_t there = i * step.width + at;
      const V average = V::load(step.averages + there) * decay[i] + on * (1 - decay[i]);
      average.store(step.averages + there);
      before[i] = V::load(step.logarithms + there);
      inputs[i] = natural_log(average + floor_of[i]) + 2.0F;
      inputs[i].store(step.logarithms + there);
      z = z + inputs[i] * step.weights[2 + i];
    }
    for (uint32_t r = 0; r < step.row_count; ++r) z = z + V::load(step.rows[r] + at);
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
  for (uint32_t r = 0; r < step.trained_count; ++r) {
    float *row = step.trained[r];
    for (uint32_t at = 0; at < step.width; at += lanes) {
      const V more = V::load(step.error + at) * step.rates[r];
      (V::load(row + at) + more).store(row + at);
    }
  }
}

template <class V>
inline void rank(const rank_step &step) {
  for (uint32_t at = 0; at < step.width; at += lanes) {
    V none = V::all(1.0F);
    for (uint32_t i = 0; i < step.value_count; ++i)
      none = none * (V::all(1.0F) - V::load(step.values[i] + at));
    const V value = V::all(1.0F) - none;
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
