#include "sim/power.hpp"

#include <atomic>
#include <cstring>
#include <fstream>

#include "platform/boot.hpp"

namespace sim {

using store_disk::fate;
using store_disk::image;

void power::begin() {
  std::ifstream in(path_, std::ios::binary);
  std::vector<unsigned char> bytes{std::istreambuf_iterator<char>(in), {}};
  disk_ = std::make_unique<store_disk::disk>(image{std::move(bytes)});
}

image power::left(ending how, cubby::base::prng &random) const {
  if (how != ending::power_cut) return disk_->seen();
  constexpr fate fates[] = {fate::dropped, fate::torn_512, fate::torn_4096, fate::reordered};
  std::vector<store_disk::disk::write> outstanding;
  for (const auto &[cookie, one] : on_the_way_) outstanding.push_back(one);
  return disk_->after(fates[random.below(4)], outstanding, random);
}

void power::restore(ending how, const image &left) {
  on_the_way_.clear();
  flush_failed_ = false;
  // In place: the store goes by the file's identity.
  std::fstream out(path_, std::ios::binary | std::ios::in | std::ios::out);
  out.write(reinterpret_cast<const char *>(left[0].data()),
            static_cast<std::streamsize>(left[0].size()));
  // After a kill what was not flushed still is not: the next life has to see to that.
  if (how != ending::power_cut) return;
  static std::atomic<uint64_t> boots{0};
  cubby::platform::pretend_boot(++boots);
  disk_ = std::make_unique<store_disk::disk>(left);
}

void power::write_begins(const std::string &path, const cubby_backend_io &io) {
  if (path != path_) return;
  const auto *data = static_cast<const unsigned char *>(io.memory);
  on_the_way_[io.cookie] = {0, io.offset_bytes, {data, data + io.bytes}, 0};
}

void power::write_ends(const std::string &path, const cubby_backend_io &io, bool failed) {
  const auto begun = on_the_way_.find(io.cookie);
  if (path != path_ || begun == on_the_way_.end()) return;
  const std::vector<unsigned char> &data = begun->second.data;
  buffer_changed_ = buffer_changed_ || std::memcmp(data.data(), io.memory, data.size()) != 0;
  cubby::store::store_operation done;
  done.offset_bytes = io.offset_bytes;
  done.data = data.data();
  done.bytes = data.size();
  if (!failed) disk_->completed(done);
  on_the_way_.erase(begun);
}

uint64_t power::flush_begins(const std::string &path) { return path == path_ ? disk_->order() : 0; }

void power::flush_ends(const std::string &path, uint64_t mark, bool failed) {
  if (path != path_) return;
  flush_failed_ = flush_failed_ || failed;
  if (failed)
    disk_->lost(0, mark);
  else
    disk_->flushed(0, mark);
}

}  // namespace sim
