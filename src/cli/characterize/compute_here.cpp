#include "cli/characterize/compute_here.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <system_error>
#include <thread>

#include "base/digest.hpp"
#include "cli/characterize/measured.hpp"
#include "cli/demo/kernels.hpp"
#include "cli/model/weights.hpp"
#include "platform/memory_left.hpp"

namespace cubby_cli::characterize {
namespace {

constexpr double share_of_sum = 0.5;
constexpr uint32_t across = 1024;  // of an expert's gate, up and down: a MiB each
constexpr uint64_t matrix_bytes = uint64_t{across} / 32 * 34 * across;
constexpr uint64_t expert_bytes = 3 * matrix_bytes;

constexpr uint64_t least_set_bytes = uint64_t{256} << 20;

/// Four times what the caches hold, so that most weights come from memory as they do in decoding;
/// an eighth of the memory that is free at most.
uint64_t weights_bytes(const options &chosen) {
  const auto cache_bytes = static_cast<uint64_t>(std::max(0L, ::sysconf(_SC_LEVEL3_CACHE_SIZE)));
  const uint64_t wanted =
      std::clamp(4 * cache_bytes, least_set_bytes,
                 std::max(least_set_bytes, cubby::platform::free_memory_bytes() / 8));
  return std::max(2 * expert_bytes,
                  chosen.size_bytes ? std::min(wanted, chosen.memory_bytes()) : wanted);
}

/// Each matrix has the same weights.
void make_weights(char *to, uint64_t bytes) {
  model::random_stream noise(bytes, 29);
  for (uint64_t at = 0; at < matrix_bytes; at += sizeof(model::q8_0_block)) {
    model::q8_0_block block;
    block.scale = model::float_to_half(0.01f);
    for (int8_t &weight : block.weights) weight = static_cast<int8_t>(noise.next());
    std::memcpy(to + at, &block, sizeof block);
  }
  for (uint64_t at = matrix_bytes; at + matrix_bytes <= bytes; at += matrix_bytes)
    std::memcpy(to + at, to, matrix_bytes);
}

/// As a layer of experts computes one, for a plan takes it as the speed of a decode loop. Single
/// matrices came out an eighth faster, measured in turn.
class expert_products {
 public:
  expert_products() : gate_(across), up_(across), out_(across) {
    model::random_stream noise(across, 31);
    for (float &one : gate_) one = noise.unit() - 0.5f;
    demo::quantise(gate_.data(), across, input_);
  }
  void run(const char *weights) {
    product(weights, input_, gate_);
    product(weights + matrix_bytes, input_, up_);
    demo::gate_by_silu(gate_, up_);
    demo::quantise(gate_.data(), across, inner_);
    product(weights + 2 * matrix_bytes, inner_, out_);
  }

 private:
  static void product(const char *weights, const demo::quantised &with, std::vector<float> &out) {
    demo::multiply(model::weight_type::q8_0, weights, across, across, with, out.data());
  }
  std::vector<float> gate_, up_, out_;
  demo::quantised input_, inner_;
};

/// By the median: one that another program held up says nothing of this processor.
double usual_speed(uint64_t bytes, std::vector<uint64_t> took_ns) {
  return static_cast<double>(bytes) * 1e9 / std::max(1.0, median_of(std::move(took_ns)));
}

/// Runs `work` with its number in so many threads; false where they cannot be had.
template <class Work>
bool in_threads(uint32_t count, const Work &work) {
  std::vector<std::thread> others;
  try {
    for (uint32_t i = 1; i < count; i++) others.emplace_back(work, i);
  } catch (const std::system_error &) {
    // Those that there are do the work; the caller says that it was fewer.
  }
  work(0);
  for (std::thread &one : others) one.join();
  return others.size() + 1 == count;
}

}  // namespace

done compute_here::products(double seconds) {
  const bench::huge_buffer weights(weights_bytes(chosen_));
  if (weights.data() == nullptr) return system_trouble("memory for weights", ENOMEM);
  make_weights(weights.data(), weights.bytes());
  const uint64_t experts = weights.bytes() / expert_bytes;
  const auto measure = [&](uint32_t threads) -> outcome<double> {
    std::vector<double> speeds(threads);
    const uint64_t start_ns = clock_ns();
    const bool all = in_threads(threads, [&](uint32_t i) {
      expert_products by;
      model::random_stream dice(experts, 37 + i);
      uint64_t count = 0;
      const uint64_t begin_ns = thread_cpu_ns();
      do {
        by.run(weights.data() + dice.below(static_cast<uint32_t>(experts)) * expert_bytes);
        ++count;
      } while (seconds_since(start_ns) < seconds);
      // Without the time in which others had the processor.
      speeds[i] = static_cast<double>(count * expert_bytes) * 1e9 /
                  std::max(1.0, static_cast<double>(thread_cpu_ns() - begin_ns));
    });
    if (!all) return trouble{"no more threads could be made; raise ulimit -u"};
    return std::accumulate(speeds.begin(), speeds.end(), 0.0);
  };
  auto one = measure(1);
  if (!one) return one.failure();
  auto every = threads_ == 1 ? one : measure(threads_);
  if (!every) return every.failure();
  one_thread_ = *one;
  all_threads_ = *every;
  return nothing{};
}

done compute_here::digests(double seconds) {
  constexpr uint64_t chunk_bytes = uint64_t{1} << 20;
  const bench::huge_buffer memory(
      std::max(chunk_bytes, std::min(chosen_.memory_bytes(), least_set_bytes)));
  if (memory.data() == nullptr) return system_trouble("memory for digests", ENOMEM);
  const uint64_t chunks = memory.bytes() / chunk_bytes;
  uint64_t count = 0, mixed = 0;
  std::vector<uint64_t> took_ns;
  const uint64_t start_ns = clock_ns();
  do {
    const uint64_t begin_ns = clock_ns();
    mixed ^= cubby::base::chunk_digest(memory.data() + count++ % chunks * chunk_bytes, chunk_bytes,
                                       {.locker = count});
    took_ns.push_back(clock_ns() - begin_ns);
  } while (seconds_since(start_ns) < seconds);
  if (mixed != 0) digest_ = usual_speed(chunk_bytes, std::move(took_ns));
  return nothing{};
}

void compute_here::plan(steps &to) {
  to.add("matrix-vector products", 2 * share_of_sum, 0.4,
         [this](double s) { return products(s * share_of_sum); });
  to.add("digests", share_of_sum, 0.1, [this](double s) { return digests(s * share_of_sum); });
}

void compute_here::into(profile::machine_profile &of) const {
  profile::compute made;
  made.place = "cpu";
  made.product_bytes_per_s = all_threads_;
  made.one_thread_product_bytes_per_s = one_thread_;
  made.threads = threads_;
  made.origin = "measured";
  made.source = std::string("cubby characterize, experts of Q8_0 weights times a vector, kernel ") +
                demo::kernel_name() + ", " + std::to_string(threads_) + " threads";
  of.compute = made;
  if (digest_ > 0) of.digest_bytes_per_s = digest_;
}

}  // namespace cubby_cli::characterize
