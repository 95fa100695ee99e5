#include "cli/bench/table_readers.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace cubby_cli::bench {
namespace {

/// A file whose pages the kernel keeps as it sees fit.
class cached_file {
 public:
  ~cached_file() {
    if (fd_ >= 0) ::close(fd_);
  }
  done open(const std::string &path) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    return fd_ < 0 ? done(system_trouble(path, errno)) : done(nothing{});
  }
  /// Of all of it: what was read ahead for one row may be the next one's.
  [[nodiscard]] done forget() const {
    const int error = ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
    return error == 0 ? done(nothing{}) : done(system_trouble("the page cache", error));
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

class mapped_table final : public table_reader {
 public:
  mapped_table(const rows_plan &plan, int advice) : plan_(plan), advice_(advice) {}
  ~mapped_table() override {
    if (at_ != MAP_FAILED) ::munmap(at_, plan_.file_bytes);
  }
  done open() {
    if (auto opened = file_.open(plan_.path); !opened) return opened;
    at_ = ::mmap(nullptr, plan_.file_bytes, PROT_READ, MAP_SHARED, file_.fd(), 0);
    if (at_ == MAP_FAILED) return system_trouble(plan_.path, errno);
    return ::madvise(at_, plan_.file_bytes, advice_) == 0
               ? done(nothing{})
               : done(system_trouble("the mapping", errno));
  }
  done look_up(row_order &order) override {
    const size_t size = plan_.row_bytes;
    for (size_t i = 0; i < order.rows.size(); i++) {
      std::memcpy(&order.into[i * size], static_cast<char *>(at_) + order.rows[i] * size, size);
    }
    return nothing{};
  }
  done forget(const row_order &) override {
    if (::madvise(at_, plan_.file_bytes, MADV_DONTNEED) != 0) {
      return system_trouble("the mapping", errno);
    }
    return file_.forget();
  }

 private:
  const rows_plan plan_;
  const int advice_;
  cached_file file_;
  void *at_ = MAP_FAILED;
};

class pread_rows final : public table_reader {
 public:
  explicit pread_rows(const rows_plan &plan) : plan_(plan) {}
  done open() { return file_.open(plan_.path); }
  done look_up(row_order &order) override {
    const size_t size = plan_.row_bytes;
    for (size_t i = 0; i < order.rows.size(); i++) {
      const ssize_t got = ::pread(file_.fd(), &order.into[i * size], size,
                                  static_cast<off_t>(order.rows[i] * size));
      if (got != static_cast<ssize_t>(size)) {
        return system_trouble("pread of " + plan_.path, got < 0 ? errno : EIO);
      }
    }
    return nothing{};
  }
  done forget(const row_order &) override { return file_.forget(); }

 private:
  const rows_plan plan_;
  cached_file file_;
};

template <class Reader, class... More>
outcome<std::unique_ptr<table_reader>> opened(const rows_plan &plan, More... more) {
  auto made = std::make_unique<Reader>(plan, more...);
  if (auto open = made->open(); !open) return open.failure();
  return std::unique_ptr<table_reader>(std::move(made));
}

}  // namespace

outcome<std::unique_ptr<table_reader>> map_table(const rows_plan &plan, int advice) {
  return opened<mapped_table>(plan, advice);
}

outcome<std::unique_ptr<table_reader>> pread_table(const rows_plan &plan) {
  return opened<pread_rows>(plan);
}

done cubby_table::open(const rows_plan &plan) {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_ABI_VERSION;
  config.pump = plan.pump;
  if (cubby_open(&config, &rt_) != CUBBY_OK) return last_trouble();
  budget_bytes_ =
      static_cast<uint64_t>(static_cast<double>(plan.file_bytes) * plan.budget_share) >> 12 << 12;
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = "host";
  desc.name = "host:0";
  desc.device = -1;
  desc.budget_bytes = budget_bytes_;
  cubby_tier host = 0;
  if (cubby_tier_add(rt_, &desc, &host) != CUBBY_OK) return last_trouble();
  return map(plan);
}

done cubby_table::map(const rows_plan &plan) {
  page_rows_ = std::max(1u, plan.page_bytes / plan.row_bytes);
  cubby_bank_desc bank{};
  bank.struct_size = sizeof bank;
  bank.kind = CUBBY_BANK_ROWS;
  bank.name = "table";
  bank.rows = 1;
  bank.table_row_bytes = plan.row_bytes;
  bank.table_row_count = plan.file_bytes / plan.row_bytes;
  bank.columns = static_cast<uint32_t>((bank.table_row_count - 1) / page_rows_ + 1);
  bank.locker_bytes = page_rows_ * plan.row_bytes;
  if (cubby_bank_add(rt_, &bank, &bank_) != CUBBY_OK) return last_trouble();
  const uint64_t table_bytes = bank.table_row_count * plan.row_bytes;
  std::vector<cubby_extent> extents;
  for (uint64_t page = 0; page < bank.columns; page++) {
    const uint64_t at = page * bank.locker_bytes;
    const uint64_t bytes = std::min(bank.locker_bytes, table_bytes - at);
    extents.push_back({CUBBY_ID(bank_, page), 0, 0, at, bytes});
  }
  const char *path = plan.path.c_str();
  if (cubby_bank_map(rt_, bank_, &path, 1, extents.data(), extents.size()) != CUBBY_OK) {
    return last_trouble();
  }
  return nothing{};
}

done cubby_table::look_up(row_order &order) {
  cubby_span into{};
  into.offset_bytes = reinterpret_cast<uintptr_t>(order.into.data());
  into.bytes = order.into.size();
  const cubby_status status =
      cubby_gather(rt_, bank_, order.rows.data(), static_cast<uint32_t>(order.rows.size()), &into,
                   nullptr, nullptr);
  return status == CUBBY_OK ? done(nothing{}) : done(last_trouble());
}

done cubby_table::forget(const row_order &order) {
  std::vector<cubby_item> pages(order.rows.size());
  for (size_t i = 0; i < pages.size(); i++) {
    pages[i].id = CUBBY_ID(bank_, order.rows[i] / page_rows_);
  }
  const cubby_status status = cubby_drop(rt_, pages.data(), static_cast<uint32_t>(pages.size()), 0);
  return status == CUBBY_OK ? done(nothing{}) : done(last_trouble());
}

uint64_t cubby_table::table_bytes() const {
  cubby_stats_block block{};
  block.struct_size = sizeof block;
  cubby_stats(rt_, &block, nullptr, 0);
  return block.table_bytes + block.policy_bytes + block.digest_bytes;
}

}  // namespace cubby_cli::bench
