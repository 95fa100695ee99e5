// One opened backend. Every call goes through here, so that what holds for all I/O is looked at
// with each of them: cookies, counts, errors' signs, and that no pointer is used for longer than
// agreed.
#pragma once
#include <map>
#include <set>
#include <vector>

#include "cli/conformance/expect.hpp"
#include "cli/conformance/service_host.hpp"
#include "cli/conformance/suite.hpp"

namespace cubby_conformance {

/// How an instance is opened.
struct opening {
  uint32_t queue_depth = 0;
  uint32_t latency_ns = 0;
  uint64_t bytes_per_s = 0;
};

using completions = std::map<uint64_t, cubby_backend_done>;

const char *op_name(uint32_t op);

class instance {
 public:
  instance(const subject &on, const opening &how);
  instance(const instance &) = delete;
  instance &operator=(const instance &) = delete;

  const subject &on() const { return on_; }
  cubby_backend *self() const { return self_; }
  service_host &services() { return host_; }
  const cubby_backend_info &info() const { return info_; }
  bool virtual_clock() const { return (on_.ops.capabilities & CUBBY_CAP_VIRTUAL_CLOCK) != 0; }
  /// Offsets, sizes and addresses of files' I/O: a page, or more where the backend asks for more.
  uint64_t unit() const { return info_.align_bytes > 4096 ? info_.align_bytes : 4096; }
  uint64_t now() const { return virtual_clock() ? virtual_ns_ : clock_ns(); }

  // The operations; `at` is the time handed in.
  uint32_t submit(const std::vector<cubby_backend_io> &ios, size_t from = 0);
  uint32_t submit_at(uint64_t at, const cubby_backend_io *ios, uint32_t count);
  std::vector<cubby_backend_done> reap(uint32_t max_count);
  std::vector<cubby_backend_done> reap_at(uint64_t at, uint32_t max_count);
  uint64_t next_ns() const { return next_ns_; }  // as the last reap said
  void wait(uint64_t timeout_ns, int wake_fd);
  int event_fd();
  int32_t file_open(const std::string &path, uint32_t flags, cubby_backend_file *out);
  int32_t file_stat(uint32_t file, cubby_backend_file *out);
  void file_close(uint32_t file);
  int32_t memory_reserve(uint64_t bytes, cubby_backend_memory *out);
  void memory_release(const cubby_backend_memory &memory);

  size_t in_flight() const { return flying_.size(); }
  /// Everything to its end, also more than fits at once.
  completions run(const std::vector<cubby_backend_io> &ios);
  cubby_backend_done run_one(const cubby_backend_io &io);
  /// Waits as the library would: by wait(), or to the time the last reap named.
  void pause();
  /// False when something in flight does not come back.
  bool drain();
  void close();

 private:
  void look_at(const cubby_backend_done &done);

  const subject &on_;
  service_host host_;
  cubby_backend_services services_{};
  cubby_backend *self_ = nullptr;
  cubby_backend_info info_{};
  std::map<uint64_t, cubby_backend_io> flying_;  // accepted and not come back, by cookie
  std::set<uint64_t> landed_;
  uint64_t next_ns_ = never_ns;
  uint64_t virtual_ns_ = 1'000'000'000;
};

/// Says which operation is under way while it is.
class under_way {
 public:
  under_way(const subject &on, const char *name) : on_(on) {
    if (on_.doing != nullptr) *on_.doing = name;
  }
  ~under_way() {
    if (on_.doing != nullptr) *on_.doing = nullptr;
  }
  under_way(const under_way &) = delete;
  under_way &operator=(const under_way &) = delete;

 private:
  const subject &on_;
};

}  // namespace cubby_conformance
