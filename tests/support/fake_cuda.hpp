// A CUDA driver without a GPU: the calls that the cuda backend makes, carried out on the CPU with
// the asynchrony of the real one. Streams are queues whose commands run in order within a stream
// and in any order between streams, by threads of their own or, step by step, as a seed says.
// Device memory is at addresses that the CPU cannot reach. Faults are a test's to choose; what
// would make a host wait is counted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "cuda/driver.hpp"

namespace cubby_test {

struct fake_cuda_options {
  uint64_t seed = 1;
  bool threads = false;  // a thread a stream; else commands run while the host asks for events
  int devices = 1;
  uint64_t memory_bytes = uint64_t{256} << 20;  // of each device
  bool peers = true;                            // devices read each other's memory
  bool peer_mappings = true;                    // and have room to map it
  bool batches = true;                          // many copies by one call
  bool host_addresses = true;                   // kernels find host memory at the host's address
  const char *idle_kernel = "";                 // one that does nothing, as a wrong build might
  // Of a stream: what it is given beyond so many holds up who gives it, and all other callers of
  // the driver with it, until the first is over.
  uint32_t queued_max = 1024;
  uint32_t patience_ms = 5000;  // of who is held up; then the call fails, and the test with it
};

/// One at a time: the driver's calls have no argument that would tell several apart.
class fake_cuda {
 public:
  explicit fake_cuda(const fake_cuda_options &with = {});
  fake_cuda(const fake_cuda &) = delete;
  fake_cuda &operator=(const fake_cuda &) = delete;
  ~fake_cuda();
  [[nodiscard]] const cubby_cuda::driver_table *table() const { return &table_; }

  // ---- the program beside the library ----------------------------------------------------------
  /// A stream of the program's own, as an integer.
  uint64_t make_stream(int device = 0);
  /// Work of a stream, which runs when its turn comes.
  void launch(uint64_t stream, std::function<void()> work);
  /// Memory of a device, as an engine's tensor is.
  void *allocate(uint64_t bytes, int device = 0);
  void free(void *base);
  /// What is in device memory, and what is to be there.
  void read(const void *at, void *to, uint64_t bytes);
  void write(void *at, const void *from, uint64_t bytes);
  /// Where it really is, for code that runs as a kernel would: memory of a device, or of the host,
  /// by a device's address.
  void *reach(uint64_t at, uint64_t bytes);
  /// A graph is captured from the stream, in the strictest mode: what the stream is given meanwhile
  /// does not run. Calls that CUDA forbids then are refused, and break the capture: waits, looks at
  /// events, allocations and registrations by threads in any mode but the relaxed one, and whatever
  /// would tie captured work to work that is not.
  void capture(uint64_t stream, bool on);
  /// Launches what was captured from the stream last.
  void replay(uint64_t stream);

  // ---- time, where no threads run
  // ----------------------------------------------------------------
  /// Runs so many commands, of streams chosen by the seed; how many there were.
  uint32_t step(uint32_t count);
  /// Commands that run whenever the host asks for an event; 2 at most by default.
  void set_progress(uint32_t steps_max);

  // ---- faults
  // ------------------------------------------------------------------------------------
  /// The copy call with this number from now on is refused; 1 = the next.
  void refuse_copy(uint32_t number);
  /// Every call answers that the device is lost; what is under way never ends.
  void lose_device();
  /// Nothing that is in the streams goes on, or it does again: their events are not signalled.
  void hold(bool on);
  /// Each copy takes so many turns more.
  void slow_copies(uint32_t turns);
  /// Memory that other programs take.
  void take_elsewhere(uint64_t bytes);
  /// Host memory cannot be registered any more.
  void refuse_registration();
  /// Devices have no address for host memory that is registered, or they have one again.
  void refuse_host_addresses(bool on);

  struct counters {
    uint64_t host_syncs = 0;  // calls that make the host wait for the device
    uint64_t copies_in = 0, copies_out = 0, copies_peer = 0;
    uint64_t copy_calls = 0, batches = 0;  // calls that copy, and those of them that copy many
    uint64_t unregistered_copies = 0;      // from or to host memory that is not registered
    uint64_t launches = 0;                 // of kernels
    uint64_t full_queues = 0;              // calls that found a stream full
    uint64_t queued_peak = 0;              // in a stream at once
    uint64_t stream_waits = 0, events_recorded = 0, events_asked = 0;
    uint64_t broken_captures = 0;                    // calls that were refused in one
    uint64_t registered = 0, registrations = 0;      // pieces of host memory now, and so far
    uint64_t memory_bytes = 0;                       // of devices, now
    uint64_t streams = 0, events = 0, contexts = 0;  // now
  };
  counters count();

 private:
  friend struct fake_calls;

  struct marker {
    bool over = false, captured = false;
  };
  struct command {
    enum class kind { copy, fill, work, record, wait } what = kind::work;
    std::byte *to = nullptr;
    const std::byte *from = nullptr;
    uint64_t bytes = 0;
    unsigned char value = 0;
    uint32_t turns = 0;
    std::function<void()> work;
    std::shared_ptr<marker> mark;
    std::vector<std::byte> staged;  // of memory that is not registered, as the driver stages it
  };
  struct queue {
    int device = 0;
    bool capturing = false, ending = false;
    std::deque<command> commands;  // the first may be running
    std::vector<command> graph;    // captured
    bool running = false;
    std::thread thread;
  };
  struct signal {
    std::shared_ptr<marker> last;
  };
  struct physical {
    int device = 0;
    std::vector<std::byte> bytes;
    uint32_t uses = 0;  // a handle and mappings
  };
  struct mapping {
    uint64_t bytes = 0;
    cubby_cuda::memory_handle handle = 0;
    bool accessible = false;
    std::set<int> devices;  // that may read
  };

  [[nodiscard]] bool can_run(const queue &one) const;
  void run_first(queue &one, std::unique_lock<std::mutex> &lock);
  void run_thread(queue &one);
  uint32_t step_locked(uint32_t count, std::unique_lock<std::mutex> &lock);
  void finish(queue &one, std::unique_lock<std::mutex> &lock);
  /// Where device memory really is; nullptr when not all of it is mapped and accessible.
  std::byte *at(uint64_t address, uint64_t bytes, int *device = nullptr);
  [[nodiscard]] bool is_registered(const void *base, uint64_t bytes) const;
  /// Does any device's memory begin there?
  [[nodiscard]] bool is_device(uint64_t address) { return at(address, 1) != nullptr; }
  [[nodiscard]] bool locked_is_device(uint64_t address) {
    const std::lock_guard held(mutex_);
    return is_device(address);
  }
  queue *find(cubby_cuda::stream one);
  /// Behind what the stream has; into the graph where one is captured. Waits where it is full.
  cubby_cuda::status push(queue &to, command &&one, std::unique_lock<std::mutex> &lock);
  bool has_room(queue &in, std::unique_lock<std::mutex> &lock);
  [[nodiscard]] bool any_capture() const { return captures_ != 0; }
  cubby_cuda::status break_capture(cubby_cuda::status why) {
    ++counts_.broken_captures;
    return why;
  }
  void drop(cubby_cuda::memory_handle handle);
  cubby_cuda::status copy(std::byte *to, const std::byte *from, uint64_t bytes, const void *host,
                          cubby_cuda::stream in, std::unique_lock<std::mutex> &lock);

  const fake_cuda_options options_;
  cubby_cuda::driver_table table_{};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::mt19937_64 random_;
  std::map<uint64_t, std::unique_ptr<queue>> queues_;
  std::map<uint64_t, std::unique_ptr<signal>> signals_;
  std::map<cubby_cuda::memory_handle, physical> memory_;
  std::map<uint64_t, uint64_t> reserved_;  // addresses and sizes
  std::map<uint64_t, mapping> mapped_;
  std::map<uintptr_t, uint64_t> registered_;
  uint64_t next_handle_ = 100;
  uint64_t elsewhere_bytes_ = 0;
  uint32_t captures_ = 0;  // under way
  uint32_t refuse_in_ = 0, slow_turns_ = 0, progress_max_ = 2;
  bool held_up_ = false;  // a caller is, by a stream that is full
  bool lost_ = false, held_ = false, no_registration_ = false, no_addresses_ = false;
  counters counts_;
};

}  // namespace cubby_test
