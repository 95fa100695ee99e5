// Banks: described, adopted, mapped, looked at.
#include <algorithm>
#include <chrono>
#include <thread>

#include "api/bank_files.hpp"
#include "api/guard.hpp"
#include "api/requests.hpp"
#include "api/runtime.hpp"
#include "store/file_copy.hpp"
#include "store/model_file.hpp"
#include "store/seal.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

using ull = unsigned long long;

cubby_status unknown_bank(runtime &self, cubby_bank bank) {
  return keep_error(no_bank(self, bank));
}

store::model_part_file identity_of(const catalog::bank_file &file) {
  return {file.path, file.bytes, file.device, file.inode, file.mtime_ns, file.header_digest};
}

/// Digests beside the file, where there are any.
result<void> apply_seal(runtime &self, const store::model_file &model, const std::string &given,
                        residency::locker_bank &made) {
  const std::string path = store::seal_path_of(model, given);
  auto seal = store::read_seal(path);
  if (!seal) {
    if (seal.failure().status != CUBBY_MISS) return seal.failure();
    if (given.empty()) return {};
    error failure = seal.failure();
    failure.status = CUBBY_ERR_INVALID;
    return failure;
  }
  if (auto checked = store::check_seal(*seal, model); !checked) return checked;
  if (seal->banks.size() != 1 || seal->chunk_bytes != made.grid().chunk_bytes()) {
    return fail(CUBBY_ERR_FORMAT,
                "%s is a seal of other tensors, or with chunks of another size; "
                "seal again with the same pattern of tensors",
                path.c_str());
  }
  if (auto loaded = made.load_seal(seal->banks[0]); !loaded) return loaded;
  made.sealed = seal->complete;
  if (!seal->complete) {
    self.log(1, 0,
             path +
                 " is not complete; what it lacks is taken on first sight. Seal again to "
                 "finish it");
  }
  return {};
}

}  // namespace

cubby_status cubby_bank_add(cubby_handle *rt, const cubby_bank_desc *desc, cubby_bank *out) {
  CUBBY_ENTER(rt);
  if (desc == nullptr || out == nullptr || desc->struct_size == 0) {
    CUBBY_REFUSE("cubby_bank_add: desc or out is NULL, or struct_size is 0");
  }
  return guarded([&]() -> cubby_status {
    const cubby_bank_desc asked = read_struct(*desc);
    if (asked.kind > CUBBY_BANK_OTHER) CUBBY_REFUSE("bank kind %u is not known", asked.kind);
    if (asked.policy != nullptr && self.policy() != asked.policy) {
      return keep_error(fail(CUBBY_ERR_NOT_SUPPORTED,
                             "bank policy \"%s\": all banks share the "
                             "runtime's (\"%s\"); name it in cubby_config",
                             asked.policy, self.policy().c_str()));
    }
    auto made = residency::locker_bank::describe(asked);
    if (!made) return keep_error(made.failure());
    const auto lock = self.hold_pump();
    const std::string called = std::string("bank ") + (*made)->desc().name;
    auto room = self.budgets.check_tables(self.engine().numbers.table_bytes_of(**made), called);
    if (!room) return keep_error(room.failure());
    auto added = self.engine().setup.add_bank(std::move(*made));
    if (!added) return keep_error(added.failure());
    *out = (*added)->handle;
    self.budgets.warn_working_set(self.log_lines, self.now());
    self.budgets.warn_store_numbers(self.log_lines, self.now());
    return CUBBY_OK;
  });
}

cubby_status cubby_bank_adopt(cubby_handle *rt, const char *path, const cubby_adopt_desc *desc,
                              cubby_bank *out) {
  CUBBY_ENTER_WAITING(rt);  // for the file system
  if (path == nullptr || out == nullptr) CUBBY_REFUSE("cubby_bank_adopt: path or out is NULL");
  return guarded([&]() -> cubby_status {
    auto read = read_adopt(desc);
    if (!read) return keep_error(read.failure());
    const cubby_adopt_desc asked = *read;
    auto model = open_adopted(path, asked);
    if (!model) return keep_error(model.failure());
    for (const std::string &note : model->notes) self.log(1, 0, note);
    for (const std::string &notice : model->notices) self.log(2, 0, notice);
    const store::model_bank &first = model->banks.front();
    auto made = residency::locker_bank::adopt(first, model->files, first.name);
    if (!made) return keep_error(made.failure());
    if (self.config().verify == CUBBY_VERIFY_ON) {
      auto sealed =
          apply_seal(self, *model, asked.seal_path == nullptr ? "" : asked.seal_path, **made);
      if (!sealed) return keep_error(sealed.failure());
    }
    bank_files files(self);
    files.list = std::move((*made)->files);
    if (auto opened = files.open(path); !opened) return keep_error(opened.failure());
    const auto lock = self.hold_pump();
    auto room = self.budgets.check_tables(self.engine().numbers.table_bytes_of(**made), path);
    if (!room) return keep_error(room.failure());
    auto added = self.engine().setup.add_bank(std::move(*made));
    if (!added) return keep_error(added.failure());
    (*added)->files = std::move(files.list);
    (*added)->file_tier = files.tier;
    *out = (*added)->handle;
    self.budgets.warn_working_set(self.log_lines, self.now());
    return CUBBY_OK;
  });
}

cubby_status cubby_bank_add_copy(cubby_handle *rt, cubby_bank bank, const char *path) {
  CUBBY_ENTER_WAITING(rt);  // for the file system
  if (path == nullptr || *path == '\0') CUBBY_REFUSE("cubby_bank_add_copy: path is missing");
  return guarded([&]() -> cubby_status {
    std::vector<store::model_part_file> originals;
    {
      const auto lock = self.hold_pump();
      const residency::locker_bank *found = self.engine().state.banks.find(bank);
      if (found == nullptr) return unknown_bank(self, bank);
      for (const catalog::bank_file &file : found->files) {
        if (file.header_digest != 0) originals.push_back(identity_of(file));
      }
    }
    if (originals.empty())
      CUBBY_REFUSE("cubby_bank_add_copy: the bank was not adopted from a model file");
    bank_files files(self);
    const std::string first = path, folder = first.substr(0, first.rfind('/') + 1);
    for (const store::model_part_file &original : originals) {
      const bool of_first = &original == &originals.front();
      const std::string at =
          of_first ? first : folder + original.path.substr(original.path.rfind('/') + 1);
      auto same = store::check_copy(original, at);
      if (!same) return keep_error(same.failure());
      files.list.push_back({at, 0, same->bytes, same->device, same->inode, same->mtime_ns, 0});
    }
    for (;;) {
      auto opened = files.open_beside(bank);
      if (!opened) return keep_error(opened.failure());
      const auto lock = self.hold_pump();
      residency::locker_bank *found = self.engine().state.banks.find(bank);
      if (found == nullptr) return unknown_bank(self, bank);
      engine::source_files &sources = self.engine().files;
      auto added = sources.check_new_copy(*found, files.list);
      if (!added) return keep_error(added.failure());
      if (sources.reads_through(*found, files.tier)) {  // another copy took the tier meanwhile
        sources.close(files.list, files.tier);
        continue;
      }
      found->copies.push_back({.tier = files.tier, .files = {}, .state = {}});
      found->copies.back().files = std::move(files.list);
      return CUBBY_OK;
    }
  });
}

cubby_status cubby_bank_map(cubby_handle *rt, cubby_bank bank, const char *const *files,
                            uint32_t file_count, const cubby_extent *extents,
                            uint64_t extent_count) {
  CUBBY_ENTER_WAITING(rt);  // for the file system
  if (files == nullptr || file_count == 0 || extents == nullptr) {
    CUBBY_REFUSE("cubby_bank_map: files or extents are missing");
  }
  return guarded([&]() -> cubby_status {
    bank_files with(self);
    {
      const auto lock = self.hold_pump();
      if (self.engine().state.banks.find(bank) == nullptr) return unknown_bank(self, bank);
    }
    for (uint32_t i = 0; i < file_count; ++i) {
      if (files[i] == nullptr) CUBBY_REFUSE("cubby_bank_map: file %u is NULL", i);
      with.list.push_back({});
      with.list.back().path = files[i];
    }
    if (auto opened = with.open(files[0]); !opened) return keep_error(opened.failure());
    const auto lock = self.hold_pump();
    residency::locker_bank *found =
        self.engine().state.banks.find(bank);  // it may have been removed meanwhile
    if (found == nullptr) return unknown_bank(self, bank);
    auto mapped = self.engine().setup.map_bank(*found, std::move(with.list), with.tier, extents,
                                               extent_count);
    return mapped ? CUBBY_OK : keep_error(mapped.failure());
  });
}

namespace {

/// How long a removal waits for what is under way: loads from a disk, and pins that are about to
/// end. Without it a bank that is always in use somewhere would never be found unused, however
/// often its removal is tried.
constexpr uint64_t removal_patience_ns = 100'000'000;
constexpr uint64_t removal_pause_min_ns = 100'000, removal_pause_max_ns = 10'000'000;

/// Of a bank that new calls do not find any more. BUSY: it is in use, and found as before.
result<void> withdraw_unused(runtime &self, residency::locker_bank &bank) {
  const uint64_t until_ns = base::now_ns() + removal_patience_ns;
  try {
    // Calls that still saw it must be over before its words are judged.
    self.grace_period();
    for (uint64_t pause_ns = removal_pause_min_ns;; pause_ns *= 2) {
      {
        const auto lock = self.hold_pump();
        uint64_t next = 0;
        self.engine().pump.advance(self.now(), &next);
        self.wake_waiters();  // some of what they wait for may be done
        auto withdrawn = self.engine().setup.withdraw_bank(bank);
        // Under a virtual clock nothing ends by waiting.
        const bool over =
            self.virtual_clock || self.shutting() || base::now_ns() + pause_ns > until_ns;
        if (!withdrawn && over) bank.removed.store(false, std::memory_order_seq_cst);
        if (withdrawn || over) return withdrawn;
      }
      pause_ns = std::min(pause_ns, removal_pause_max_ns);
      std::this_thread::sleep_for(std::chrono::nanoseconds(pause_ns));
    }
  } catch (...) {  // without memory the bank stays, and may be removed another time
    bank.removed.store(false, std::memory_order_seq_cst);
    throw;
  }
}

}  // namespace

cubby_status cubby_bank_remove(cubby_handle *rt, cubby_bank bank) {
  CUBBY_ENTER_WAITING(rt);
  return guarded([&]() -> cubby_status {
    residency::locker_bank *found = nullptr;
    {
      const auto lock = self.hold_pump();
      found = self.engine().state.banks.find(bank);
      if (found == nullptr) return unknown_bank(self, bank);
      if (self.spaces.any_of(*found)) {
        return keep_error(
            fail(CUBBY_ERR_BUSY, "bank %s has spaces; remove those first", found->desc().name));
      }
      if (self.engine().state.slots.any_of(*found)) {
        return keep_error(fail(CUBBY_ERR_BUSY, "bank %s has slot tables; remove those first",
                               found->desc().name));
      }
      if (const uint32_t open = self.reservations.count_of(*found); open != 0) {
        return keep_error(
            fail(CUBBY_ERR_BUSY,
                 "bank %s: %u reserved blocks are neither committed nor given up; end their "
                 "reservations by cubby_commit, which with ok 0 gives them up, and try again",
                 found->desc().name, open));
      }
      found->removed.store(true, std::memory_order_seq_cst);
    }
    if (auto withdrawn = withdraw_unused(self, *found); !withdrawn) {
      return keep_error(withdrawn.failure());
    }
    self.grace_period();
    const auto lock = self.hold_pump();
    self.budgets.forget(bank);
    self.engine().setup.free_bank(*found);
    return CUBBY_OK;
  });
}

cubby_status cubby_bank_info(cubby_handle *rt, cubby_bank bank, cubby_bank_desc *out) {
  CUBBY_ENTER(rt);
  if (out == nullptr) CUBBY_REFUSE("cubby_bank_info: out is NULL");
  const residency::locker_bank *found = self.engine().state.banks.find(bank);
  if (found == nullptr) return unknown_bank(self, bank);
  write_struct(found->desc(), out);
  return CUBBY_OK;
}

cubby_status cubby_bank_file(cubby_handle *rt, cubby_bank bank, uint32_t file,
                             cubby_file_info *out) {
  CUBBY_ENTER(rt);
  if (out == nullptr) CUBBY_REFUSE("cubby_bank_file: out is NULL");
  const auto lock = self.hold_pump();  // the bank may be mapped just now
  const residency::locker_bank *found = self.engine().state.banks.find(bank);
  if (found == nullptr) return unknown_bank(self, bank);
  if (file >= found->files.size()) return CUBBY_MISS;
  const catalog::bank_file &of = found->files[file];
  cubby_file_info info{};
  info.sealed = found->sealed ? 1 : 0;
  info.path = of.path.c_str();
  info.bytes = of.bytes;
  info.device = of.device;
  info.inode = of.inode;
  info.mtime_ns = of.mtime_ns;
  info.header_digest = of.header_digest;
  write_struct(info, out);
  return CUBBY_OK;
}

cubby_status cubby_bank_part(cubby_handle *rt, cubby_bank bank, uint32_t row, uint32_t part,
                             cubby_part_info *out) {
  CUBBY_ENTER(rt);
  if (out == nullptr) CUBBY_REFUSE("cubby_bank_part: out is NULL");
  const residency::locker_bank *found = self.engine().state.banks.find(bank);
  if (found == nullptr) return unknown_bank(self, bank);
  if (row >= found->grid().rows() || part >= found->part_count()) {
    CUBBY_REFUSE("bank %s has %u rows and %u parts; row %u, part %u was asked for",
                 found->desc().name, found->grid().rows(), found->part_count(), row, part);
  }
  cubby_part_info info{};
  info.name = found->grid().part_name(part).c_str();
  info.type = found->grid().part_type(row, part).c_str();
  info.tensor = found->grid().part_tensor(row, part).c_str();
  info.bytes = found->part_bytes(row, part);
  std::ranges::copy(found->grid().part_shape(row, part), info.shape);
  write_struct(info, out);
  return CUBBY_OK;
}

cubby_status cubby_bank_extent(cubby_handle *rt, cubby_bank bank, uint64_t number, uint32_t part,
                               cubby_extent *out) {
  CUBBY_ENTER(rt);
  if (out == nullptr) CUBBY_REFUSE("cubby_bank_extent: out is NULL");
  const auto lock = self.hold_pump();  // the bank may be mapped just now
  const residency::locker_bank *found = self.engine().state.banks.find(bank);
  if (found == nullptr) return unknown_bank(self, bank);
  if (number >= found->count() || part >= found->part_count()) {
    CUBBY_REFUSE("bank %s has %llu lockers of %u parts; locker %llu, part %u was asked for",
                 found->desc().name, static_cast<ull>(found->count()), found->part_count(),
                 static_cast<ull>(number), part);
  }
  if (!found->mapped()) return CUBBY_MISS;
  const catalog::part_extent here = found->extent(static_cast<uint32_t>(number), part);
  *out = {CUBBY_ID(bank, number), part, here.file, here.offset_bytes, here.bytes};
  return CUBBY_OK;
}
