#include "transfer/io_table.hpp"

namespace cubby::transfer {

void io_table::make_room() {
  if (!free_.empty()) return;
  base::make_room(free_, slots_.size() + 1);  // so that giving a slot back never needs any
  base::make_room(slots_, slots_.size() + 1);
  slots_.emplace_back();
  free_.push_back(static_cast<uint32_t>(slots_.size() - 1));
}

void io_table::start(channel &path, cubby_backend_io &io, io_owner &owner, uint32_t tag,
                     uint64_t now_ns) {
  make_room();
  const uint32_t index = free_.back();
  if (++last_flight_ == 0) ++last_flight_;
  io.cookie = uint64_t{last_flight_} << 32 | index;
  path.start(io, now_ns);
  free_.pop_back();
  slots_[index] = {last_flight_, tag, &owner, &path, io.bytes, io.io_class};
}

std::optional<io_table::finished_io> io_table::finish(channel &path, uint64_t cookie,
                                                      uint64_t now_ns) {
  const auto index = static_cast<uint32_t>(cookie);
  const auto flight = static_cast<uint32_t>(cookie >> 32);
  if (flight == 0 || index >= slots_.size()) return std::nullopt;
  slot &here = slots_[index];
  if (here.flight != flight || here.path != &path) return std::nullopt;
  path.finished(here.bytes, here.io_class, now_ns);
  const finished_io end{here.owner, here.tag};
  here = {};
  free_.push_back(index);
  return end;
}

}  // namespace cubby::transfer
