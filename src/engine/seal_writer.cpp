#include "engine/seal_writer.hpp"

#include <new>
#include <system_error>
#include <utility>

#include "base/no_thread.hpp"
#include "platform/signals.hpp"

namespace cubby::engine {
namespace {

result<void> write(const std::string &path, const store::seal &content) noexcept try {
  return store::write_seal(path, content);
} catch (const std::bad_alloc &) {
  return no_memory();
}

}  // namespace

seal_writer::~seal_writer() {
  if (thread_.joinable()) thread_.join();
}

result<void> seal_writer::begin(const std::string &path, store::seal content, bool at_once) {
  if (at_once) {
    written_ = write(path, content);
    ended_.store(true, std::memory_order_release);
  } else {
    ended_.store(false, std::memory_order_relaxed);
    const platform::signals_blocked blocked;
    try {
      thread_ = std::thread([this, path, content = std::move(content)] {
        written_ = write(path, content);
        ended_.store(true, std::memory_order_release);
      });
    } catch (const std::system_error &failure) {
      return base::no_thread(failure.code().value(), "the thread that writes the seal " + path);
    }
  }
  busy_ = true;
  return {};
}

std::optional<result<void>> seal_writer::take() {
  if (!busy_ || !ended_.load(std::memory_order_acquire)) return std::nullopt;
  if (thread_.joinable()) thread_.join();
  busy_ = false;
  return std::exchange(written_, {});
}

}  // namespace cubby::engine
