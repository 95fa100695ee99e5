// The text of kernel.hpp's functions over a type of eight floats and one of sixteen whole numbers.
// Included once in each file that builds it, inside a namespace of its own; it must include nothing
// that defines inline functions.

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

/// ln(x) + 2, off by 7e-4 at most, without a jump: enough for what is learned from.
template <class V>
inline V rough_log_and_two(const V &x) {
  constexpr int32_t two = 24204406;  // 2^24 / ln 2
  const auto bits = as_bits(x);
  const V mantissa = as_floats(low_bits(bits, 0x007FFFFF) + 0x3F800000) - 1.0F;
  const V bow = (mantissa - mantissa * mantissa) * (mantissa * -0.110F + 0.293F);
  return to_floats(bits - (0x3F800000 - two)) * 8.26295829E-8F + bow;  // ln 2 / 2^23
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

/// What the rows say together of `parts` times sixteen experts from `at` on. Sums stop at the ends
/// of the range.
template <class W, uint32_t parts>
inline void add_some(const learn_step &step, uint32_t at) {
  W sum[parts];
  for (uint32_t p = 0; p < parts; ++p) sum[p] = W::none();
  const uint64_t width = step.width;
  const int16_t *table = step.tables + at;
  for (uint32_t s = 0; s < step.said_by_count; ++s, table += step.table_rows * width) {
    const uint32_t *used = step.said_by[s].rows;
    for (const uint32_t *const end = used + step.said_by[s].count; used != end; ++used) {
      const int16_t *const row = table + (*used & 0xFFFF) * width;
      for (uint32_t p = 0; p < parts; ++p)
        sum[p] = saturated_sum(sum[p], W::load(row + uint64_t{p} * words));
    }
  }
  for (uint32_t p = 0; p < parts; ++p) sum[p].store(step.said + at + uint64_t{p} * words);
}

/// The rows of the visit before learn from the error of what they said, in the same parts.
template <class W, uint32_t parts>
inline void train_some(const learn_step &step, uint32_t at) {
  W error[parts];
  for (uint32_t p = 0; p < parts; ++p) error[p] = W::load(step.error + at + uint64_t{p} * words);
  const uint64_t width = step.width;
  int16_t *table = step.tables + at;
  for (uint32_t s = 0; s < step.trained_count; ++s, table += step.table_rows * width) {
    const uint32_t *used = step.trained[s].rows;
    for (const uint32_t *const end = used + step.trained[s].count; used != end; ++used) {
      int16_t *const row = table + (*used & 0xFFFF) * width;
      const W rate = W::all(static_cast<int16_t>(*used >> 16));
      for (uint32_t p = 0; p < parts; ++p)
        saturated_sum(W::load(row + uint64_t{p} * words), rounded_product(error[p], rate))
            .store(row + uint64_t{p} * words);
    }
  }
}

/// Both, over all experts.
template <class W, bool train>
inline void go_through_rows(const learn_step &step) {
  const auto some = [&]<uint32_t parts>(uint32_t at) {
    if constexpr (train)
      train_some<W, parts>(step, at);
    else
      add_some<W, parts>(step, at);
  };
  uint32_t at = 0;
  for (; at + 8 * words <= step.width; at += 8 * words) some.template operator()<8>(at);
  if (const uint32_t left = step.width - at; left != 0) {
    if ((left & 4 * words) != 0) some.template operator()<4>(at);
    if ((left & 2 * words) != 0) some.template operator()<2>(at + (left & 4 * words));
    if ((left & words) != 0) some.template operator()<1>(step.width - words);
  }
}

/// New averages, inputs and forecast; the error of the forecast before, and what it sums to.
template <class V>
inline void forecast(const learn_step &given, V (&sums)[input_count]) {
  const learn_step step = given;  // a copy: nothing that is stored here can be part of it
  const float *const weights = step.weights;
  V weight[input_count];
  for (uint32_t i = 0; i < input_count; ++i) weight[i] = V::all(weights[i]);
  auto noise = V::numbered(0x6A09E667) + static_cast<int32_t>(step.dither);
  const int32_t noise_step = static_cast<int32_t>(0x6A09E667U * lanes);
  for (uint32_t at = 0; at < step.width; at += lanes) {
    const V on = V::load(step.on + at);
    const V before_value = V::load(step.value + at);
    V z = V::load_numbers(step.said + at) * (1 / table_scale) + on * weight[1] + weight[0];
    V before[average_count];
    for (uint32_t i = 0; i < average_count; ++i) {
      const uint32_t there = i * step.width + at;
      const V average = V::load(step.averages + there) * decay[i] + on * (1 - decay[i]);
      average.store(step.averages + there);
      before[i] = V::load(step.logarithms + there);
      const V input = rough_log_and_two(average + floor_of[i]);
      input.store(step.logarithms + there);
      z = z + input * weight[2 + i];
    }
    const V value = V::all(1.0F) / (exponential(V::all(0.0F) - z) + 1.0F);
    const V target = on + (V::all(1.0F) - on) * value * step.gamma;
    const V error = below(V::numbered(1) + static_cast<int32_t>(at),
                          static_cast<int32_t>(step.experts), target - before_value);
    sums[0] = sums[0] + error;
    sums[1] = sums[1] + error * V::load(step.was_on + at);
    for (uint32_t i = 0; i < average_count; ++i) sums[2 + i] = sums[2 + i] + error * before[i];
    value.store(step.value + at);
    const V whole = error * error_scale + 12582912.0F;
    const auto rounded = as_bits(whole) - 0x4B400000 + shift_right(noise, 24);
    rounded.store_narrow(step.error + at);
    noise = noise + noise_step;
  }
}

template <class V, class W>
inline void learn(const learn_step &step) {
  V sums[input_count];
  for (V &sum : sums) sum = V::all(0.0F);
  go_through_rows<W, false>(step);
  forecast(step, sums);
  if (!step.learn) return;
  for (uint32_t i = 0; i < input_count; ++i) {
    const float sum = sums[i].sum();
    step.squares[i] += sum * sum;
    step.weights[i] += 0.02F * sum / __builtin_sqrtf(step.squares[i] + 1);
  }
  go_through_rows<W, true>(step);
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
inline largest_key largest(const float *key, const uint8_t *visible, uint32_t width) {
  V most = V::all(-__builtin_inff());
  auto index_of_most = V::numbered(0);
  for (uint32_t at = 0; at < width; at += lanes) {
    const V here = visible_only(V::load(key + at), visible[at / lanes]);
    index_of_most = select_larger(here, most, static_cast<int32_t>(at), index_of_most);
    most = at_least(here, most);
  }
  const float best = largest_lane(most);
  return {best, least_among_equal(index_of_most + V::numbered(1), most, best)};
}
