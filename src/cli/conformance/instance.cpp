#include "cli/conformance/instance.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace cubby_conformance {
namespace {

// Longer than a page of text: enough to see a backend go on reading a list that has ended.
cubby_backend_io poison() {
  cubby_backend_io io;
  std::memset(&io, 0x5a, sizeof io);
  return io;
}

}  // namespace

const char *op_name(uint32_t op) {
  const char *const names[] = {"READ", "WRITE", "FLUSH", "COPY_IN", "COPY_OUT", "COPY_PEER"};
  return op < std::size(names) ? names[op] : "an unknown operation";
}

instance::instance(const subject &on, const opening &how) : on_(on) {
  services_ = host_.services();
  cubby_backend_config config{};
  config.struct_size = sizeof config;
  config.device = -1;
  config.name = "conformance:0";
  config.queue_depth = how.queue_depth;
  config.emulated_latency_ns = how.latency_ns;
  config.emulated_bytes_per_s = how.bytes_per_s;
  int32_t status = 0;
  {
    const under_way call(on_, "open");
    status = on_.ops.open(&services_, &config, &self_);
  }
  if (status == -ENOTSUP || status == -EPERM || status == -ENOSYS) {
    expect(!host_.lines.empty(), "open returned ", errno_text(status),
           " and said nothing; a backend that cannot run here says why through services->log");
    skip("not available here, open returned ", errno_text(status), ": ", host_.lines.back());
  }
  expect(status == 0, "open: expected 0, came ", errno_text(status),
         host_.lines.empty() ? "" : "; it said: " + host_.lines.back());
  expect(self_ != nullptr, "open returned 0 and left *out NULL");
  info_.struct_size = sizeof info_;
  const under_way call(on_, "describe");
  status = on_.ops.describe(self_, &info_);
  expect(status == 0, "describe: expected 0, came ", errno_text(status));
  expect(info_.align_bytes != 0 && (info_.align_bytes & (info_.align_bytes - 1)) == 0,
         "describe: align_bytes must be a power of two, came ", info_.align_bytes);
  expect(info_.align_bytes <= (1u << 20), "describe: align_bytes is ", info_.align_bytes,
         ", more than 1 MiB; no piece of a file could be read");
  expect(info_.queue_depth != 0, "describe: queue_depth must be at least 1, came 0");
}

uint32_t instance::submit(const std::vector<cubby_backend_io> &ios, size_t from) {
  return submit_at(now(), ios.data() + from, static_cast<uint32_t>(ios.size() - from));
}

// The list is lent for the call only: it is a copy, and overwritten afterwards.
uint32_t instance::submit_at(uint64_t at, const cubby_backend_io *ios, uint32_t count) {
  std::vector<cubby_backend_io> lent(ios, ios + count);
  uint32_t accepted = 0;
  {
    const under_way call(on_, "submit");
    accepted = on_.ops.submit(self_, at, lent.data(), count);
  }
  expect(accepted <= count, "submit was given ", count, " I/Os and accepted ", accepted);
  std::fill(lent.begin(), lent.end(), poison());
  for (uint32_t i = 0; i < accepted; ++i) {
    landed_.erase(ios[i].cookie);
    flying_[ios[i].cookie] = ios[i];
  }
  return accepted;
}

std::vector<cubby_backend_done> instance::reap(uint32_t max_count) {
  return reap_at(now(), max_count);
}

std::vector<cubby_backend_done> instance::reap_at(uint64_t at, uint32_t max_count) {
  cubby_backend_done untouched;
  std::memset(&untouched, 0x77, sizeof untouched);
  std::vector<cubby_backend_done> out(max_count + 2u, untouched);
  next_ns_ = 0x77;
  uint32_t count = 0;
  {
    const under_way call(on_, "reap");
    count = on_.ops.reap(self_, at, out.data(), max_count, &next_ns_);
  }
  expect(count <= max_count, "reap was asked for at most ", max_count, " completions and gave ",
         count);
  expect(next_ns_ != 0x77, "reap left *next_ns as it was; it says when to look again, or ~0");
  for (uint32_t i = max_count; i < out.size(); ++i) {
    expect(std::memcmp(&out[i], &untouched, sizeof untouched) == 0, "reap with max_count ",
           max_count, " wrote behind the ", max_count, " places it was given");
  }
  out.resize(count);
  for (const cubby_backend_done &done : out) look_at(done);
  return out;
}

void instance::look_at(const cubby_backend_done &done) {
  const auto found = flying_.find(done.cookie);
  if (found == flying_.end()) {
    expect(landed_.count(done.cookie) == 0, "reap gave cookie ", done.cookie,
           " twice; every accepted I/O completes exactly once");
    fail("reap gave cookie ", done.cookie, ", which was never submitted to this instance");
  }
  const cubby_backend_io io = found->second;
  flying_.erase(found);
  landed_.insert(done.cookie);
  const char *name = op_name(io.op);
  expect(done.error >= 0, name, " completed with error ", done.error,
         "; a completion's error is 0 or a positive errno");
  if (io.op == CUBBY_BACKEND_FLUSH) return;
  expect(done.bytes <= io.bytes, name, " of ", io.bytes, " bytes completed with ", done.bytes);
  if (io.op == CUBBY_BACKEND_READ || done.error != 0) return;
  expect(done.bytes == io.bytes, name, " of ", io.bytes, " bytes completed without error and with ",
         done.bytes, " bytes; only a read at the end of its file may be short");
}

void instance::wait(uint64_t timeout_ns, int wake_fd) {
  const under_way call(on_, "wait");
  const int32_t status = on_.ops.wait(self_, timeout_ns, wake_fd);
  expect(status == 0, "wait: expected 0, came ", errno_text(status));
}

int instance::event_fd() {
  if (on_.ops.event_fd == nullptr) return -1;
  const under_way call(on_, "event_fd");
  return on_.ops.event_fd(self_);
}

int32_t instance::file_open(const std::string &path, uint32_t flags, cubby_backend_file *out) {
  const under_way call(on_, "file_open");
  return on_.ops.file_open(self_, path.c_str(), flags, out);
}

int32_t instance::file_stat(uint32_t file, cubby_backend_file *out) {
  const under_way call(on_, "file_stat");
  return on_.ops.file_stat(self_, file, out);
}

void instance::file_close(uint32_t file) {
  const under_way call(on_, "file_close");
  on_.ops.file_close(self_, file);
}

int32_t instance::memory_reserve(uint64_t bytes, cubby_backend_memory *out) {
  const under_way call(on_, "memory_reserve");
  return on_.ops.memory_reserve(self_, bytes, out);
}

void instance::memory_release(const cubby_backend_memory &memory) {
  const under_way call(on_, "memory_release");
  on_.ops.memory_release(self_, &memory);
}

void instance::pause() {
  if (virtual_clock()) {
    expect(next_ns_ != never_ns, "reap said ~0 with ", flying_.size(),
           " I/Os in flight; under a virtual clock nothing else would make time go on");
    virtual_ns_ = std::max(virtual_ns_, next_ns_);
    return;
  }
  const uint64_t at = clock_ns();
  const uint64_t left = next_ns_ == never_ns ? never_ns : next_ns_ > at ? next_ns_ - at : 0;
  wait(std::min<uint64_t>(left, 200'000'000), -1);
}

completions instance::run(const std::vector<cubby_backend_io> &ios) {
  completions done;
  size_t sent = 0;
  uint64_t progress_ns = clock_ns();
  while (done.size() < ios.size()) {
    const uint32_t accepted = sent == ios.size() ? 0 : submit(ios, sent);
    sent += accepted;
    const auto came = reap(3);
    for (const cubby_backend_done &one : came) done[one.cookie] = one;
    if (accepted != 0 || !came.empty()) progress_ns = clock_ns();
    if (clock_ns() - progress_ns > on_.patience_ns) {
      expect(!flying_.empty(), "submit accepted none of ", ios.size() - sent,
             " I/Os while nothing was in flight");
      const cubby_backend_io &lost = flying_.begin()->second;
      fail(op_name(lost.op), " with cookie ", lost.cookie, " of ", lost.bytes,
           " bytes was accepted and had not completed after ", on_.patience_ns / 1'000'000,
           " ms; every accepted I/O completes exactly once through reap");
    }
    if (accepted == 0 && came.empty()) pause();
  }
  return done;
}

cubby_backend_done instance::run_one(const cubby_backend_io &io) { return run({io}).at(io.cookie); }

bool instance::drain() {
  const uint64_t start = clock_ns();
  while (!flying_.empty()) {
    if (!reap(8).empty()) continue;
    if (clock_ns() - start > on_.patience_ns) return false;
    pause();
  }
  return true;
}

void instance::close() {
  if (self_ == nullptr) return;
  const under_way call(on_, "close");
  on_.ops.close(self_);
  self_ = nullptr;
}

}  // namespace cubby_conformance
